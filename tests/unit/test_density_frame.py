"""The frame that turns with the molecule."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from densnet_core.density.frame import principal_axes
from densnet_core.density.quadrature import quadrature
from densnet_core.structures import Structure

Array = NDArray[np.float64]
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
SHAPES = {
    "bent": np.array([[0.0, 0, 0.2], [0, 1.4, -0.9], [0, -1.4, -0.9]]),
    "no symmetry": np.array([[0.0, 0, 0], [1.2, 0.3, -0.5], [-0.3, 2.0, 0.7], [0.6, -0.2, 1.9]]),
    "tetrahedron": np.vstack([np.zeros(3), 2.06 * TETRAHEDRON]),
    "almost a tetrahedron": np.vstack([np.zeros(3), 2.06 * TETRAHEDRON]) + 1e-6 * np.arange(15).reshape(5, 3) ** 2,
    "octahedron": np.vstack([np.eye(3), -np.eye(3)]) * 2.5,
    "square": np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * 2,
}


def structure_of(positions: Array) -> Structure:
    n = len(positions)
    return Structure(np.full(n, 2), positions)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_axes_turn_with_the_molecule(name: str, seed: int) -> None:
    rotation = Rotation.random(rng=seed).as_matrix()
    centre, axes = principal_axes(structure_of(SHAPES[name]))
    turned_centre, turned = principal_axes(structure_of(SHAPES[name] @ rotation.T + seed))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-13)
    np.testing.assert_allclose(turned_centre, rotation @ centre + seed, atol=1e-12)
    # up to a sign for each axis
    np.testing.assert_allclose(np.abs((turned * (axes @ rotation.T)).sum(axis=1)), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.abs(turned @ rotation @ axes.T), np.eye(3), atol=1e-9)


def test_the_first_two_axes_span_the_plane_of_a_planar_molecule() -> None:
    _, axes = principal_axes(structure_of(SHAPES["bent"]))
    np.testing.assert_allclose(np.abs(axes), [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-12)


def test_one_atom_has_the_axes_of_the_coordinates() -> None:
    centre, axes = principal_axes(structure_of(np.array([[1.0, 2.0, 3.0]])))
    np.testing.assert_array_equal(centre, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(axes, np.eye(3))


def test_a_linear_molecule_has_an_axis_and_any_two_across() -> None:
    direction = np.array([0.6, 0.0, 0.8])
    _, axes = principal_axes(structure_of(np.outer([-1.1, 0.0, 1.2], direction)))
    np.testing.assert_allclose(np.abs(axes[0]), direction, atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-13)


@pytest.mark.parametrize("name", SHAPES)
def test_integrals_of_the_quadrature_do_not_change_when_the_molecule_is_turned(name: str) -> None:
    """A coarse one, wrong by 1e-3 or more, is wrong by the same in every orientation."""
    positions = SHAPES[name]
    centre, direction = np.array([0.2, -0.1, 0.4]), np.array([0.48, 0.6, -0.64])

    def integral(rotation: Array) -> float:
        points, weights = quadrature(structure_of(positions @ rotation.T), 12, 7)
        offsets = points - rotation @ centre
        return float(weights @ (np.exp(-0.8 * (offsets**2).sum(1)) * (1 + offsets @ rotation @ direction) ** 2))

    # integral exp(-a r^2) (1 + (r.d)^2) with |d| = 1
    exact = (np.pi / 0.8) ** 1.5 * (1 + 1 / 1.6)
    expected = integral(np.eye(3))
    assert abs(expected - exact) > 1e-3 * exact
    for seed in range(3):
        assert integral(Rotation.random(rng=seed).as_matrix()) == pytest.approx(expected, rel=1e-10)
