"""GFN2-xTB: energies, forces, relaxation and dynamics."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Hartree
from densnet_xtb.config import XTBLangevinOptions
from densnet_xtb.method import GFN2
from densnet_xtb.sampler import XTBLangevinSampler
from tblite.ase import TBLite

from densnet_core.errors import ConvergenceError, InputError
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.checks import defect
from densnet_core.structures import Structure

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))
CATION = Structure(WATER.numbers, 1.05 * WATER.positions, 1, 2)


@pytest.mark.parametrize("molecule", [WATER, CATION], ids=["water", "cation"])
def test_energy_and_forces_are_those_of_the_ase_calculator(molecule):
    # ASE's way to the same program: other units, its own handling of charge and spin.
    atoms = Atoms(molecule.numbers, molecule.positions * Bohr)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0, charge=molecule.charge, multiplicity=molecule.multiplicity)
    energy, forces = GFN2().energy_and_forces(molecule)
    assert energy == pytest.approx(atoms.get_potential_energy() / Hartree, abs=1e-6)
    assert forces == pytest.approx(atoms.get_forces() * Bohr / Hartree, abs=1e-5)


def test_forces_are_minus_the_gradient_of_the_energy():
    method, step = GFN2(accuracy=0.01), 1e-3
    forces = method(CATION)
    for atom, axis in ((0, 0), (1, 2), (2, 1)):
        shift = np.zeros((3, 3))
        shift[atom, axis] = step
        up, down = (method.energy_and_forces(CATION.with_positions(CATION.positions + s))[0] for s in (shift, -shift))
        assert forces[atom, axis] == pytest.approx((down - up) / (2 * step), abs=1e-6)


def test_relaxed_water_has_the_geometry_of_the_method():
    relaxed = GFN2().relaxed(WATER)
    p = relaxed.positions
    lengths = [np.linalg.norm(p[i] - p[0]) * Bohr for i in (1, 2)]
    cosine = np.dot(p[1] - p[0], p[2] - p[0]) * Bohr**2 / np.prod(lengths)
    assert lengths == pytest.approx([0.959, 0.959], abs=0.003)  # experiment 0.958; GFN2-xTB is made to reproduce it
    assert np.degrees(np.arccos(cosine)) == pytest.approx(107.2, abs=0.5)
    assert np.abs(GFN2()(relaxed)).max() < 5e-4


def test_dynamics_gives_intact_reproducible_geometries_at_the_temperature(tmp_path):
    options = XTBLangevinOptions(count=24, walkers=2, interval_fs=20.0, equilibration_fs=60.0, temperature=800.0)
    frames = XTBLangevinSampler(options).sample(WATER)
    assert len({frame.content_hash() for frame in frames}) == 24
    assert all(defect(frame, WATER) is None for frame in frames)
    lengths = np.array([[np.linalg.norm(f.positions[i] - f.positions[0]) for i in (1, 2)] for f in frames])
    # A stretch of about 0.5 hartree/bohr^2 has at 800 K a spread of 0.07 bohr.
    assert 0.03 < lengths.std() < 0.15
    again = XTBLangevinSampler(options).sample(WATER, SamplingContext(folder=tmp_path))
    assert [f.content_hash() for f in again] == [f.content_hash() for f in frames]
    resumed = XTBLangevinSampler(options).sample(WATER, SamplingContext(folder=tmp_path))
    assert [f.content_hash() for f in resumed] == [f.content_hash() for f in frames]


def test_what_xtb_cannot_do_is_an_error_of_ours():
    touching = WATER.with_positions(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]))
    with pytest.raises((InputError, ConvergenceError), match="GFN2-xTB"):
        GFN2()(touching)
