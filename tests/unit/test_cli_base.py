"""The command line itself, and the verbs that need no model: plugins, doctor, init, config."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from densnet_core import __version__
from densnet_core.cli import app as command_line
from densnet_core.cli.app import run
from densnet_core.cli.doctor import torch_pairing
from densnet_core.cli.output import print_json
from densnet_core.config import load_config
from densnet_core.errors import InputError
from densnet_core.plugins.manager import get_manager
from densnet_core.workflow.run import Run


@pytest.fixture(autouse=True)
def _fresh_manager():
    get_manager.cache_clear()
    yield
    get_manager.cache_clear()


@pytest.fixture
def verb(monkeypatch):
    """Add a verb ``work`` that does what the test says, the way every verb is added."""

    def add(work) -> None:
        module = ModuleType("a_verb_of_the_tests")
        module.app = typer.Typer()
        module.app.command()(work)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(
            command_line, "VERBS", (*command_line.VERBS, ("work", f"{module.__name__}:app", "Does it."))
        )

    return add


def raising(error: BaseException):
    def work() -> None:
        raise error

    return work


def test_a_verb_gets_its_own_options_and_help(verb, capsys):
    def work(names: list[str], times: int = 1) -> None:
        """Work it does."""
        print(times, names)

    verb(work)
    assert run(["work", "a", "--times", "3", "b"]) == 0
    assert capsys.readouterr().out == "3 ['a', 'b']\n"
    assert run(["work", "--help"]) == 0
    assert "Usage: densnet work" in capsys.readouterr().out
    assert run(["work", "a", "--times", "many"]) == 2
    assert "--times" in capsys.readouterr().err


def test_a_users_mistake_is_one_message_without_a_traceback(verb, capsys):
    verb(raising(InputError("There is no molecule. Make one.")))
    assert run(["work"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Error: There is no molecule. Make one.\n")


def test_a_full_disk_is_the_users_to_mend(verb, capsys):
    verb(raising(OSError(errno.ENOSPC, "No space left on device", "store.zarr")))
    assert run(["work"]) == 2
    assert capsys.readouterr().err.startswith("Error: No space left on device: store.zarr.")


def test_anything_else_is_a_defect_that_says_how_to_see_more(verb, capsys):
    verb(raising(KeyError("shape")))
    assert run(["work"]) == 70
    error = capsys.readouterr().err
    assert error == f"Defect in DenSNet {__version__}: KeyError: 'shape'. 'densnet --debug ...' shows where.\n"
    assert run(["--debug", "work"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_ends_with_130(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert run(["work"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_the_exit_code_of_a_verb_is_the_commands(verb):
    verb(raising(typer.Exit(3)))
    assert run(["work"]) == 3


def test_version_and_unknown_verb(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"densnet {__version__}\n"
    assert run(["plugin"]) == 2
    assert "plugins" in capsys.readouterr().err


def test_help_starts_without_torch_or_numpy():
    program = (
        "import sys; from densnet_core.cli.app import run; code = run(['--help']);"
        "heavy = {'torch', 'numpy', 'scipy', 'zarr', 'matplotlib', 'pyscf', 'openmm', 'e3nn'} & set(sys.modules);"
        "sys.exit(code or ', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for name, _, summary in command_line.VERBS:
        assert name in done.stdout
        assert summary.split(":")[0].rstrip(".") in " ".join(done.stdout.replace("│", " ").split())


@pytest.mark.parametrize(("name", "module", "summary"), command_line.VERBS)
def test_every_verb_has_a_help_of_its_own(name, module, summary, capsys):
    assert run([name, "--help"]) == 0
    assert f"Usage: densnet {name}" in capsys.readouterr().out


def test_plugins_lists_components_as_a_table_and_as_json(install_distribution, capsys):
    install_distribution("acme-broken", "import acme_is_not_there")
    assert run(["plugins", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    keys = {"kind", "name", "distribution", "version", "status", "install", "summary"}
    assert all(set(row) == keys for row in rows)
    by_name = {(row["kind"], row["name"]): row for row in rows}
    assert by_name["reference", "pyscf"]["status"] == "ok"
    assert by_name["reference", "pyscf"]["install"] == "pip install densnet-pyscf"
    assert by_name["plugin", "acme_broken"]["status"].startswith("broken: ModuleNotFoundError")
    assert run(["plugins"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["kind", "name", "distribution", "version", "status", "install"]
    assert len(table) == len(rows) + 1
    assert any(line.split()[:5] == ["reference", "pyscf", "densnet-pyscf", "0.1.0", "ok"] for line in table)


def test_doctor_tells_about_this_machine(capsys):
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"] is True
    assert checks["densnet-core"]["found"] == __version__
    assert int(checks["cores"]["found"]) >= 1
    assert float(checks["memory"]["found"].split()[0]) > 0.5
    assert checks["torch and openmmtorch"]["status"] == "ok"
    assert "writable" in checks["working directory"]["found"]
    assert {"gpu", "psi4", "python", "plugins"} <= set(checks)
    assert run(["doctor"]) == 0
    assert "torch and openmmtorch" in capsys.readouterr().out


def test_doctor_fails_for_a_broken_plugin_and_warns_of_a_misspelt_allowance(install_distribution, capsys, monkeypatch):
    install_distribution("acme-broken", "import acme_is_not_there")
    monkeypatch.setenv("DENSNET_PLUGINS", "acme-broken,densnet-pysfc")
    assert run(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"] is False
    assert checks["plugin acme_broken"]["status"] == "problem"
    assert checks["DENSNET_PLUGINS"]["found"] == "'densnet-pysfc' matches no installed plugin"


@pytest.mark.parametrize(
    ("torch", "openmmtorch", "status", "advice"),
    [
        ("2.9.1", "1.5", "ok", ""),
        ("2.9.0+cu128", "1.5", "ok", ""),
        ("2.10.0", "1.5", "warning", "works with torch 2.9 only"),
        ("2.13.1", "1.5", "warning", 'force = "python"'),
        ("2.9.1", "1.6", "warning", "never tried"),
        ("2.10.0", None, "info", 'force = "python"'),
        (None, None, "problem", "pip install 'torch"),
    ],
)
def test_the_pairing_of_torch_and_openmmtorch(torch, openmmtorch, status, advice):
    check = torch_pairing(torch, openmmtorch)
    assert check.status == status
    assert advice in check.advice


def test_init_writes_a_configuration_that_check_accepts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "ethanol"]) == 0
    assert {path.name for path in Path().iterdir()} == {"ethanol.toml", "ethanol.xyz"}
    capsys.readouterr()
    assert run(["config", "check", "ethanol.toml"]) == 0
    assert capsys.readouterr().out.startswith("ethanol.toml is fine: H2O, PBE/aug-cc-pVDZ with pyscf, 100 frames")


def test_init_never_overwrites_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("mine")
    Path("mine.xyz").write_text("mine")
    assert run(["init", "mine"]) == 2
    assert "mine.toml exists already" in capsys.readouterr().err
    assert Path("mine.toml").read_text() == "mine"
    assert run(["init", "mine.toml", "--force"]) == 0
    assert Path("mine.toml").read_text().startswith("# DenSNet")
    assert Path("mine.xyz").read_text() == "mine"
    assert run(["init", "nowhere/mine"]) == 2
    assert "There is no directory nowhere" in capsys.readouterr().err


def test_check_refuses_a_wrong_configuration(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text("schema = 1\n[refrence]\n")
    assert run(["config", "check", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "run.toml: refrence: unknown key. Did you mean 'reference'" in shown.err
    assert "Traceback" not in shown.err


def test_check_refuses_networks_that_cannot_make_the_functions_of_the_basis(tmp_path, monkeypatch, capsys):
    """And so does everything that trains, before a label is computed; making geometries needs no networks."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "water"]) == 0
    (tmp_path / "water.toml").write_text(
        "schema = 1\n[system]\ngeometry = 'water.xyz'\n[reference]\nmethod = 'PBE'\nbasis = 'def2-SVP'\n"
        "[basis]\nname = 'densnet-s'\n[density.backbone_options]\nlayers = 1\nl_max_edge = 1\n"
    )
    capsys.readouterr()
    for command in (["config", "check"], ["run"], ["train"]):
        assert run([*command, "water.toml"]) == 2
        shown = capsys.readouterr().err
        assert "water.toml: density: Products of three features reach l = 3" in shown
        assert "Traceback" not in shown
    assert not list(tmp_path.rglob("*.zarr"))


@pytest.mark.parametrize(
    ("geometry", "more", "message"),
    [
        ("2\n\nH 0 0 0\nI 0 0 1.61\n", "", "reference: Basis 'def2-SVP' describes I with an effective core potential"),
        ("1\n\nNe 0 0 0\n", "", r"sampling: A single atom \(Ne\) has no vibrations to sample"),
        (
            "2\n\nH 0 0 0\nH 0 0 0.74\n",
            "[sampling]\nmethod = 'file'\npath = 'nowhere.xyz'\n",
            "sampling: .*nowhere.xyz cannot be read",
        ),
        ("2\nspin=3\nO 0 0 0\nO 0 0 1.21\n", "", "system.geometry: .*spin is not a known key"),
        ("2\n\nH 0 0 0\nH 0 0 0.74\n" * 2, "", "system.geometry: .*has 2 frames, and one geometry is wanted"),
    ],
)
def test_check_finds_what_the_first_minutes_of_a_run_would(tmp_path, monkeypatch, capsys, geometry, more, message):
    """And so does every stage, before it computes anything."""
    monkeypatch.chdir(tmp_path)
    Path("x.xyz").write_text(geometry)
    Path("x.toml").write_text(
        "schema = 1\n[system]\ngeometry = 'x.xyz'\n[reference]\nmethod = 'PBE'\nbasis = 'def2-SVP'\n"
        f"[basis]\nname = 'def2-universal-jkfit'\n{more}"
    )
    for command in (["config", "check"], ["sample"]):
        assert run([*command, "x.toml"]) == 2
        assert re.search(f"x.toml: {message}", capsys.readouterr().err)
    assert not list(tmp_path.rglob("*.zarr"))


def test_check_names_a_basis_for_elements_that_the_default_lacks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.xyz").write_text("3\n\nSe 0 0 0\nH 1.04 1.01 0\nH -1.04 1.01 0\n")
    for basis, code in (("densnet-m", 2), ("def2-universal-jkfit", 0)):
        Path("x.toml").write_text(
            "schema = 1\n[system]\ngeometry = 'x.xyz'\n[reference]\nmethod = 'PBE'\nbasis = 'def2-SVP'\n"
            f"[basis]\nname = '{basis}'\n"
        )
        assert run(["config", "check", "x.toml"]) == code
    assert (
        "Basis 'densnet-m' has no functions for Se; it covers H B C N O F Si P S Cl Br. "
        "Take 'def2-universal-jkfit', which covers nearly all elements."
    ) in capsys.readouterr().err


def test_a_run_that_has_begun_asks_no_backend_whether_it_can(tmp_path, monkeypatch, capsys):
    """Its labels may come from another machine, and training goes on where there is no program for them."""
    monkeypatch.chdir(tmp_path)
    Path("x.xyz").write_text("1\n\nNe 0 0 0\n")
    Path("x.toml").write_text(
        "schema = 1\noutput = 'out'\n[system]\ngeometry = 'x.xyz'\n[reference]\nmethod = 'PBE'\nbasis = 'def2-SVP'\n"
        "[basis]\nname = 'def2-universal-jkfit'\n"
    )
    assert run(["config", "check", "x.toml"]) == 2
    begun = Run(load_config("x.toml"))
    for name in ("harmonic", "sample", "reference"):
        for path in begun.stage(name).outputs(begun):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        key, parts = begun.key(name)
        begun.folder.finish(name, key, 1.0, parts=parts)
    assert run(["config", "check", "x.toml"]) == 0, capsys.readouterr().err


def test_a_terminal_without_the_characters_shows_others(tmp_path):
    """Results are printed all the same: with ? in tables, escaped in JSON."""
    (tmp_path / "w.xyz").write_text("3\n\nO 0 0 0\nH 0.757 0.586 0\nH -0.757 0.586 0\n")
    model = Path(__file__).parents[1] / "data" / "model_v1.zip"
    for options, expected in (
        (["--properties", "surface_potential"], "force eV/?"),
        (["--json"], '"energy_hartree": -7'),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "densnet_core", "predict", str(model), "w.xyz", *options],
            cwd=tmp_path, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout.decode("ascii")


def test_json_keeps_every_character_in_ascii(monkeypatch):
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    print_json({"path": "K\u00f6ln"})
    plain.flush()
    assert json.loads(plain.buffer.getvalue()) == {"path": "K\u00f6ln"}


def test_schema_is_a_json_schema_with_the_components_options(capsys):
    assert run(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["required"] == ["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["schema"]["const"] == 1
    grid_level = schema["x-components"]["reference"]["pyscf"]["properties"]["grid_level"]
    assert (grid_level["minimum"], grid_level["maximum"]) == (0, 9)


@pytest.mark.parametrize(
    ("options", "formula", "basis"),
    [
        (["--smiles", "N"], "H3N", "densnet-m"),
        (["--smiles", "[OH-]", "--charge", "-1"], "HO", "densnet-m"),
        (["--smiles", "P"], "H3P", "densnet-m"),
        (["--smiles", "[SeH2]"], "H2Se", "def2-universal-jkfit"),  # an element that densnet-m lacks
        (["--geometry", "mine.xyz"], "O2", "densnet-m"),
    ],
)
def test_init_writes_a_molecule_that_runs_as_it_is(tmp_path, monkeypatch, capsys, options, formula, basis):
    monkeypatch.chdir(tmp_path)
    Path("mine.xyz").write_text("2\nmultiplicity=3\nO 0 0 0\nO 0 0 1.21\n")
    assert run(["init", "own", *options]) == 0
    capsys.readouterr()
    assert run(["config", "check", "own.toml"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.startswith(f"own.toml is fine: {formula}, PBE/aug-cc-pVDZ with pyscf, 100 frames")
    assert load_config("own.toml").basis.name == basis


def test_init_refuses_a_molecule_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "own", "--smiles", "C1CC"]) == 2
    assert "own.toml: system.smiles: RDKit does not understand" in capsys.readouterr().err
    assert run(["init", "own", "--smiles", "C", "--geometry", "x.xyz"]) == 2
    assert not Path("own.toml").exists()


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ("count = 130", "130 frames"),
        ("count = 130\nselect = { count = 110 }", "110 frames"),
        ('method = "torsion-scan"\nbonds = [[1, 3]]\nsteps = 9', "9 frames"),
        ('method = "rdkit-torsions"\nstart = { method = "conformers", count = 3 }', "pyscf, 20 ps"),
    ],
)
def test_check_says_how_many_geometries_the_sampler_makes(tmp_path, monkeypatch, capsys, sampling, says):
    """And the SMILES of the molecule are those of its conformers."""
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(
        "schema = 1\n[system]\nsmiles = 'CO'\n[reference]\nmethod = 'PBE'\nbasis = 'def2-SVP'\n"
        f"[basis]\nname = 'densnet-s'\n[sampling]\n{sampling}\n"
    )
    assert run(["config", "check", "x.toml"]) == 0, capsys.readouterr().err
    assert says in capsys.readouterr().out


def test_check_of_the_standard_networks_imports_neither_torch_nor_e3nn(tmp_path):
    """It is done within two seconds because of it."""
    (tmp_path / "w.xyz").write_text("3\n\nO 0 0 0\nH 0.757 0.586 0\nH -0.757 0.586 0\n")
    (tmp_path / "w.toml").write_text(
        "schema = 1\n[system]\ngeometry = 'w.xyz'\n[reference]\nmethod = 'PBE'\nbasis = 'def2-SVP'\n"
        "[basis]\nname = 'densnet-s'\n"
    )
    program = (
        "import sys; from densnet_core.cli.app import run; code = run(['config', 'check', 'w.toml'])\n"
        "print(code, sorted({'torch', 'e3nn', 'zarr', 'matplotlib', 'openmm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
