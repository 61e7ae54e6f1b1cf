"""``densnet data import`` of the data of the paper: with orbitals, without them, and a file that is an attack."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.cli.app import run
from densnet_core.density.prior import AtomicPrior
from densnet_core.sampling.config import FileOptions
from densnet_core.sampling.files import FileSampler
from densnet_core.stores.labels import labels_of
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.unpickling import read_object_array
from densnet_core.stores.verify import verify

DATA = Path(__file__).parents[1] / "data"
GEOMETRY, DENSITY = DATA / "published" / "geometry.npy", DATA / "published" / "density.npy"
SYSTEMS = Path(__file__).parents[2] / "science" / "systems"
LEVEL = ["--level", "PBE/aug-cc-pVDZ"]
BASIS = "aug-cc-pVQZ-JKFIT"


def without_orbitals(path: Path, factor: float = 1.0, swapped: bool = False) -> Path:
    """The densities of the sample with coefficients alone, multiplied or in a wrong order."""
    pairs = read_object_array(DENSITY)
    changed = np.empty(pairs.shape, dtype=object)
    for index, (molecule, results) in enumerate(pairs):
        values = results["df_coeff"] * factor
        changed[index, 0] = dict(molecule)
        changed[index, 1] = {"df_coeff": values[::-1] if swapped else values, "auxbasis": results["auxbasis"]}
    np.save(path, changed, allow_pickle=True)
    return path


def command(*arguments: object) -> str:
    """What a command that must succeed prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run([str(argument) for argument in arguments]) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample with orbitals and without, each with a fit that holds the charge."""
    folder = tmp_path_factory.mktemp("published")
    files = {"orbitals": DENSITY, "whole": without_orbitals(folder / "density.npy")}
    for name, density in files.items():
        store = folder / f"{name}.zarr"
        for expected in ("5 frames imported, 0 were there already", "0 frames imported, 5 were there already"):
            out = command("data", "import", GEOMETRY, "--density", density, store, *LEVEL)
            assert expected in out
            assert ("fits are made anew from the orbitals" in out) == (name == "orbitals")
        command("data", "project", store, "--basis", BASIS, "--exact", "charge")
        assert verify(store) == []
    return {name: folder / f"{name}.zarr" for name in files}


def test_frames_in_the_store_are_those_of_the_archive(stores: dict[str, Path]) -> None:
    archive = np.load(DATA / "water5.npz")
    with ReferenceStore.open(stores["orbitals"]) as store:
        for index in range(5):
            structure, result = store.structure(index), store.result(index)
            assert np.array_equal(structure.numbers, archive["numbers"][index])
            assert np.allclose(structure.positions * 0.529177210903, archive["positions_angstrom"][index], rtol=1e-15)
            assert result.energy == archive["energy_hartree"][index]
            assert np.array_equal(result.orbitals, archive["mo_coeff_occupied"][index])


def test_without_orbitals_the_difference_fit_is_that_from_orbitals(stores: dict[str, Path]) -> None:
    """The file's coefficients are of PySCF's three-centre integrals by the authors, those compared with are ours."""
    with ReferenceStore.open(stores["orbitals"]) as one, ReferenceStore.open(stores["whole"]) as two:
        assert labels_of(two.result(0)) == ("energy", "forces")
        (name,) = one.fit_names()
        whole = two.fit(next(n for n in two.fit_names() if n != name))
        assert (whole.prior, whole.constraints, whole.metric, len(whole)) == ({}, (), "coulomb", 5)
        theirs = read_object_array(DENSITY)[3, 1]["df_coeff"]
        assert np.array_equal(whole.coefficients(3), theirs)
        prior = AtomicPrior.from_dict(two.fit(name).prior)
        for index in range(5):
            structure = one.structure(index)
            functions = MolecularBasis(whole.basis, structure.numbers)
            metric = two_center("coulomb", functions, torch.tensor(structure.positions)).numpy()
            ours, found = one.fit(name).coefficients(index), two.fit(name).coefficients(index)
            apart = ours - found
            assert np.sqrt(apart @ metric @ apart) < 1e-5 * np.sqrt(found @ metric @ found)
            # minus the charge of the molecule: the prior holds all ten electrons
            assert functions.electron_counts().numpy() @ found == pytest.approx(0.0, abs=1e-9)
            atoms = MolecularBasis(prior.basis, structure.numbers)
            assert float(atoms.electron_counts() @ prior.coefficients(structure.numbers)) == pytest.approx(10.0)


def test_what_cannot_be_made_without_orbitals_is_refused(
    stores: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project = ["data", "project", str(stores["whole"]), "--basis"]
    assert run([*project, "def2-universal-jkfit"]) == 2
    assert f"Without them densities are known in the basis {BASIS} only" in capsys.readouterr().err
    assert run([*project, BASIS, "--overlap"]) == 2
    assert "no orbitals" in capsys.readouterr().err
    assert run([*project, BASIS]) == 2
    assert 'exact = "charge" in [basis], or --exact charge' in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"factor": 0.9}, {"swapped": True}])
def test_coefficients_that_do_not_hold_the_electrons_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    density = without_orbitals(tmp_path / "d.npy", **change)
    store = tmp_path / "s.zarr"
    assert run(["data", "import", str(GEOMETRY), "--density", str(density), str(store), *LEVEL]) == 2
    assert "frame 0: the coefficients in augccpvqzjkfit hold" in capsys.readouterr().err
    assert not store.exists()


class Attack:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["geometry", "density"])
def test_a_malicious_file_is_refused_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    canary, store = tmp_path / "canary", tmp_path / "s.zarr"
    attack = np.empty((), dtype=object)
    attack[()] = {"positions": Attack(f"touch {canary}")}
    np.save(tmp_path / "evil.npy", attack, allow_pickle=True)
    geometry, density = (tmp_path / "evil.npy", DENSITY) if place == "geometry" else (GEOMETRY, tmp_path / "evil.npy")
    assert run(["data", "import", str(geometry), "--density", str(density), str(store), *LEVEL]) == 2
    message = capsys.readouterr().err
    assert "posix.system" in message
    assert "Traceback" not in message
    assert not store.exists()
    assert not canary.exists()
    np.load(tmp_path / "evil.npy", allow_pickle=True)  # the attack is a real one
    assert canary.exists()


def test_options_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "s.zarr")
    given = ["data", "import", str(GEOMETRY), "--density", str(DENSITY), store]
    assert run([*given, "--level", "PBE/def2-SVP"]) == 2
    assert "are in the basis 'augccpvdz', not in 'def2-SVP'" in capsys.readouterr().err
    assert run(given) == 2
    assert "name it with --level" in capsys.readouterr().err
    assert run(["data", "import", str(DATA / "water5.npz"), "--density", str(DENSITY), store, *LEVEL]) == 2
    assert "belong to geometries in .npy" in capsys.readouterr().err
    (tmp_path / "plain.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    assert run(["data", "import", str(tmp_path / "plain.xyz"), store, *LEVEL]) == 2
    assert '[sampling] method = "file"' in capsys.readouterr().err
    assert not (tmp_path / "s.zarr").exists()


def test_a_run_finds_the_imported_frames_by_the_lines_of_science_systems(stores: dict[str, Path]) -> None:
    """Exported geometries, sampled from the file, are the frames of the store: nothing would be computed anew."""
    file = stores["orbitals"].with_name("frames.xyz")
    command("data", "export", stores["orbitals"], file)
    with ReferenceStore.open(stores["orbitals"]) as store:
        sampled = FileSampler(FileOptions(path=file)).sample(store.structure(0))
        assert [s.content_hash() for s in sampled] == store.hashes


CONFIGURATIONS = sorted(SYSTEMS.glob("*/*.toml"))
OF_THE_PAPER = [path for path in CONFIGURATIONS if "frames.xyz" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("config", sorted(SYSTEMS.glob("*/model.toml")), ids=lambda path: path.parent.name)
def test_the_configurations_of_shipped_models_are_fine(config: Path) -> None:
    assert "is fine" in command("config", "check", config)


@pytest.mark.parametrize(
    "config", [path for path in CONFIGURATIONS if path.stem.startswith(("frames", "test"))], ids=lambda path: path.stem
)
def test_the_configurations_of_labels_have_a_molecule_a_sampler_and_a_level(config: Path) -> None:
    """They have no basis, so that only the stages up to the labels can be asked for."""
    told = " ".join(command("sample", config, "--dry-run").split())
    assert "sample" in told


@pytest.mark.parametrize("config", OF_THE_PAPER, ids=lambda path: path.stem)
def test_the_configurations_of_the_systems_are_fine(config: Path, tmp_path: Path) -> None:
    """Once the frames are there that their pages say how to make; before, the missing file is named."""
    copy = tmp_path / "science" / "systems" / config.parent.name / config.name
    shutil.copytree(config.parent, copy.parent)
    settings = tomllib.loads(copy.read_text(encoding="utf-8"))
    frames = copy.parent / settings["sampling"]["path"]
    with contextlib.redirect_stderr(io.StringIO()) as err:
        assert run(["config", "check", str(copy)]) == 2
    assert "frames.xyz cannot be read" in " ".join(err.getvalue().split())
    frames.parent.mkdir(parents=True)
    shutil.copy(copy.parent / settings["system"]["geometry"], frames)
    assert "is fine" in command("config", "check", copy)


def test_every_system_of_the_paper_has_a_page_and_a_configuration() -> None:
    names = {"water", "ethanol", "ethanethiol", "resorcinol", "thiophenes"}
    assert {path.parent.name for path in OF_THE_PAPER} == names
    assert {path.parent.name for path in SYSTEMS.glob("*/README.md")} == names
