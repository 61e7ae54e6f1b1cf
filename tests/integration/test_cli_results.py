"""evaluate, predict, export and import as a user calls them, on a trained model."""

from __future__ import annotations

import json
import math
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io.cube import read_cube_data
from densnet_openmm.config import OpenMMOptions
from densnet_openmm.engine import OpenMMEngine
from tiny_run import FinishedRun, densnet, environment

from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.fitting import fit_density
from densnet_core.errors import InputError
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.dynamics import MDStage
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import SPLIT
from densnet_core.structures import read_xyz
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.evaluation import frames_to_evaluate
from densnet_core.workflow.stores import backend_factory
from densnet_core.workflow.thermal import thermal_start

ROOT = Path(__file__).parents[2]
WATER5 = ROOT / "tests" / "data" / "water5.npz"
LEVEL = "PBE/aug-cc-pVDZ"
KEYS = {
    "density": {
        "nmae_fit_floor_percent",
        "nmae_model_vs_fit_percent",
        "nmae_model_vs_reference_percent",
        "electron_count_max_error",
    },
    "dipole": {"mae_debye"},
    "energy": {"mae_mev"},
    "forces": {"mae_mev_per_angstrom"},
}
WORST = {
    "density": ("nmae_percent",),
    "dipole": ("debye",),
    "energy": ("error_mev",),
    "forces": ("rmse_mev_per_angstrom",),
}
"""Figures of the worst frame, which is named by its hash."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five frames of water5.npz, imported by the command."""
    folder = tmp_path_factory.mktemp("imported")
    for expected in ("5 frames imported, 0 were there already", "0 frames imported, 5 were there already"):
        done = densnet("data", "import", WATER5, "--level", LEVEL, folder / "water5.zarr", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    return folder / "water5.zarr"


def check_errors(record: dict, frames: int) -> None:
    assert record["frames"] == frames
    for section, names in KEYS.items():
        assert names <= set(record[section])
        worst = record[section].get("worst", {})
        assert set(worst) == ({"frame", *WORST[section]} if worst else set())
        figures = [*record[section].values(), *(value for name, value in worst.items() if name != "frame")]
        assert all(math.isfinite(value) for value in figures if not isinstance(value, dict))
    assert record["density"]["electron_count_max_error"] < 1e-6


def test_evaluate_prints_the_contract_and_nothing_else_on_stdout(finished_run: FinishedRun) -> None:
    done = densnet("evaluate", finished_run.model, finished_run.store, "--json", cwd=finished_run.folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    check_errors(record, 6)
    # the run has errors by store and formula, too, in batches of its own: the last digits of float32 differ
    known = json.loads((finished_run.output / "evaluation.json").read_text())
    assert set(known) == {*record, "stores", "formulas"}
    for group in ("density", "dipole", "energy", "forces"):
        worst = record[group].pop("worst"), known[group].pop("worst")
        assert worst[0]["frame"] == worst[1]["frame"]
        assert record[group] == pytest.approx(known[group], rel=1e-5)


def test_evaluate_leaves_training_frames_out(finished_run: FinishedRun) -> None:
    with ReferenceStore.open(finished_run.store) as store:
        test = store.read_document(SPLIT)["test"]
        structures = [store.structure(store.index_of(bytes.fromhex(h))) for h in test]
        energies = [store.result(store.index_of(bytes.fromhex(h)), ("energy",)).energy for h in test]
    done = densnet(
        "evaluate", finished_run.model, finished_run.store, "--frames", "all", "--json", cwd=finished_run.folder
    )
    record = json.loads(done.stdout)
    check_errors(record, 6)
    assert "18 frames that the model was trained on are left out" in done.stderr
    predicted = [p.energy for p in DenSNet.load(finished_run.model).predict(structures)]
    mae = float(np.abs(np.subtract(predicted, energies)).mean()) * 27211.386245988
    assert record["energy"]["mae_mev"] == pytest.approx(mae, rel=1e-6)


def test_evaluate_does_not_guess_which_frames_were_held_out(finished_run: FinishedRun, tmp_path: Path) -> None:
    lost, bare = tmp_path / "lost.zarr", tmp_path / "bare.zarr"
    shutil.copytree(finished_run.store, lost)
    shutil.rmtree(lost / "documents" / "split")
    done = densnet("evaluate", finished_run.model, lost, cwd=tmp_path)
    assert done.returncode == 2
    assert "record of the frames held out for testing was lost" in done.stderr
    model = DenSNet.load(finished_run.model)
    with ReferenceStore.open(finished_run.store) as store:
        record = store.structure(0), store.result(0)
        with ReferenceStore.create(bare, store.level, store.backend, store.versions) as other:
            other.set_orbital_basis(store.orbital_basis)
            other.append([record])
            with pytest.raises(InputError, match="has no split, so no frame of it is a test frame"):
                frames_to_evaluate(model, other, "test")


def test_evaluate_on_imported_frames_of_another_level_says_so(
    finished_run: FinishedRun, imported: Path, tmp_path: Path
) -> None:
    store = tmp_path / "copy.zarr"
    shutil.copytree(imported, store)
    done = densnet("evaluate", finished_run.model, store, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check_errors(json.loads(done.stdout), 5)
    assert f"trained on HF/6-31G, {store} holds {LEVEL}" in done.stderr


def test_imported_orbitals_give_the_coefficients_of_the_file(imported: Path) -> None:
    basis = basis_by_name("aug-cc-pVQZ-JKFIT", [1, 8])
    with np.load(WATER5) as archive:
        (expected,) = (archive[name] for name in archive.files if name.startswith("df_coeff_"))
    with ReferenceStore.open(imported) as store:
        backend = backend_factory(store.backend, store.level).make()
        for index in range(len(store)):
            structure, result = store.structure(index), store.result(index, ("orbitals", "occupations"))
            vector = backend.project(structure, result.orbitals, result.occupations, basis, "coulomb")
            functions = MolecularBasis(basis, structure.numbers)
            metric = two_center("coulomb", functions, torch.tensor(structure.positions))
            found = fit_density(metric, torch.tensor(vector)).coefficients
            assert np.linalg.norm(found - expected[index]) < 5e-9 * np.linalg.norm(expected[index])


def test_import_of_another_level_leaves_nothing_behind(tmp_path: Path) -> None:
    done = densnet("data", "import", WATER5, "--level", "PBE/def2-SVP", "wrong.zarr", cwd=tmp_path)
    assert done.returncode == 2
    assert "41 rows" in done.stderr
    assert not (tmp_path / "wrong.zarr").exists()


def predict(model: Path, positions: np.ndarray, folder: Path, *options: object) -> dict:
    """The JSON of ``densnet predict`` for waters at (n, 3, 3) positions in angstrom."""
    text = "".join(
        "3\n\n" + "".join(f"{s} {x:.12f} {y:.12f} {z:.12f}\n" for s, (x, y, z) in zip("OHH", frame, strict=True))
        for frame in positions
    )
    (folder / "given.xyz").write_text(text)
    done = densnet("predict", model, "given.xyz", "--json", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_predicted_forces_are_the_slope_of_predicted_energies(finished_run: FinishedRun, tmp_path: Path) -> None:
    start = np.array([[0.01, 0.02, 0.12], [0.03, 0.80, -0.45], [-0.02, -0.74, -0.50]])
    step = 2e-3  # angstrom; below it the noise of the float32 network outweighs the curvature
    frames = [start]
    for atom, axis in np.ndindex(3, 3):
        for sign in (1, -1):
            frames.append(start.copy())
            frames[-1][atom, axis] += sign * step
    record = predict(finished_run.model, np.array(frames), tmp_path)
    assert record["level_of_theory"] == "HF/6-31G"
    units = {"energy_hartree", "energy_ev", "forces_ev_per_angstrom", "dipole_debye", "electron_count", "formula"}
    assert set(record["frames"][0]) == units | {"extrapolation"}
    energies = [frame["energy_ev"] for frame in record["frames"]]
    slopes = np.array([(up - down) / (2 * step) for up, down in zip(energies[1::2], energies[2::2], strict=True)])
    forces = np.array(record["frames"][0]["forces_ev_per_angstrom"])
    np.testing.assert_allclose(forces, -slopes.reshape(3, 3), rtol=0, atol=6e-4)
    assert all(abs(frame["electron_count"] - 10.0) < 1e-9 for frame in record["frames"])


def test_cube_file_holds_the_electrons_and_the_dipole(finished_run: FinishedRun, tmp_path: Path) -> None:
    positions = np.array([[0.0, 0.0, 0.117], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
    record = predict(finished_run.model, positions[None], tmp_path, "--cube", "density.cube")
    values, atoms = read_cube_data(str(tmp_path / "density.cube"))
    assert atoms.get_chemical_symbols() == ["O", "H", "H"]
    np.testing.assert_allclose(atoms.positions, positions, atol=1e-5)
    spacing = 0.2
    # 0.2 bohr cannot resolve the oxygen's core: the sum over points is right to a few per cent of an electron
    assert values.sum() * spacing**3 == pytest.approx(10.0, abs=0.2)
    # the core sits on the nucleus and away from it the density is smooth, so the dipole is better than the count
    shape = values.shape
    lowest = positions.min(axis=0) / BOHR_TO_ANGSTROM - 5.0
    z = lowest[2] + spacing * np.arange(shape[2])
    oxygen = positions[0, 2] / BOHR_TO_ANGSTROM
    nuclei = 2 * (positions[1, 2] - positions[0, 2]) / BOHR_TO_ANGSTROM
    dipole = nuclei - float((values.sum(axis=(0, 1)) * (z - oxygen)).sum()) * spacing**3
    assert dipole * 2.541746 == pytest.approx(record["frames"][0]["dipole_debye"][2], abs=0.1)


def test_exported_file_runs_in_plain_openmm(finished_run: FinishedRun, tmp_path: Path) -> None:
    done = densnet("export", finished_run.model, finished_run.folder / "water.xyz", "water.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    script = (
        "import runpy, sys; sys.modules['densnet_core'] = None; "  # any import of it fails
        f"sys.argv = ['script', 'water.pt']; runpy.run_path({str(ROOT / 'examples' / 'openmm_torchforce.py')!r})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("H2O, 1 replicas")
    assert len(lines) == 11


def test_both_routes_into_openmm_give_the_forces_of_the_model(finished_run: FinishedRun) -> None:
    model = DenSNet.load(finished_run.model)
    structure = read_xyz(finished_run.folder / "water.xyz")[0]
    molecules = [structure, structure]
    bound = BoundPotential(model, molecules)
    start = thermal_start(molecules, 300.0, 3)
    stage = MDStage("nve", 20, 10.0, 300.0, 1e-4, 2, 1)
    ends = {}
    for route in ("torchforce", "python"):
        engine = OpenMMEngine(OpenMMOptions(force=route))
        (block,) = engine.run(model, molecules, stage, start)
        ends[route] = bound.energy_and_forces(block.end.positions)[1]
    scale = np.abs(ends["python"]).max()
    np.testing.assert_allclose(ends["torchforce"], ends["python"], rtol=0, atol=1e-5 * scale)


class Payload:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.fixture(scope="module")
def broken(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of things that are not what they should be."""
    folder = tmp_path_factory.mktemp("broken")
    payload = Payload(folder / "executed")
    (folder / "evil").mkdir()
    shutil.copy(finished_run.model / "model.json", folder / "evil")
    (folder / "evil" / "weights.safetensors").write_bytes(pickle.dumps(payload))
    (folder / "evil.pkl").write_bytes(pickle.dumps(payload))
    torch.save({"weights": payload}, folder / "evil.pt")
    shutil.copytree(finished_run.store, folder / "corrupt.zarr")
    chunk = folder / "corrupt.zarr" / "frames" / "energy" / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    (folder / "empty").mkdir()
    shutil.copy(finished_run.folder / "water.xyz", folder)
    (folder / "carbon.xyz").write_text("1\n\nC 0 0 0\n")
    text = (finished_run.folder / "water.toml").read_text()
    (folder / "typo.toml").write_text(text.replace("count = 24", "cuont = 24"))
    (folder / "nowhere.toml").write_text(text.replace("water.xyz", "nowhere.xyz"))
    return folder


CONFIG_VERBS = ("run", "sample", "reference", "train", "md", "spectrum")
REFUSED = [
    *((verb, model, rest) for model in ("evil", "evil.pkl", "evil.pt", "nowhere") for verb, rest in
      (("predict", ["water.xyz"]), ("evaluate", ["STORE"]), ("export", ["water.xyz", "out.pt"]))),
    ("predict", "MODEL", ["nowhere.xyz"]),
    ("predict", "MODEL", ["carbon.xyz"]),
    ("predict", "MODEL", ["water.xyz", "--cube", "nowhere/density.cube"]),
    ("export", "MODEL", ["water.xyz", "nowhere/out.pt"]),
    ("export", "MODEL", ["carbon.xyz", "out.pt"]),
    ("evaluate", "MODEL", ["corrupt.zarr"]),
    ("evaluate", "MODEL", ["empty"]),
    ("evaluate", "MODEL", ["nowhere"]),
    ("data", "info", ["corrupt.zarr"]),
    ("data", "verify", ["corrupt.zarr"]),
    ("data", "verify", ["water.xyz"]),
    ("data", "import", ["water.xyz", "new.zarr", "--level", LEVEL]),
    ("data", "project", ["nowhere", "--basis", "def2-universal-jkfit"]),
    *((verb, config, []) for config in ("typo.toml", "nowhere.toml", "missing.toml") for verb in CONFIG_VERBS),
]  # fmt: skip


def test_what_cannot_work_is_one_message_and_exit_code_2(finished_run: FinishedRun, broken: Path) -> None:
    # One process for all of them: the command's own entry point, without a second for each start.
    script = (
        "import contextlib, io, json, sys\n"
        "from densnet_core.cli.app import run\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    errors = io.StringIO()\n"
        "    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):\n"
        "        code = run(arguments)\n"
        "    print(json.dumps([arguments, code, errors.getvalue()]))\n"
    )
    names = {"MODEL": str(finished_run.model), "STORE": str(finished_run.store)}
    calls = [[names.get(word, word) for word in (verb, first, *rest)] for verb, first, rest in REFUSED]
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(calls)],
        cwd=broken, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(REFUSED)
    for arguments, code, errors in answers:
        assert code == 2, (arguments, errors)
        assert errors.startswith("Error: "), (arguments, errors)
        assert "Traceback" not in errors
        if arguments[:2] != ["data", "verify"]:  # which lists every problem
            assert len(errors.splitlines()) == 1, (arguments, errors)
    assert not (broken / "executed").exists()
    assert not (broken / "new.zarr").exists()
