"""The PySCF backend against numbers that others computed. Sources: tests/data/README.md and the docstrings."""

from pathlib import Path

import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.molecule import orbital_basis
from pyscf import gto
from pyscf.data.nist import BOHR as PYSCF_BOHR

from densnet_core.basis.base import GaussianBasis
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Array, Structure
from densnet_core.testing.reference import WATER

DATA = np.load(Path(__file__).parents[1] / "data" / "water5.npz")
FRAMES = [
    Structure(numbers, positions / PYSCF_BOHR)
    for numbers, positions in zip(DATA["numbers"], DATA["positions_angstrom"], strict=True)
]


def exact(level: str) -> PySCFBackend:
    """Exact integrals and the grid of the published energies."""
    return PySCFBackend(LevelOfTheory.parse(level), PySCFOptions(density_fitting=False, grid_level=3))


def coulomb_coefficients(structure: Structure, basis: GaussianBasis, projection: Array) -> Array:
    """Coulomb fit with PySCF's own two-centre integrals of the basis of that name."""
    atoms = list(zip(structure.numbers.tolist(), structure.positions, strict=True))
    metric = gto.M(atom=atoms, basis=basis.name, unit="Bohr", spin=None).intor("int2c2e")
    return np.linalg.solve(metric, projection)


def test_first_frame_of_water100() -> None:
    result = exact("PBE/aug-cc-pVDZ").compute(FRAMES[0])
    assert result.energy == pytest.approx(DATA["energy_hartree"][0], abs=1e-7)
    # The file's forces lack the response of the grid, whose sum over the atoms is 9e-6 hartree/bohr.
    forces = DATA["forces_hartree_per_angstrom"][0] * PYSCF_BOHR
    np.testing.assert_allclose(result.forces, forces, atol=2e-5)
    assert np.abs(result.forces.sum(axis=0)).max() < 1e-10
    overlap_with_file = np.abs(np.sum(result.orbitals * DATA["mo_coeff_occupied"][0], axis=0))
    own = np.sum(result.orbitals**2, axis=0)
    np.testing.assert_allclose(overlap_with_file, own, rtol=1e-4)


def test_coulomb_coefficients_of_water100() -> None:
    backend = exact("PBE/aug-cc-pVDZ")
    basis = orbital_basis([1, 8], "aug-cc-pvqz-jkfit")
    assert basis.n_functions([8, 1, 1]) == 294
    for index, structure in enumerate(FRAMES):
        orbitals = DATA["mo_coeff_occupied"][index]
        projection = backend.project(structure, orbitals, np.full(5, 2.0), basis, "coulomb")
        expected = DATA["df_coeff_augccpvqzjkfit"][index]
        error = coulomb_coefficients(structure, basis, projection) - expected
        assert np.abs(error).max() < 1e-6 * np.abs(expected).max()


def test_fit_of_the_qstack_fixture() -> None:
    """Q-stack's tests (github.com/lcmd-epfl/Q-stack, MIT): PBE/cc-pVDZ in cc-pVDZ-JKFIT, Coulomb metric."""
    angstrom = np.array([[0.0, 0.0, 0.0], [0.986101, 0.0, 0.0], [-0.687570, 0.606955, 0.0]])
    structure = Structure(np.array([8, 1, 1]), angstrom / PYSCF_BOHR)
    backend = exact("PBE/cc-pVDZ")
    result = backend.compute(structure)
    basis = orbital_basis([1, 8], "cc-pvdz-jkfit")
    projection = backend.project(structure, result.orbitals, result.occupations, basis, "coulomb")
    coefficients = coulomb_coefficients(structure, basis, projection)
    assert coefficients.shape == (116,)
    first = [0.33159784, 0.67519001, 2.25278893, 3.72932352, 2.70419391, -0.05227978]
    np.testing.assert_allclose(coefficients[:6], first, atol=2e-6)
    assert coefficients @ _integrals(structure, basis) == pytest.approx(10.000199558, abs=1e-6)


def _integrals(structure: Structure, basis: GaussianBasis) -> Array:
    """Integrals over space: overlaps with a single exceedingly flat s function, by PySCF."""
    atoms = list(zip(structure.numbers.tolist(), structure.positions, strict=True))
    molecule = gto.M(atom=atoms, basis=basis.name, unit="Bohr", spin=None)
    flat = 1e-14
    one = gto.M(atom="X-H 0 0 0", basis={"X-H": [[0, [flat, 1.0]]]}, spin=None, charge=0)
    return gto.intor_cross("int1e_ovlp", molecule, one)[:, 0] / (2.0 * flat / np.pi) ** 0.75


def test_water_of_the_programming_projects() -> None:
    """T. D. Crawford's project 3 (github.com/CrawfordGroup/ProgrammingProjects): HF/STO-3G energy and dipole."""
    result = exact("HF/STO-3G").compute(WATER)
    assert result.energy == pytest.approx(-74.942079928192, abs=1e-9)
    np.testing.assert_allclose(result.dipole, [0.0, 0.603521296525, 0.0], atol=1e-6)


def test_b3lyp_is_the_one_with_vwn3() -> None:
    """As Psi4's b3lyp is; Psi4's b3lyp5 was measured to lie 37 mHa away."""
    energies = [exact(f"{method}/STO-3G").compute(WATER).energy for method in ("B3LYP", "B3LYP5")]
    assert abs(energies[1] - energies[0]) == pytest.approx(0.037, abs=0.001)
