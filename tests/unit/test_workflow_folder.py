"""The directory of a run: current results, results set aside, and one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from densnet_core.errors import DataError
from densnet_core.workflow.folder import RunFolder, key_of, read_json, write_json


def test_key_depends_on_every_part_and_not_on_the_order_of_keys() -> None:
    assert key_of("md", {"a": 1, "b": [2.0]}) == key_of("md", {"b": [2.0], "a": 1})
    assert len({key_of("md", {"a": 1}), key_of("md", {"a": 2}), key_of("train", {"a": 1})}) == 3


def test_stage_is_current_only_with_its_key_and_its_results(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not folder.is_current("evaluate", "k", folder.evaluation)
    write_json(folder.evaluation, {"frames": 1})
    folder.finish("evaluate", "k", 1.0)
    assert folder.is_current("evaluate", "k", folder.evaluation)
    assert not folder.is_current("evaluate", "other", folder.evaluation)
    folder.evaluation.unlink()
    assert not folder.is_current("evaluate", "k", folder.evaluation)


def test_results_of_another_key_are_set_aside_never_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    kept = []
    for key in ("a", "b", "a", "b"):
        aside = folder.own(folder.model, key)
        if aside is not None:
            kept.append(aside)
        assert not folder.model.exists()
        folder.model.mkdir()
        (folder.model / "which").write_text(key)
        assert folder.own(folder.model, key) is None  # its own result is left where it is
    assert [path.name for path in kept] == ["model-a", "model-b", "model-a-2"]
    assert [(path / "which").read_text() for path in kept] == ["a", "b", "a"]


def test_result_of_unknown_origin_is_set_aside_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.spectrum.write_text("{}")
    assert folder.own(folder.spectrum, "k") == tmp_path / "spectrum-unknown.json"


def test_damaged_record_says_what_to_do(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.finish("train", "k", 1.0)
    (tmp_path / "stages" / "train.json").write_text("{")
    with pytest.raises(DataError, match="Remove it"):
        folder.record("train")
    write_json(tmp_path / "list.json", {})
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DataError, match="JSON object"):
        read_json(tmp_path / "list.json")


def test_only_one_process_works_in_a_directory(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    script = (
        "import sys; from pathlib import Path; from densnet_core.workflow.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('entered')\n"
    )
    command = [sys.executable, "-c", script, str(folder.root)]
    with folder.locked():
        with folder.locked():
            pass
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "entered" not in refused.stdout
    assert "is being written by process" in refused.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "entered\n"
