"""Densities as objects: their analytic moments against quadrature, and the errors between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.library import EvenTempered, basis_by_name, even_tempered
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import ExpandedDensity, OrbitalDensity, density_errors, nmae_percent
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.structures import Structure

WATER = Structure(np.array([8, 1, 1]), np.array([[0.3, 0.0, 0.2], [0.3, 1.43, -0.9], [0.3, -1.43, -0.9]]))
PRIOR = AtomicPrior(GaussianBasis("prior", {1: [Shell(0, (1.5,), (1.0,))], 8: [Shell(0, (9.0, 0.7), (1.0, 2.0))]}))
BASIS = even_tempered(
    {z: {"s": EvenTempered(0.3, 3, 2), "p": EvenTempered(0.5, 2, 1), "d": EvenTempered(0.6, 2, 1)} for z in (1, 8)}
)
RANDOM = np.random.default_rng(0)
COEFFICIENTS = RANDOM.normal(scale=0.1, size=BASIS.n_functions(WATER.numbers))
DENSITY = ExpandedDensity(WATER, BASIS, COEFFICIENTS, PRIOR)


def test_moments_are_those_of_the_values() -> None:
    points, weights = quadrature(WATER)
    values = DENSITY.evaluate(points)
    assert DENSITY.electron_count() == pytest.approx(weights @ values, abs=1e-6)
    nuclei = WATER.numbers @ WATER.positions
    np.testing.assert_allclose(DENSITY.dipole(), nuclei - (weights * values) @ points, atol=1e-5)


@pytest.mark.parametrize("name", ["densnet-s", "even-tempered"])
def test_a_density_is_the_sum_of_its_functions(name: str) -> None:
    """Contracted and not, with the exponents of the basis and with others, for one density and for two."""
    basis = BASIS if name == "even-tempered" else basis_by_name(name)
    functions, positions = MolecularBasis(basis, WATER.numbers), torch.tensor(WATER.positions)
    points = torch.tensor(RANDOM.normal(scale=2.0, size=(50, 3)))
    two = torch.tensor(RANDOM.normal(size=(functions.n_functions, 2)))
    factors = torch.tensor(RANDOM.uniform(0.7, 1.4, size=(3, functions.groups[-1].l + 1)))
    for made in (functions, functions.scaled(factors)):
        values = made.evaluate(positions, points) @ two
        torch.testing.assert_close(made.density(positions, two, points), values, rtol=0, atol=1e-12)
        torch.testing.assert_close(made.density(positions, two[:, 1], points, 7), values[:, 1], rtol=0, atol=1e-12)
    assert functions.density(positions, two, points[:0]).shape == (0, 2)


def test_atoms_alone_have_the_electrons_and_no_dipole() -> None:
    atoms = ExpandedDensity(WATER, BASIS, np.zeros_like(COEFFICIENTS), PRIOR)
    assert atoms.electron_count() == pytest.approx(10.0, abs=1e-13)
    np.testing.assert_array_equal(atoms.dipole(), np.zeros(3))


def test_the_dipole_of_an_ion_is_about_the_origin() -> None:
    """Moved by d, charge times d is added."""
    s_count = MolecularBasis(BASIS, WATER.numbers).electron_counts().numpy()
    charge = -float(s_count @ COEFFICIENTS)
    moved = ExpandedDensity(
        WATER.with_positions(WATER.positions + np.array([0.0, 0.0, 3.0])), BASIS, COEFFICIENTS, PRIOR
    )
    np.testing.assert_allclose(moved.dipole() - DENSITY.dipole(), [0.0, 0.0, 3.0 * charge], atol=1e-12)


def test_orbitals_are_squared_and_occupied() -> None:
    orbitals = RANDOM.normal(size=(len(COEFFICIENTS), 2))
    points = RANDOM.normal(size=(20, 3))
    density = OrbitalDensity(WATER, BASIS, orbitals, np.array([2.0, 1.0]))
    functions = (
        ExpandedDensity(WATER, BASIS, orbitals[:, 0], PRIOR),
        ExpandedDensity(WATER, BASIS, orbitals[:, 1], PRIOR),
    )
    first, second = (f.difference(points) for f in functions)
    np.testing.assert_allclose(density.evaluate(points), 2 * first**2 + second**2, rtol=1e-12)


def test_nmae_is_the_integral_of_the_difference_in_per_cent_of_the_electrons() -> None:
    """All of a density of ten electrons missing is 100 %; a shift of charge counts where it came from and went to."""
    weights = np.array([2.0, 3.0])
    assert nmae_percent(np.array([2.0, 2.0]), np.zeros(2), weights, 10.0) == pytest.approx(100.0)
    assert nmae_percent(np.array([0.3, 0.0]), np.array([0.0, 0.2]), weights, 10.0) == pytest.approx(12.0)


def test_the_three_errors_are_kept_apart() -> None:
    """Reference, fit and model that differ by known densities of one function each."""
    contraction = Shell(0, (0.8,), (1.0,))
    basis = GaussianBasis("one", {1: [contraction]})
    hydrogen = Structure(np.array([1]), np.zeros((1, 3)), multiplicity=2)
    prior = AtomicPrior(GaussianBasis("p", {1: [Shell(0, (1.6,), (1.0,))]}))
    # The square of a normalised s function of exponent a is one electron of exponent 2a: exactly the prior.
    reference = OrbitalDensity(hydrogen, basis, np.ones((1, 1)), np.ones(1))
    count = float(MolecularBasis(basis, [1]).electron_counts()[0])
    fit = ExpandedDensity(hydrogen, basis, np.array([0.02 / count]), prior)
    model = ExpandedDensity(hydrogen, basis, np.array([0.05 / count]), prior)
    errors = density_errors(reference, fit, model)
    assert errors.fit_floor == pytest.approx(2.0, rel=1e-6)
    assert errors.model_vs_fit == pytest.approx(3.0, rel=1e-6)
    assert errors.model_vs_reference == pytest.approx(5.0, rel=1e-6)
