"""The atom-centred quadrature on densities whose integrals are known."""

from __future__ import annotations

import numpy as np
import pytest

from densnet_core.density.quadrature import quadrature
from densnet_core.errors import InputError
from densnet_core.structures import Structure

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.2], [0.0, 1.43, -0.9], [0.0, -1.43, -0.9]]))
ATOM = Structure(np.array([8]), np.array([[0.4, -0.3, 1.0]]), multiplicity=3)


@pytest.mark.parametrize(("exponent", "tolerance"), [(0.1, 1e-9), (1.0, 1e-9), (30.0, 1e-9), (1e4, 1e-5)])
def test_gaussians_around_one_atom(exponent: float, tolerance: float) -> None:
    points, weights = quadrature(ATOM)
    squares = ((points - ATOM.positions) ** 2).sum(1)
    values = (exponent / np.pi) ** 1.5 * np.exp(-exponent * squares)
    assert weights @ values == pytest.approx(1.0, abs=tolerance)
    assert weights @ (values * squares) == pytest.approx(1.5 / exponent, rel=10 * tolerance)


def test_all_harmonics_up_to_the_degree_are_integrated_exactly() -> None:
    """The mean of a power of one coordinate over the sphere is 1 / (n + 1)."""
    points, weights = quadrature(ATOM, degree=29)
    local = points - ATOM.positions
    radii = np.linalg.norm(local, axis=1)
    values = np.exp(-radii)
    for power in (2, 8, 28):
        mean = weights @ (values * (local[:, 0] / radii) ** power) / (weights @ values)
        assert mean == pytest.approx(1.0 / (power + 1), rel=1e-12)
    assert weights @ values == pytest.approx(8 * np.pi, rel=1e-6)


def test_slater_functions_on_every_atom_of_a_molecule() -> None:
    """Cusps, shells of different width and a tail: integral exp(-z r) = 8 pi / z^3, and its dipole is its centre."""
    points, weights = quadrature(WATER)
    exponents = np.array([13.0, 2.0, 1.2])
    distances = np.linalg.norm(points[:, None, :] - WATER.positions, axis=2)
    values = exponents**3 / (8 * np.pi) * np.exp(-exponents * distances)
    np.testing.assert_allclose(weights @ values, 1.0, atol=1e-5)
    np.testing.assert_allclose((weights[:, None] * values).T @ points, WATER.positions, atol=2e-5)


def test_a_finer_quadrature_is_better() -> None:
    errors = []
    for n_radial, degree in ((20, 11), (40, 23), (80, 41)):
        points, weights = quadrature(WATER, n_radial, degree)
        values = np.exp(-2.0 * np.linalg.norm(points - WATER.positions[1], axis=1)) / np.pi
        errors.append(abs(float(weights @ values) - 1.0))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_it_follows_the_molecule() -> None:
    """The cells depend on distances only: the same integrals after a shift, whatever the order of the atoms."""
    order = [2, 0, 1]
    moved = Structure(WATER.numbers[order], WATER.positions[order] + 5.0)

    def integral(structure: Structure, shift: float) -> float:
        points, weights = quadrature(structure, 30, 17)
        squares = ((points - shift - np.array([0.3, 0.1, -0.2])) ** 2).sum(1)
        return float(weights @ np.exp(-1.3 * squares))

    assert integral(moved, 5.0) == pytest.approx(integral(WATER, 0.0), rel=1e-12)


def test_a_degree_without_lebedev_rule_is_refused_with_some_that_exist() -> None:
    with pytest.raises(InputError, match="no Lebedev rule of degree 30; use for example 17, 29"):
        quadrature(WATER, degree=30)
