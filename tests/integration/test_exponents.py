"""``[basis] exponents`` as a user sets it: real runs with exponents that are optimised, or that the network moves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import CONFIG, FinishedRun, densnet, prepare

from densnet_core.density.method import FitMethod
from densnet_core.density.quadrature import quadrature
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import SPLIT
from densnet_core.structures import read_xyz
from densnet_core.units import AU_TO_DEBYE, BOHR_TO_NANOMETER, KJ_PER_MOL_NANOMETER

STARTS_AT = "[basis.even_tempered.O]"


def with_basis(finished: FinishedRun, folder: Path, keys: str) -> FinishedRun:
    """A run beside the finished one, with its reference data, that differs in the section [basis]."""
    shutil.copytree(finished.output, folder / "out")
    prepare(folder, CONFIG.replace(STARTS_AT, f"[basis]\n{keys}\n{STARTS_AT}").replace("steps = 60", "steps = 30"))
    done = densnet("train", "water.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return FinishedRun(folder, done.stdout, done.stderr)


def test_a_network_that_moves_exponents_from_training_to_torchscript(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = with_basis(finished_run, tmp_path, 'exponents = "atom"')
    model = DenSNet.load(run.model)
    structure = read_xyz(tmp_path / "water.xyz")[0]
    bent = structure.with_positions(structure.positions + np.array([[0.0, 0.0, 0.1], [0.0, 0.2, 0.0], [0.0, 0.0, 0.0]]))
    first, second = model.predict([structure, bent])

    assert first.density.scales is not None
    assert second.density.scales is not None
    factors = np.concatenate([first.density.scales, second.density.scales])
    assert 0.001 < np.abs(np.log(factors)).max() < np.log(1.5)
    assert np.abs(first.density.scales - second.density.scales).max() > 1e-6
    points, weights = quadrature(bent)
    values = second.density.evaluate(points)
    assert weights @ values == pytest.approx(10.0, abs=1e-4)
    assert second.density.electron_count() == pytest.approx(10.0, abs=1e-9)
    nuclei = bent.numbers @ bent.positions
    np.testing.assert_allclose(second.dipole, nuclei - (weights * values) @ points, atol=2e-4)
    many = model.along(structure, np.stack([structure.positions, bent.positions]))
    np.testing.assert_allclose(many, [first.dipole, second.dipole], atol=1e-12)

    step = 1e-3
    moved = [bent.positions + sign * step * np.eye(9).reshape(9, 3, 3)[4] for sign in (1, -1)]
    up, down = (p.energy for p in model.predict([bent.with_positions(p) for p in moved]))
    assert second.forces[1, 1] == pytest.approx(-(up - down) / (2 * step), abs=2e-5)  # networks are in float32

    BoundPotential(model, [structure]).save_torchscript(tmp_path / "potential.pt")
    script = torch.jit.load(str(tmp_path / "potential.pt"))
    _, forces = script(torch.tensor(bent.positions * BOHR_TO_NANOMETER))
    np.testing.assert_allclose(forces.numpy() / KJ_PER_MOL_NANOMETER, second.forces, atol=1e-6)

    evaluated = densnet("evaluate", run.model, run.store, "--json", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    errors = json.loads(evaluated.stdout)
    assert errors["frames"] == 6
    assert errors["density"]["nmae_fit_floor_percent"] < 0.3  # of the large set
    assert errors["density"]["nmae_model_vs_reference_percent"] < 8.0
    assert errors["dipole"]["mae_debye"] < 0.1 * np.linalg.norm(first.dipole) * AU_TO_DEBYE

    again = densnet("train", "water.toml", cwd=tmp_path)
    assert all(line.endswith("current") for line in again.stderr.splitlines()), again.stderr


def test_a_basis_is_optimised_on_training_frames_alone_and_once(finished_run: FinishedRun, tmp_path: Path) -> None:
    keys = 'exponents = "element"\noptimization = { frames = 3, iterations = 3, seed = 5 }'
    run = with_basis(finished_run, tmp_path, keys)
    record = json.loads((run.output / "basis.json").read_text())
    with ReferenceStore.open(run.store) as store:
        split = store.read_document(SPLIT)
    assert len(record["made_by"]["frames_hashes"]) == 3
    assert set(record["made_by"]["frames_hashes"]) <= set(split["train"])
    basis = DenSNet.load(run.model).specification.basis
    assert basis.name == "even-tempered-element"
    assert [sum(shell.l == degree for shell in basis.shells(8)) for degree in range(3)] == [4, 3, 1]
    assert not list(run.output.glob("basis-frames*"))
    assert "Condition number of the scaled metric of even-tempered-element" in run.stderr
    before = (run.output / "basis.json").stat().st_mtime_ns
    again = densnet("train", "water.toml", cwd=tmp_path)
    assert all(line.endswith("current") for line in again.stderr.splitlines()), again.stderr
    assert (run.output / "basis.json").stat().st_mtime_ns == before


def test_fits_in_the_weighted_metric_with_a_tikhonov_term(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = with_basis(finished_run, tmp_path, 'metric = "weighted"\ntikhonov = 1e-6')
    with ReferenceStore.open(run.store) as store:
        (name,) = (n for n in store.fit_names() if "weighted" in n)
        assert name.endswith("weighted-difference-charge+dipole-tikhonov1e-06")
        assert len(store.fit(name)) == 24
    model = DenSNet.load(run.model)
    assert model.label_method == FitMethod("weighted", "dipole", 1e-6)
    assert model.specification.metric == "coulomb"
    evaluated = densnet("evaluate", run.model, run.store, "--json", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    floor = json.loads(evaluated.stdout)["density"]["nmae_fit_floor_percent"]
    coulomb = json.loads((finished_run.output / "evaluation.json").read_text())["density"]["nmae_fit_floor_percent"]
    assert floor < coulomb  # it minimises a bound of this very number
