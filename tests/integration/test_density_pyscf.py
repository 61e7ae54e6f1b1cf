"""Prior, fits and quadrature on real densities: PBE/aug-cc-pVDZ orbitals of tests/data and free atoms of PySCF."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.molecule import orbital_basis
from pyscf.data.nist import BOHR as PYSCF_BOHR

from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name, frames_behind
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.electron import ExpandedDensity, OrbitalDensity, density_errors, nmae_percent
from densnet_core.density.fitting import fit_density, fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.density.radial import RadialDensity
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import AU_TO_DEBYE

DATA = Path(__file__).parents[1] / "data"
BACKEND = PySCFBackend(LevelOfTheory.parse("PBE/aug-cc-pVDZ"), PySCFOptions())


def frame(name: str, index: int = 0) -> tuple[Structure, OrbitalDensity]:
    data = np.load(DATA / f"{name}.npz")
    structure = Structure(data["numbers"][index], data["positions_angstrom"][index] / PYSCF_BOHR)
    orbitals = data["mo_coeff_occupied"][index]
    basis = BACKEND.orbital_basis(structure.numbers)
    return structure, OrbitalDensity(structure, basis, orbitals, np.full(orbitals.shape[1], 2.0))


@cache
def atoms() -> dict[int, RadialDensity]:
    return {number: BACKEND.atomic_density(number) for number in (1, 6, 7, 8, 16)}


@cache
def prior() -> AtomicPrior:
    return AtomicPrior.fit(atoms())


def project(density: OrbitalDensity, basis_name: str) -> np.ndarray:
    basis = basis_by_name(basis_name, density.structure.numbers)
    return BACKEND.project(density.structure, density.orbitals, density.occupations, basis, "coulomb")


def fitted_difference(density: OrbitalDensity, basis_name: str) -> ExpandedDensity:
    basis = basis_by_name(basis_name, density.structure.numbers)
    dipole = density.dipole(80, 41)
    fit = fit_difference(density.structure, project(density, basis_name), basis, prior(), dipole=dipole)
    return ExpandedDensity(density.structure, basis, fit.coefficients, prior())


@pytest.mark.parametrize("number", [1, 6, 7, 8, 16])
def test_free_atoms_are_expanded_to_a_thousandth_per_cent(number: int) -> None:
    assert prior().radial_error(number, atoms()[number]) < 1e-5
    count = MolecularBasis(prior().basis, [number]).electron_counts() @ prior().coefficients([number])
    assert float(count) == pytest.approx(number, rel=1e-14)


def test_an_atom_that_the_first_expansion_cannot_follow_gets_a_longer_one() -> None:
    """Zinc in def2-SVP: its core and its valence shell are far apart."""
    zinc = PySCFBackend(LevelOfTheory.parse("PBE/def2-SVP"), PySCFOptions()).atomic_density(30)
    fitted = AtomicPrior.fit({30: zinc, 1: atoms()[1]})
    assert fitted.radial_error(30, zinc) < 1e-5
    assert fitted.basis.shells(1) == prior().basis.shells(1)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_coulomb_fits_of_the_total_density_are_those_of_the_reference_implementation(index: int) -> None:
    """Shared data water100: fits in aug-cc-pVQZ-JKFIT by the authors of the method (see tests/data/README.md)."""
    structure, density = frame("water5", index)
    functions = MolecularBasis(basis_by_name("aug-cc-pVQZ-JKFIT", structure.numbers), structure.numbers)
    metric = two_center("coulomb", functions, torch.tensor(structure.positions))
    projection = torch.tensor(project(density, "aug-cc-pVQZ-JKFIT"))
    fit = fit_density(metric, projection)
    expected = np.load(DATA / "water5.npz")["df_coeff_augccpvqzjkfit"][index]
    assert np.abs(fit.coefficients - expected).max() < 1e-7 * np.abs(expected).max()


def test_the_published_fit_of_q_stack() -> None:
    """Fixture of Q-stack's tests (MIT): water, PBE/cc-pVDZ in cc-pVDZ-JKFIT, Coulomb metric, unconstrained."""
    angstrom = np.array([[0.0, 0.0, 0.0], [0.986101, 0.0, 0.0], [-0.687570, 0.606955, 0.0]])
    structure = Structure(np.array([8, 1, 1]), angstrom / PYSCF_BOHR)
    backend = PySCFBackend(LevelOfTheory.parse("PBE/cc-pVDZ"), PySCFOptions(density_fitting=False))
    result = backend.compute(structure)
    basis = orbital_basis(structure.numbers, "cc-pvdz-jkfit")
    functions = MolecularBasis(basis, structure.numbers)
    projection = backend.project(structure, result.orbitals, result.occupations, basis, "coulomb")
    metric = two_center("coulomb", functions, torch.tensor(structure.positions))
    fit = fit_density(metric, torch.tensor(projection))
    assert fit.coefficients.shape == (116,)
    first = [0.33159784, 0.67519001, 2.25278893, 3.72932352, 2.70419391, -0.05227978]
    np.testing.assert_allclose(fit.coefficients[:6], first, atol=2e-6)
    assert functions.electron_counts().numpy() @ fit.coefficients == pytest.approx(10.000199558, abs=1e-6)


@cache
def ethanol_values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, weights and the density of the orbitals on them."""
    structure, density = frame("ethanol1")
    points, weights = quadrature(structure)
    return points, weights, density.evaluate(points)


@pytest.mark.parametrize(
    ("basis_name", "total_percent", "difference_percent"),
    [("def2-universal-jfit", 1.41, 1.41), ("def2-universal-jkfit", 1.09, 1.03), ("aug-cc-pVQZ-JKFIT", 0.62, 0.18)],
)
def test_fit_floors_of_ethanol(basis_name: str, total_percent: float, difference_percent: float) -> None:
    """The table of shared/FACTS.md, of one other frame of the same dynamics: within 5 % and its last digit."""
    structure, density = frame("ethanol1")
    points, weights, exact = ethanol_values()
    expanded = fitted_difference(density, basis_name)
    assert expanded.electron_count() == pytest.approx(26.0, abs=1e-12)
    error = nmae_percent(exact, expanded.evaluate(points), weights, 26.0)
    assert error == pytest.approx(difference_percent, rel=0.05, abs=0.01)

    functions = expanded.functions
    positions = torch.tensor(structure.positions)
    counts = functions.electron_counts()
    metric = two_center("coulomb", functions, positions)
    fit = fit_density(
        metric, torch.tensor(project(density, basis_name)), moment_constraints(functions, positions, 26.0)
    )
    total = torch.tensor(fit.coefficients)
    assert float(counts @ total) == pytest.approx(26.0, abs=1e-12)
    values = functions.density(positions, total, torch.tensor(points)).numpy()
    assert nmae_percent(exact, values, weights, 26.0) == pytest.approx(total_percent, rel=0.05)


def test_the_dipole_of_the_fit_is_that_of_the_orbitals() -> None:
    structure, density = frame("ethanol1")
    expected = np.load(DATA / "ethanol1.npz")["dipole_au"][0]
    np.testing.assert_allclose(density.dipole(40, 23), expected, atol=2e-4)
    basis = basis_by_name("densnet-m", structure.numbers)
    free, held = (
        fit_difference(structure, project(density, "densnet-m"), basis, prior(), dipole=dipole)
        for dipole in (None, expected)
    )
    dipoles = [ExpandedDensity(structure, basis, fit.coefficients, prior()).dipole() for fit in (free, held)]
    errors = np.linalg.norm(np.array(dipoles) - expected, axis=1) * AU_TO_DEBYE
    assert 0.005 < errors[0] < 0.02
    assert errors[1] < 1e-9
    # a fit with the charge exact is near, so what the free fit misses is nearly this
    assert held.missed["dipole"] * AU_TO_DEBYE == pytest.approx(errors[0], rel=0.2)


def test_the_default_quadrature_is_fine_enough() -> None:
    structure, density = frame("water5")
    expanded = fitted_difference(density, "def2-universal-jfit")
    points, weights = quadrature(structure)
    assert weights @ density.evaluate(points) == pytest.approx(10.0, abs=1e-6)
    coarse, fine = (density_errors(density, expanded, expanded, *size) for size in ((60, 29), (120, 59)))
    assert coarse.fit_floor == pytest.approx(fine.fit_floor, rel=1e-3)
    assert coarse.model_vs_fit == 0.0
    assert coarse.model_vs_reference == coarse.fit_floor


def test_the_orbitals_are_those_of_the_file_and_normalised() -> None:
    """The core's functions in PySCF's order: the orbitals of the file are orthonormal in the core's overlap."""
    structure, density = frame("ethanol1")
    functions = MolecularBasis(density.basis, structure.numbers)
    overlap = two_center("overlap", functions, torch.tensor(structure.positions)).numpy()
    np.testing.assert_allclose(density.orbitals.T @ overlap @ density.orbitals, np.eye(13), atol=1e-9)


@pytest.mark.parametrize(("name", "functions", "floor"), [("s", 215, 0.45), ("m", 335, 0.27), ("l", 498, 0.17)])
def test_optimised_bases_hold_a_frame_they_have_not_seen(name: str, functions: int, floor: float) -> None:
    """NMAE of the difference fit, per cent; def2-universal-jkfit with 335 functions reaches 1.03 (FACTS, PySCF)."""
    structure, reference = frame("ethanol1")
    behind = frames_behind(f"densnet-{name}")
    assert len(behind) > 100
    assert structure.content_hash().hex() not in behind
    basis = basis_by_name(f"densnet-{name}", structure.numbers)
    assert basis.n_functions(structure.numbers) == functions
    projection = BACKEND.project(structure, reference.orbitals, reference.occupations, basis, "coulomb")
    fit = fit_difference(structure, projection, basis, prior())
    points, weights = quadrature(structure)
    fitted = ExpandedDensity(structure, basis, fit.coefficients, prior())
    assert nmae_percent(reference.evaluate(points), fitted.evaluate(points), weights, structure.n_electrons) < floor
    assert fit.condition_number < 1e8
