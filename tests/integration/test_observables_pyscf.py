"""Moments, potentials and observables against PySCF, of functions and of fitted densities of water and ethanol."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from numpy.typing import NDArray
from pyscf import dft, gto, scf
from pyscf.data.nist import BOHR as PYSCF_BOHR
from scipy.spatial.transform import Rotation

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.gradients import function_gradients
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import second_moments
from densnet_core.basis.potential import potentials
from densnet_core.density.charges import hirshfeld_charges
from densnet_core.density.electron import ExpandedDensity, OrbitalDensity
from densnet_core.density.fitting import fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.surface import surface_potential
from densnet_core.elements import symbol
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from turned_density import changes

Array = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "data"
BACKEND = PySCFBackend(LevelOfTheory.parse("PBE/aug-cc-pVDZ"), PySCFOptions())
CENTRES = np.array([[0, 0, 0], [0.0, 0.0, 0.0], [0.3, -0.2, 0.7], [1.1, 0.4, -1.9], [0, 0, 8.0]])
"""Bohr: two at one place, near ones, a far one."""
FLAT = 1e-14
"""Exponent of an s function that is constant as far as its partner reaches."""


def uncontracted(exponents: Sequence[float]) -> GaussianBasis:
    return GaussianBasis("uncontracted", {1: [Shell(degree, (a,), (1.0,)) for degree in range(6) for a in exponents]})


def contracted() -> GaussianBasis:
    random = np.random.default_rng(5)
    shells = [
        Shell(degree, tuple(10 ** random.uniform(-1, 1.3, n)), tuple(random.normal(size=n)))
        for degree in range(6)
        for n in (1, 3)
    ]
    return GaussianBasis("contracted", {1: shells})


BASES = [uncontracted((0.05, 0.7, 80.0)), uncontracted((0.01, 3000.0, 2e5)), contracted()]


def with_flat_partner(basis: GaussianBasis, positions: Array) -> tuple[Any, Any, float]:
    """``Mole`` with the shells of a basis on hydrogens, one with a flat s function, and the height of that one."""
    records = [[s.l, *([a, c] for a, c in zip(s.exponents, s.coefficients, strict=True))] for s in basis.shells(1)]
    molecule = gto.M(
        atom=[("H", tuple(r)) for r in positions.tolist()], basis={"H": records}, unit="Bohr", spin=None, verbose=0
    )
    flat = gto.M(atom="ghost-H 0 0 0", basis={"ghost-H": [[0, [FLAT, 1.0]]]}, unit="Bohr", spin=None, verbose=0)
    return molecule, flat, float(flat.eval_gto("GTOval_sph", np.zeros((1, 3)))[0, 0])


@pytest.mark.parametrize("basis", BASES, ids=["usual", "extreme", "contracted"])
def test_second_moments_of_functions(basis: GaussianBasis) -> None:
    molecule, flat, height = with_flat_partner(basis, CENTRES)
    expected = gto.intor_cross("int1e_rr", molecule, flat)[..., 0].T.reshape(-1, 3, 3) / height
    functions = MolecularBasis(basis, [1] * len(CENTRES))
    found = second_moments(functions, torch.tensor(CENTRES)).numpy()
    # of the largest of the shells with the same exponents: those of l > 2 have none
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()
    for group in functions.groups[:3]:
        mine = group.functions.numpy()[2:]
        np.testing.assert_allclose(found[mine], expected[mine], rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def points_around(centres: Array, closest: float, farthest: float) -> Array:
    """Random points at every distance from every centre, and the centres themselves."""
    spread = np.random.default_rng(1).normal(size=(30, 3)) * np.geomspace(closest, farthest, 30)[:, None]
    return np.concatenate([centres, (centres[:, None] + spread).reshape(-1, 3)])


@pytest.mark.parametrize("basis", BASES, ids=["usual", "extreme", "contracted"])
def test_potentials_of_functions(basis: GaussianBasis) -> None:
    """Two integrals of PySCF: the nuclear-attraction one, and repulsion by an s function so tight that it is a point.

    To 1e-10 of the largest potential of each function, where exp(-a d^2) of a tight function is not yet gone: farther
    away PySCF's integrals lose the digits of high l (all of them for l = 5, a = 2e5 at 20 bohr), and
    tests/unit/test_potential.py has them from quadrature with sixty digits.
    """
    points = points_around(CENTRES, 1e-3, 20.0)
    molecule, flat, height = with_flat_partner(basis, CENTRES)
    both, n = gto.conc_mol(molecule, flat), molecule.nbas
    attraction = both.intor("int1e_grids", grids=points, shls_slice=(0, n, n, n + 1))[..., 0] / height
    tight = 1e17
    record = {"ghost-H": [[0, [tight, 1.0]]]}
    charge = gto.M(atom=[("ghost-H", tuple(p)) for p in points], basis=record, unit="Bohr", spin=None, verbose=0)
    repulsion = gto.intor_cross("int2c2e", charge, molecule) / ((np.pi / tight) ** 1.5 * (2 * tight / np.pi) ** 0.75)
    functions = MolecularBasis(basis, [1] * len(CENTRES))
    found = potentials(functions, torch.tensor(CENTRES), torch.tensor(points)).numpy()
    near = np.zeros(found.shape, dtype=bool)
    for group in functions.groups:
        squares = ((points[:, None] - CENTRES[group.atoms.numpy()]) ** 2).sum(-1)
        near[:, group.functions.numpy()] = (squares * group.exponents.numpy().min(axis=1) < 100.0)[..., None]
    assert near.mean() > 0.3
    for expected in (attraction, repulsion):
        scale = np.abs(expected).max(axis=0)
        assert (np.abs(found - expected) / scale)[near].max() < 1e-10


@pytest.mark.parametrize("basis", BASES, ids=["usual", "extreme", "contracted"])
def test_gradients_of_functions(basis: GaussianBasis) -> None:
    points = points_around(CENTRES, 1e-3, 5.0)
    molecule, _, _ = with_flat_partner(basis, CENTRES)
    expected = molecule.eval_gto("GTOval_sph_deriv1", points)[1:].transpose(1, 0, 2)
    functions = MolecularBasis(basis, [1] * len(CENTRES))
    found = function_gradients(functions, torch.tensor(CENTRES), torch.tensor(points)).numpy()
    assert (np.abs(found - expected) / np.abs(expected).max(axis=(0, 1))).max() < 1e-10


@cache
def prior() -> AtomicPrior:
    return AtomicPrior.fit({number: BACKEND.atomic_density(number) for number in (1, 6, 8)})


@cache
def system(name: str, basis_name: str) -> tuple[OrbitalDensity, ExpandedDensity, Any, Array]:
    """Density of the orbitals of a file, its fit, and PySCF's molecule and density matrix."""
    data = np.load(DATA / f"{name}.npz")
    structure = Structure(data["numbers"][0], data["positions_angstrom"][0] / PYSCF_BOHR)
    orbitals = data["mo_coeff_occupied"][0]
    occupations = np.full(orbitals.shape[1], 2.0)
    reference = OrbitalDensity(structure, BACKEND.orbital_basis(structure.numbers), orbitals, occupations)
    basis = basis_by_name(basis_name, structure.numbers)
    projection = BACKEND.project(structure, orbitals, occupations, basis, "coulomb")
    fit = fit_difference(structure, projection, basis, prior())
    molecule = gto.M(
        atom=[(symbol(int(z)), tuple(r)) for z, r in zip(structure.numbers, structure.positions.tolist(), strict=True)],
        basis="aug-cc-pvdz",
        unit="Bohr",
        verbose=0,
    )
    return reference, ExpandedDensity(structure, basis, fit.coefficients, prior()), molecule, 2 * orbitals @ orbitals.T


@pytest.mark.parametrize(
    ("name", "basis", "dipole", "quadrupole"),
    [
        ("water5", "densnet-l", 0.01, 0.03),
        ("water5", "aug-cc-pVQZ-JKFIT", 2e-3, 6e-3),
        ("ethanol1", "densnet-l", 0.01, 0.03),
    ],
)
def test_moments_of_a_molecule(name: str, basis: str, dipole: float, quadrupole: float) -> None:
    """Those of the orbitals to the quadrature's precision, those of the fit to what the basis allows, e bohr^n."""
    reference, fitted, molecule, matrix = system(name, basis)
    structure = fitted.structure
    with molecule.with_common_origin((0, 0, 0)):
        moments = np.einsum("xij,ji->x", molecule.intor("int1e_rr"), matrix).reshape(3, 3)
        dipoles = np.einsum("xij,ji->x", molecule.intor("int1e_r"), matrix)
    nuclei = np.einsum("a,ai,aj->ij", structure.numbers, structure.positions, structure.positions)
    expected = 1.5 * (nuclei - moments) - 0.5 * np.trace(nuclei - moments) * np.eye(3)
    assert reference.electron_count() == pytest.approx(structure.n_electrons, abs=1e-9)
    np.testing.assert_allclose(reference.second_moments(), nuclei - moments, atol=2e-3)
    np.testing.assert_allclose(fitted.quadrupole(), expected, atol=quadrupole)
    np.testing.assert_allclose(fitted.dipole(), structure.numbers @ structure.positions - dipoles, atol=dipole)


@pytest.mark.parametrize(
    ("name", "basis", "energy", "potential"),
    [
        ("water5", "densnet-l", 2e-3, 4e-4),
        ("water5", "aug-cc-pVQZ-JKFIT", 1e-3, 2e-4),
        ("ethanol1", "densnet-l", 1e-2, 8e-4),
    ],
)
def test_electrostatics_of_a_molecule(name: str, basis: str, energy: float, potential: float) -> None:
    """Hartree energy from four-centre integrals and int1e_grids; bounds are the fit's, hartree and hartree/e.

    A fit in the Coulomb metric has less self-repulsion than the density: by that of its error.
    """
    _, fitted, molecule, matrix = system(name, basis)
    coulomb = scf.hf.dot_eri_dm(molecule.intor("int2e", aosym="s8"), matrix, hermi=1, with_k=False)[0]
    assert fitted.hartree_energy() == pytest.approx(0.5 * np.einsum("ij,ji->", coulomb, matrix), abs=energy)
    attraction = np.einsum("ij,ji->", molecule.intor("int1e_nuc"), matrix)
    assert fitted.nuclear_attraction_energy() == pytest.approx(attraction, abs=5 * energy)
    surface = surface_potential(fitted, degree=11)
    points, structure = surface.surface.points, fitted.structure
    electrons = np.einsum("gij,ij->g", molecule.intor("int1e_grids", grids=points), matrix)
    nuclei = (structure.numbers / np.linalg.norm(points[:, None] - structure.positions, axis=-1)).sum(1)
    np.testing.assert_allclose(surface.values, nuclei - electrons, atol=potential)
    assert surface.minimum < -0.04 < 0.05 < surface.maximum


def test_hirshfeld_charges_of_water_on_pyscfs_grid_with_pyscfs_atoms() -> None:
    """PySCF's grid, density matrix and spherical atoms; the atoms interpolated in their tables, not expanded."""
    reference, fitted, molecule, matrix = system("water5", "aug-cc-pVQZ-JKFIT")
    structure = fitted.structure
    grid = dft.gen_grid.Grids(molecule)
    grid.level = 5
    grid.build()
    density = dft.numint.eval_rho(molecule, dft.numint.eval_ao(molecule, grid.coords), matrix)
    free = []
    for number, position in zip(structure.numbers, structure.positions, strict=True):
        table = BACKEND.atomic_density(int(number))
        order = np.argsort(table.radii)
        distances = np.linalg.norm(grid.coords - position, axis=1)
        logarithm = np.log(np.maximum(table.values[order], 1e-30))
        free.append(np.exp(np.interp(distances, table.radii[order], logarithm)))
    shares = np.array(free) / np.sum(free, axis=0)
    expected = structure.numbers - shares @ (grid.weights * density)
    assert expected.sum() == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(hirshfeld_charges(reference, prior()), expected, atol=1e-3)
    np.testing.assert_allclose(hirshfeld_charges(fitted), expected, atol=2e-3)
    assert expected[0] == pytest.approx(-0.28, abs=0.02)


@pytest.mark.parametrize(("name", "basis"), [("water5", "aug-cc-pVQZ-JKFIT"), ("ethanol1", "densnet-l")])
def test_rotating_a_fitted_density_leaves_every_observable_as_it_is(name: str, basis: str) -> None:
    found = changes(system(name, basis)[1], Rotation.random(rng=5).as_matrix())
    assert {observable: change for observable, change in found.items() if not change < 1e-10} == {}
