"""Atom-centred quadrature: Becke's partition of space with Lebedev spheres and Gauss-Chebyshev radii."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import lebedev_rule

from densnet_core.density.frame import principal_axes
from densnet_core.errors import InputError
from densnet_core.structures import Structure

Array = NDArray[np.float64]


@lru_cache(maxsize=8)
def lebedev(degree: int) -> tuple[Array, Array]:
    """Directions (n, 3) and weights (n,), which add up to 4 pi, of the rule that is exact for polynomials of a degree.

    Raises
    ------
    InputError
        There is no rule of this degree.
    """
    try:
        directions, weights = lebedev_rule(degree)
    except NotImplementedError as error:
        raise InputError(f"There is no Lebedev rule of degree {degree}; use for example 17, 29, 41 or 53.") from error
    return directions.T.copy(), weights


def sphere(structure: Structure, degree: int) -> tuple[Array, Array]:
    """Directions (n, 3) that turn with the molecule and weights (n,) that add up to 4 pi.

    Lebedev's rules have the symmetry of the octahedron, to which the signs of the principal axes do not matter.
    """
    directions, weights = lebedev(degree)
    return directions @ principal_axes(structure)[1], weights


def _radii(count: int) -> tuple[Array, Array]:
    """Gauss-Chebyshev points of the second kind mapped to (0, infinity) by Treutler's M4 map with xi = 1.

    Treutler and Ahlrichs, J. Chem. Phys. 102, 346 (1995), eq. 19. The weights include r^2; those of the sphere add up
    to 4 pi.
    """
    i = np.arange(1, count + 1)
    angle = i * pi / (count + 1)
    x = np.cos(angle)
    weight = pi / (count + 1) * np.sin(angle)  # of integral f(x) dx
    log = np.log(2.0 / (1.0 - x))
    radii = (1.0 + x) ** 0.6 / np.log(2.0) * log
    slope = radii * (0.6 / (1.0 + x) + 1.0 / ((1.0 - x) * log))
    return radii, weight * slope * radii**2


def becke_share(points: Array, positions: Array, owner: int) -> Array:
    """Share of atom ``owner`` in the points, adding up to one over the atoms, (n_points,).

    Becke, J. Chem. Phys. 88, 2547 (1988), three iterations, equal radii.
    """
    n_atoms = len(positions)
    if n_atoms == 1:
        return np.ones(len(points))
    distances = np.stack([np.linalg.norm(points - position, axis=-1) for position in positions])
    cells = np.ones((n_atoms, len(points)))
    for a in range(n_atoms):
        for b in range(a):
            mu = (distances[a] - distances[b]) / np.linalg.norm(positions[a] - positions[b])
            for _ in range(3):
                mu = mu * (1.5 - 0.5 * mu * mu)
            half = 0.5 * mu  # odd in the exchange of the two atoms
            cells[a] *= 0.5 - half
            cells[b] *= 0.5 + half
    return np.asarray(cells[owner] / cells.sum(axis=0))


def quadrature(structure: Structure, n_radial: int = 60, degree: int = 29) -> tuple[Array, Array]:
    """Points (n, 3) in bohr and weights (n,) for integrals over all space.

    Parameters
    ----------
    n_radial : int
        Radial shells per atom.
    degree : int
        Degree of the Lebedev rule: 29 has 302 points on a sphere.

    Notes
    -----
    The spheres are oriented along the molecule's principal axes, so an integral does not change when the molecule is
    turned. Measured at PBE/aug-cc-pVDZ: the default integrates the density of water to 3e-7 electrons and that of
    ethanol to 9e-6; doubling both numbers changes the NMAE of a fit of water by 0.05 % of itself
    (tests/integration/test_density_pyscf.py).

    Raises
    ------
    InputError
        If there is no Lebedev rule of that degree.
    """
    radii, radial_weights = _radii(n_radial)
    directions, angular_weights = sphere(structure, degree)
    local = (radii[:, None, None] * directions[None]).reshape(-1, 3)
    weights = np.outer(radial_weights, angular_weights).reshape(-1)
    points, shares = [], []
    for atom in range(structure.n_atoms):
        here = local + structure.positions[atom]
        share = weights * becke_share(here, structure.positions, atom)
        keep = share > 1e-16
        points.append(here[keep])
        shares.append(share[keep])
    return np.concatenate(points), np.concatenate(shares)
