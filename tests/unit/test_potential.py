"""Potential, field and gradients of the functions: against quadrature in higher precision, and derivatives."""

from __future__ import annotations

from math import pi

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.gradients import function_gradients, harmonic_gradients
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.potential import fields, nuclear_attractions, potentials

BASIS = GaussianBasis(
    "mixed",
    {
        1: [Shell(0, (4.0, 0.6), (0.3, 0.5)), Shell(1, (0.9,), (1.0,)), Shell(3, (1.4, 0.5), (0.4, 0.8))],
        8: [Shell(2, (2.0, 0.7), (0.6, 0.5)), Shell(0, (9.0,), (1.0,)), Shell(4, (0.8,), (1.0,))],
    },
)
NUMBERS = [8, 1, 1]
POSITIONS = torch.tensor([[0.3, -0.2, 0.5], [1.5, 0.9, -0.7], [-1.3, 0.8, 0.1]], dtype=torch.float64)
FUNCTIONS = MolecularBasis(BASIS, NUMBERS)
POINTS = torch.cat([
    torch.tensor(np.random.default_rng(3).normal(size=(4, 3)) * 2),
    POSITIONS[:1] + 1e-4,
    torch.tensor([[20.0, -7.0, 11.0]], dtype=torch.float64),
])  # fmt: skip


def _radial_potential(degree: int, exponent: float, distance: mpf) -> float:
    """4 pi / (2l+1) times the two integrals of Laplace's expansion of 1/|r - C|, for r^l exp(-a r^2) S_lm / r^l.

    Divided by distance^l, so that it multiplies the solid harmonic of the point.
    """
    a, d = mpf(exponent), distance

    def lower(power: int) -> mpf:
        """Integral of r^power exp(-a r^2) from 0 to d."""
        half = mpf(power + 1) / 2
        return mpmath.gammainc(half, 0, a * d**2) / (2 * a**half)

    inside = lower(2 * degree + 2) / d ** (2 * degree + 1)
    outside = mpmath.exp(-a * d**2) / (2 * a)
    return float(4 * mpmath.pi / (2 * degree + 1) * (inside + outside))


@pytest.mark.parametrize("degree", range(6))
@pytest.mark.parametrize("exponent", [0.01, 0.8, 300.0, 1e6])
def test_potentials_to_twelve_digits_near_and_far(degree: int, exponent: float) -> None:
    """Every component of every function relative to its own value, which PySCF's own integrals are not good for."""
    functions = MolecularBasis(GaussianBasis("one", {1: [Shell(degree, (exponent,), (1.0,))]}), [1])
    norm = float(functions.groups[0].coefficients[0, 0])
    direction = np.array([0.36, -0.48, 0.8])
    distances = np.array([1e-6, 1e-3, 0.05, 0.7, 3.0, 12.0, 90.0])
    points = torch.tensor(direction * distances[:, None])
    found = potentials(functions, torch.zeros((1, 3), dtype=torch.float64), points).numpy()
    angular = solid_harmonics(points, degree)[degree].numpy()
    with mpmath.workdps(60):
        radial = np.array([_radial_potential(degree, exponent, mpf(d)) for d in distances])
    np.testing.assert_allclose(found, norm * radial[:, None] * angular, rtol=1e-12, atol=0)


def test_the_potential_at_the_centre_of_a_function() -> None:
    """Only s functions have one, (2 pi / a) of the unnormalised function."""
    found = potentials(FUNCTIONS, POSITIONS, POSITIONS[:1]).numpy()[0]
    own = FUNCTIONS.function_atoms.numpy() == 0
    s_function = FUNCTIONS.groups[0].functions[0, 0]
    expected = 2 * pi / 9.0 * float(FUNCTIONS.groups[0].coefficients[0, 0]) / np.sqrt(4 * pi)
    assert FUNCTIONS.groups[0].atoms[0] == 0
    assert found[s_function] == pytest.approx(expected, rel=1e-14)
    assert np.count_nonzero(found[own]) == 1


@pytest.mark.parametrize("degree", range(1, 7))
def test_gradients_of_solid_harmonics(degree: int) -> None:
    """Against derivatives of the recursion that makes them."""
    points = torch.tensor(np.random.default_rng(degree).normal(size=(5, 3)))
    gradient = harmonic_gradients(solid_harmonics(points, degree))[degree]
    jacobian = torch.func.vmap(torch.func.jacrev(lambda r: solid_harmonics(r, degree)[degree]))(points)
    torch.testing.assert_close(gradient.transpose(-1, -2), jacobian, rtol=1e-12, atol=1e-12)


def test_gradients_of_the_functions_are_the_slopes_of_their_values() -> None:
    found = function_gradients(FUNCTIONS, POSITIONS, POINTS).numpy()
    step = 1e-5
    for axis in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[axis] = step
        up, down = (FUNCTIONS.evaluate(POSITIONS, POINTS + sign * shift).numpy() for sign in (1, -1))
        np.testing.assert_allclose(found[:, axis], (up - down) / (2 * step), atol=2e-8)


def test_fields_are_minus_the_slopes_of_the_potentials() -> None:
    found = fields(FUNCTIONS, POSITIONS, POINTS).numpy()
    step = 1e-5
    for axis in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[axis] = step
        up, down = (potentials(FUNCTIONS, POSITIONS, POINTS + sign * shift).numpy() for sign in (1, -1))
        np.testing.assert_allclose(found[:, axis], (down - up) / (2 * step), atol=2e-8)


@pytest.mark.parametrize("function", [potentials, fields, function_gradients])
def test_derivatives_with_respect_to_positions_points_and_exponents(function) -> None:
    """One point lies on an atom: nothing there may be undefined."""
    points = torch.cat([POINTS[:2], POSITIONS[:1]]).requires_grad_()
    factors = torch.tensor([1.1, 0.8, 1.3], dtype=torch.float64, requires_grad=True)
    positions = POSITIONS.clone().requires_grad_()

    def values(positions: torch.Tensor, points: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        return function(FUNCTIONS.scaled(factors), positions, points)

    assert torch.autograd.gradcheck(values, (positions, points, factors), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("function", [potentials, fields, function_gradients])
def test_batches_of_geometries_and_of_exponents(function) -> None:
    batch = torch.stack([POSITIONS, POSITIONS.flip(0)])
    places = torch.stack([POINTS, POINTS + 0.3])
    factors = torch.tensor([[1.1, 0.8, 1.3], [0.9, 1.0, 1.2]], dtype=torch.float64)
    together = function(FUNCTIONS.scaled(factors[..., None]), batch, places)
    for i in range(2):
        alone = function(FUNCTIONS.scaled(factors[i]), batch[i], places[i])
        torch.testing.assert_close(together[i], alone, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("function", [potentials, fields, function_gradients])
def test_single_precision(function) -> None:
    single = function(MolecularBasis(BASIS, NUMBERS, torch.float32), POSITIONS.float(), POINTS.float())
    assert single.dtype is torch.float32
    torch.testing.assert_close(single.double(), function(FUNCTIONS, POSITIONS, POINTS), rtol=1e-4, atol=2e-5)


def test_nuclear_attraction_is_minus_the_potential_at_the_nuclei() -> None:
    charges = torch.tensor([8.0, 1.0, 1.0], dtype=torch.float64)
    found = nuclear_attractions(FUNCTIONS, POSITIONS, POSITIONS, charges)
    at_nuclei = [potentials(FUNCTIONS, POSITIONS, nucleus[None])[0] for nucleus in POSITIONS]
    torch.testing.assert_close(found, -(8.0 * at_nuclei[0] + at_nuclei[1] + at_nuclei[2]), rtol=1e-13, atol=1e-13)
