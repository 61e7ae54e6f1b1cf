"""A small training on real labels: five frames of water, projected from the orbitals of the file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from pyscf.data.nist import BOHR as PYSCF_BOHR

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.fitting import fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.loop import TrainingLoop
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.terms import wanted_objectives

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import network_examples as example

DATA = Path(__file__).parents[1] / "data" / "water5.npz"


def labelled_water() -> Dataset:
    backend = PySCFBackend(LevelOfTheory.parse("PBE/aug-cc-pVDZ"), PySCFOptions())
    prior = AtomicPrior.fit({number: backend.atomic_density(number) for number in (1, 8)})
    file = np.load(DATA)
    structures, coefficients, dipoles = [], [], []
    for numbers, positions, orbitals in zip(
        file["numbers"], file["positions_angstrom"], file["mo_coeff_occupied"], strict=True
    ):
        structure = Structure(numbers, positions / PYSCF_BOHR)
        density = OrbitalDensity(structure, backend.orbital_basis(numbers), orbitals, np.full(5, 2.0))
        projection = backend.project(structure, orbitals, density.occupations, example.BASIS, "coulomb")
        structures.append(structure)
        coefficients.append(fit_difference(structure, projection, example.BASIS, prior).coefficients)
        dipoles.append(density.dipole(40, 23))
    labels = {
        "density": coefficients,
        "energy": list(file["energy_hartree"]),
        "forces": list(file["forces_hartree_per_angstrom"] * PYSCF_BOHR),
        "dipole": dipoles,
    }
    return Dataset(structures, labels)


def test_density_then_energy_are_learnt_from_water(tmp_path: Path) -> None:
    """Overfitting four frames: what the networks are able to express, not how well they predict."""
    frames = labelled_water()
    train = frames.subset([0, 1, 2, 3])
    density, energy = example.make_models(torch.float32)
    objective = DensityObjective(density, train, wanted_objectives("density", {}), batch_size=4, seed=0)
    objective.prepare()
    before = objective.metrics(train)
    options = LoopOptions(steps=150, learning_rate=1e-2, validate_every=50, checkpoint_every=50)
    TrainingLoop("density", density, objective.step, lambda: objective.metrics(train), options, tmp_path, "k").run()
    after = objective.metrics(train)
    assert after["density_rms_error_relative"] < 0.2 * before["density_rms_error_relative"]
    assert after["dipole_rms_debye"] < 0.1 * before["dipole_rms_debye"]

    energies = EnergyObjective(
        energy, density, train, wanted_objectives("energy", {}), batch_size=4, seed=0, steps=options.steps
    )
    energies.prepare()
    before = energies.metrics(train)
    frozen = [p.clone() for p in density.parameters()]
    TrainingLoop("energy", energy, energies.step, lambda: energies.metrics(train), options, tmp_path, "k").run()
    after = energies.metrics(train)
    assert after["force_rms_mev_per_angstrom"] < 0.2 * before["force_rms_mev_per_angstrom"]
    assert after["energy_mae_mev_per_atom"] < 50.0
    assert all(torch.equal(p, q) for p, q in zip(frozen, density.parameters(), strict=True))
