"""The driver of runs on a stage of a third party: made once, again when something of it changes, and never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from densnet_core.cli.app import run as command
from densnet_core.config import load_config
from densnet_core.errors import ConfigError, InputError
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run

PLUGIN = """
    from densnet_core.options import Options
    from densnet_core.plugins import StageDescription, hookimpl
    from densnet_core.workflow.stages.base import Stage


    class CountOptions(Options):
        word: str = "geometries"
        fails: bool = False


    class Count(Stage):
        name = "count"

        def needs(self, run):
            return ("sample",)

        def outputs(self, run):
            return (run.folder.root / "count.txt",)

        def work(self, run):
            self.outputs(run)[0].write_text(f"{len(run.samples())} {self.options.word}")
            if self.options.fails:
                raise RuntimeError("killed here")


    @hookimpl
    def densnet_stages():
        return [StageDescription("count", f"{__name__}:Count", f"{__name__}:CountOptions", "Counts geometries")]
"""
CONFIG = """
schema = 1
output = "out"
[system]
geometry = "geometry.xyz"
[sampling]
method = "file"
path = "frames.xyz"
"""
FRAME = "2\n\nH 0 0 0\nH 0.1 0 {}\n"


class Said(Reporter):
    """What a run tells."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.current: list[str] = []
        self.notes: list[str] = []

    def stage_started(self, stage: str, summary: str) -> None:
        self.started.append(stage)

    def stage_current(self, stage: str) -> None:
        self.current.append(stage)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def _folder(install_distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_distribution("acme-count", PLUGIN)
    (tmp_path / "geometry.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    (tmp_path / "frames.xyz").write_text("".join(FRAME.format(length) for length in (0.74, 0.80, 0.70)))
    get_manager.cache_clear()
    monkeypatch.chdir(tmp_path)


def run_with(table: str = "[count]\n", again: tuple[str, ...] = ()) -> tuple[Run, Said]:
    Path("run.toml").write_text(CONFIG + table)
    said, manager = Said(), Manager(environment={})
    return Run(load_config("run.toml", manager), said, manager, again), said


def done(table: str = "[count]\n", again: tuple[str, ...] = ()) -> Said:
    run, said = run_with(table, again)
    run.do("count")
    return said


def reason() -> str:
    run, _ = run_with()
    return {verdict.stage: verdict.reason for verdict in run.verdicts("count")}["count"]


def test_a_stage_of_a_plugin_is_made_once() -> None:
    assert done().started == ["sample", "count"]
    assert Path("out/count.txt").read_text() == "3 geometries"
    said = done()
    assert (said.started, said.current, said.notes) == ([], ["sample", "count"], [])


def test_its_table_is_its_own_and_what_it_made_before_is_kept() -> None:
    done()
    assert done('[count]\nword = "frames"\n').started == ["count"]
    assert Path("out/count.txt").read_text() == "3 frames"
    (aside,) = Path("out").glob("count-*.txt")
    assert aside.read_text() == "3 geometries"


def test_what_it_needs_is_made_anew_first() -> None:
    done()
    Path("frames.xyz").write_text(FRAME.format(0.76))
    run, _ = run_with()
    assert [(v.stage, v.todo) for v in run.verdicts("count")] == [("sample", True), ("count", True)]
    assert done().started == ["sample", "count"]
    assert Path("out/count.txt").read_text() == "1 geometries"


def test_edited_code_makes_it_not_current_and_says_so() -> None:
    done()
    source = Path("site/acme_count.py")
    source.write_text(source.read_text() + "# changed\n")
    assert "acme-count 1.0+" in reason()
    assert "is now acme-count 1.0+" in reason()
    said = done()
    assert said.started == ["count"]
    assert any(note.startswith("count is not current: acme-count 1.0+") for note in said.notes)


def test_a_stage_is_made_again_when_asked_for_with_what_stands_on_it() -> None:
    done()
    Path("out/count.txt").write_text("mine")
    said = done(again=("sample",))
    assert said.started == ["sample", "count"]
    assert Path("out/count.txt").read_text() == "3 geometries"
    assert "mine" in {path.read_text() for path in Path("out").glob("count-*.txt")}
    assert done().started == []
    with pytest.raises(InputError, match=r"There is no stage 'cuont'. Did you mean 'count'"):
        run_with(again=("cuont",))
    with pytest.raises(InputError, match="train is no part of this"):
        done(again=("train",))


def test_what_was_begun_and_not_finished_is_not_current() -> None:
    done()
    with pytest.raises(RuntimeError, match="killed here"):
        done("[count]\nfails = true\n")
    assert reason() == "not done yet"
    assert done().started == ["count"]
    assert Path("out/count.txt").read_text() == "3 geometries"


def test_a_missing_result_is_made_anew() -> None:
    done()
    Path("out/count.txt").unlink()
    assert reason() == "count.txt is missing"
    assert done().started == ["count"]


def test_a_folder_of_an_older_densnet_is_not_current() -> None:
    done()
    for name in ("sample", "count"):
        record = json.loads(Path(f"out/stages/{name}.json").read_text())
        Path(f"out/stages/{name}.json").write_text(json.dumps({**record, "key": "of old", "parts": None}))
    assert done().started == ["sample", "count"]
    assert len(list(Path("out").glob("samples*.xyz"))) == 1  # they belong to the same configuration


def test_without_its_table_it_is_no_part_of_a_run_and_other_tables_are_refused() -> None:
    run, _ = run_with("")
    assert "count" not in run.everything
    with pytest.raises(ConfigError, match=r"run.toml: count: missing"):
        run.do("count")
    assert "count" in run_with()[0].everything
    with pytest.raises(ConfigError, match=r"cuont: unknown key. Did you mean 'count'"):
        run_with("[cuont]\n")
    with pytest.raises(ConfigError, match=r"run.toml: count.words: unknown key. Did you mean 'word'"):
        run_with("[count]\nwords = 'x'\n")
    Path("run.toml").write_text("count = 3\n" + CONFIG)
    with pytest.raises(ConfigError, match=r"run.toml: count: expected a table"):
        load_config("run.toml", Manager(environment={}))


def test_geometries_need_neither_a_level_of_theory_nor_a_basis(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text(CONFIG)
    assert command(["sample", "run.toml"]) == 0
    assert capsys.readouterr().out.startswith("3 geometries: ")
    assert command(["reference", "run.toml"]) == 2
    assert "run.toml: reference: missing (The reference calculations.)" in capsys.readouterr().err
    assert command(["train", "run.toml"]) == 2


def test_a_dry_run_says_what_would_be_done_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text(CONFIG + "[count]\n")
    assert command(["run", "run.toml", "--to", "count", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "sample", "count"]
    assert all("to do" in line and "not done yet" in line for line in lines[1:])
    assert not Path("out").exists()
    assert command(["run", "run.toml", "--to", "count"]) == 0
    assert capsys.readouterr().out.strip().endswith("count.txt")
    assert command(["run", "run.toml", "--to", "count", "--dry-run", "--json"]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"current"}


@pytest.mark.parametrize(("name", "says"), [("train", "taken by densnet-core"), ("md", "taken by densnet-core")])
def test_no_plugin_takes_a_stage_of_the_core(install_distribution, name: str, says: str) -> None:
    source = (
        "from densnet_core.plugins import StageDescription, hookimpl\n@hookimpl\ndef densnet_stages():\n"
        f"    return [StageDescription({name!r}, 'a:B')]\n"
    )
    install_distribution("acme-thief", source)
    (row,) = [row for row in Manager(environment={}).status() if row.distribution == "acme-thief"]
    assert says in row.status
    assert run_with()[0].stage(name).name == name


def test_the_tables_of_the_core_are_those_of_the_schema() -> None:
    from densnet_core.config import Config
    from densnet_core.plugins.records import SECTIONS

    assert {field.alias or name for name, field in Config.model_fields.items()} == SECTIONS
