"""A stranger's package, from wheels, where nothing of this checkout can be imported and e3nn is not installed."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from densnet_core.stores.reference import ReferenceStore

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "third_party" / "densnet-bonds"
SOURCES = (ROOT, ROOT / "plugins" / "densnet-pyscf", ROOT / "plugins" / "densnet-openmm", PACKAGE)
LABEL = "traceless_quadrupole"
OFFERED = {("density_model", "bonds"), ("density_model", "bonds-response"), ("energy_model", "bonds"),
           ("quantity", LABEL), ("objective", f"density.{LABEL}"),
           ("stage", "quadrupole_table")}  # fmt: skip
# Everything else of the environment that runs this test is a dependency.
NOT_DEPENDENCIES = re.compile(r"densnet|_*editable|e3nn|__pycache__|.*\.pth$")


@dataclass(frozen=True)
class CleanEnvironment:
    """A virtual environment with wheels of ours and links to third-party packages."""

    folder: Path

    def run(self, program: str, *arguments: object, cwd: Path, timeout: float = 600) -> str:
        """Output of a program of this environment; fails with what it said where it fails."""
        command = [str(self.folder / "bin" / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=cwd,
            env=plain_environment() | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """What ``pip install densnet-bonds densnet-pyscf densnet-openmm`` makes, without downloads."""
    folder = tmp_path_factory.mktemp("clean")
    wheels = folder / "wheels"
    pip(["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", wheels, *SOURCES])
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not NOT_DEPENDENCIES.match(entry.name):
            (site / entry.name).symlink_to(entry)
    python = folder / "venv" / "bin" / "python"
    install = ["--python", python, "install", "--no-index", "--no-deps", *sorted(wheels.glob("*.whl"))]
    pip(install, plain_environment())
    return CleanEnvironment(folder / "venv")


def pip(arguments: list[str | Path], environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def plain_environment() -> dict[str, str]:
    """That of this process without what changes where Python looks for modules or which plugins load."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DENSNET_"))}


@pytest.fixture(scope="module")
def run_folder(clean: CleanEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's own example, run as its README says."""
    folder = tmp_path_factory.mktemp("bonds")
    for name in ("water.toml", "water.xyz"):
        shutil.copy(PACKAGE / name, folder)
    clean.run("densnet", "run", "water.toml", cwd=folder)
    return folder / "water"


def test_the_environment_has_wheels_and_no_e3nn(clean: CleanEnvironment, tmp_path: Path) -> None:
    said = clean.run(
        "python",
        "-c",
        "import json, importlib.util as u, densnet_core, densnet_pyscf, densnet_openmm, densnet_bonds as b, sys\n"
        "print(json.dumps([[m.__file__ for m in (densnet_core, densnet_pyscf, densnet_openmm, b)],\n"
        "                  u.find_spec('e3nn') is None and u.find_spec('densnet_e3nn') is None, sys.path]))",
        cwd=tmp_path,
    )
    files, without_e3nn, path = json.loads(said)
    assert all(Path(file).is_relative_to(clean.folder) for file in files), files
    assert without_e3nn
    assert not any(Path(entry).is_relative_to(ROOT) for entry in path if entry), path


def test_the_package_is_listed_beside_ours(clean: CleanEnvironment, tmp_path: Path) -> None:
    rows = json.loads(clean.run("densnet", "plugins", "--json", cwd=tmp_path))
    own = {(row["kind"], row["name"]): row["status"] for row in rows if row["distribution"] == "densnet-bonds"}
    assert {key: own.get(key) for key in OFFERED} == dict.fromkeys(OFFERED, "ok")


def test_its_own_tests_pass(clean: CleanEnvironment, tmp_path: Path) -> None:
    """Conformance of its models, the label, and the polarizability of water against PySCF's."""
    for name in ("tests", "water.xyz", "water_response.toml"):
        source = PACKAGE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    said = clean.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path)
    assert re.search(r"\d\d passed", said), said


@pytest.mark.parametrize("network", ["density", "energy"])
def test_the_loss_falls_by_a_hundred(run_folder: Path, network: str) -> None:
    with (run_folder / "training" / f"{network}.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    # In units of the labels' spread the first is a few; a fall from a senseless start would be no feat.
    assert losses[0] < 50.0
    assert losses[-1] < 0.01 * losses[0], (losses[0], losses[-1])


def test_the_run_has_its_label_and_everything_that_ours_has(run_folder: Path) -> None:
    (path,) = (run_folder / "reference").glob(f"*{LABEL}.zarr")
    with ReferenceStore.open(path) as store:
        quadrupoles = np.array([store.result(i, labels=[LABEL]).more[LABEL] for i in range(len(store))])
    assert np.trace(quadrupoles, axis1=1, axis2=2) == pytest.approx(np.zeros(len(quadrupoles)), abs=1e-10)
    with (run_folder / "training" / "density.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last[f"validation_{LABEL}_rms_error_au"]) < 0.3 * np.sqrt((quadrupoles**2).mean())
    document = json.loads((run_folder / "model" / "model.json").read_text())
    assert (document["density"]["model"], document["energy"]["model"]) == ("bonds", "bonds")
    assert document["density"]["backbone"] is None
    assert (run_folder / "md" / "nve.zarr").is_dir()
    assert (run_folder / "spectrum.png").read_bytes().startswith(b"\x89PNG")


def test_the_run_has_the_file_of_its_stage(clean: CleanEnvironment, run_folder: Path) -> None:
    """After ``evaluate``, from its own table of the configuration; another word there makes that file anew, no more."""
    (path,) = (run_folder / "reference").glob(f"*{LABEL}.zarr")

    def table() -> dict[str, dict[str, tuple[str, str]]]:
        with (run_folder / "quadrupoles.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        return {frame: {r[1]: (r[2], r[3]) for r in rows if r[0] == frame} for frame in {row[0] for row in rows}}

    with ReferenceStore.open(path) as store:
        assert set(table()) == set(store.read_document("split")["test"])
        for frame, components in table().items():
            labelled = np.asarray(store.result(store.index_of(bytes.fromhex(frame)), labels=[LABEL]).more[LABEL])
            assert {len(value.split(".")[1]) for pair in components.values() for value in pair} == {5}
            for name, (predicted, reference) in components.items():
                assert float(reference) == pytest.approx(labelled["xyz".index(name[0]), "xyz".index(name[1])], abs=1e-5)
                assert abs(float(predicted) - float(reference)) < 0.3 * np.abs(labelled).max()
    config = run_folder.parent / "water.toml"
    config.write_text(config.read_text().replace("decimals = 5", "decimals = 3"))
    planned = json.loads(clean.run("densnet", "run", "water.toml", "--dry-run", "--json", cwd=run_folder.parent))
    assert [(row["stage"], row["reason"]) for row in planned if row["state"] != "current"] == [
        ("quadrupole_table", "options.decimals: 5, now 3")
    ]
    clean.run("densnet", "run", "water.toml", cwd=run_folder.parent)
    assert {len(value.split(".")[1]) for one in table().values() for pair in one.values() for value in pair} == {3}
    assert len(list(run_folder.glob("quadrupoles-*.csv"))) == 1


def test_it_imports_documented_names_and_never_e3nn() -> None:
    guide = dict(documented())
    for file in PACKAGE.rglob("*.py"):
        for module, name in imported(file):
            assert module.split(".")[0] != "e3nn", file
            if module.split(".")[0] == "densnet_core":
                assert name in guide.get(module, ()), f"{file}: {module}.{name} is not in docs/plugins.md"


def test_every_documented_name_is_there() -> None:
    guide = list(documented())
    assert len(guide) > 10
    for module, names in guide:
        for name in names:
            assert hasattr(importlib.import_module(module), name), f"docs/plugins.md: {module}.{name}"


def documented() -> Iterator[tuple[str, list[str]]]:
    """Modules and names of the table under "Names that plugins may import" of docs/plugins.md."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = text.partition("## Names that plugins may import")[2].partition("\n## ")[0]
    for module, names in re.findall(r"^\| `(densnet_\w+[\w.]*)` \|(.*?)\|", section, re.MULTILINE):
        yield module, re.findall(r"`(\w+)`", names)


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of every import; a module as a whole counts under the name ``*``."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "*") for alias in node.names)
