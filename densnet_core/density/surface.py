"""The electrostatic potential on the surface of a molecule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.density.electron import Density, ExpandedDensity
from densnet_core.density.quadrature import becke_share, sphere
from densnet_core.errors import InputError

Array = NDArray[np.float64]
ISODENSITY: Final = 0.001
"""Electrons per bohr^3; Bader, Carroll, Cheeseman and Chang, J. Am. Chem. Soc. 109, 7968 (1987)."""
STEP: Final = 0.3
"""Bohr between the points of a ray on which the surface is looked for."""
FARTHEST: Final = 15.0
"""Bohr from an atom."""
SMALLEST_SHARE: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Surface:
    """Points on a surface of constant density.

    Parameters
    ----------
    points : (n_points, 3)
        Bohr.
    areas : (n_points,)
        Area that each point stands for, bohr^2.
    normals : (n_points, 3)
        Unit vectors out of the molecule.
    """

    points: Array
    areas: Array
    normals: Array

    @property
    def area(self) -> float:
        """Bohr^2."""
        return float(self.areas.sum())


@dataclass(frozen=True, eq=False)
class SurfacePotential:
    """The electrostatic potential on a surface.

    Parameters
    ----------
    surface : Surface
    values : (n_points,)
        Hartree/e.
    """

    surface: Surface
    values: Array

    @property
    def minimum(self) -> float:
        """Lowest value on the points, hartree/e: where an electrophile goes."""
        return float(self.values.min())

    @property
    def maximum(self) -> float:
        """Highest value on the points, hartree/e: where a nucleophile goes."""
        return float(self.values.max())

    @property
    def mean(self) -> float:
        """Mean over the area, hartree/e."""
        return float(self.surface.areas @ self.values / self.surface.area)


def surface_potential(density: ExpandedDensity, isodensity: float = ISODENSITY, degree: int = 29) -> SurfacePotential:
    """Electrostatic potential on the molecule's surface; see ``isodensity_surface`` for the parameters."""
    surface = isodensity_surface(density, isodensity, degree)
    return SurfacePotential(surface, density.electrostatic_potential(surface.points))


def isodensity_surface(density: Density, isodensity: float = ISODENSITY, degree: int = 29) -> Surface:
    """Where a density takes a value, as points with areas.

    Parameters
    ----------
    density : Density
    isodensity : float
        Electrons per bohr^3.
    degree : int
        Of Lebedev's rule for the rays from every nucleus: 29 has 302 rays.

    Raises
    ------
    InputError
        The isodensity is not positive, or the density does not fall through it near the nuclei.

    Notes
    -----
    The points are where rays from the nuclei meet the surface. The rays turn with the molecule and nothing is random.
    An integral over the surface is a sum of integrals over the rays of each atom, weighted by its share in Becke's
    partition of space: on a ray of solid angle w through a point at distance r, where the normal makes the angle t
    with it, the area is share w r^2 / |cos t|.
    """
    if not isodensity > 0.0:
        raise InputError(f"An isodensity is a positive number of electrons per bohr^3, not {isodensity}.")
    structure = density.structure
    directions, solid_angles = sphere(structure, degree)
    points, areas, normals = [], [], []
    for atom, nucleus in enumerate(structure.positions):
        rays, inner, outer = _brackets(density, isodensity, atom, directions)
        radii = _crossings(density, isodensity, nucleus, directions[rays], inner, outer)
        here = nucleus + radii[:, None] * directions[rays]
        gradients = density.gradient(here)
        outwards = -gradients / np.linalg.norm(gradients, axis=1)[:, None]
        cosines = np.abs((outwards * directions[rays]).sum(axis=1))
        points.append(here)
        normals.append(outwards)
        areas.append(becke_share(here, structure.positions, atom) * solid_angles[rays] * radii**2 / cosines)
    if not sum(map(len, points)):
        raise InputError(
            f"The density is nowhere {isodensity:g} electrons per bohr^3 within {FARTHEST:g} bohr of a nucleus; "
            "choose another isodensity."
        )
    return Surface(np.concatenate(points), np.concatenate(areas), np.concatenate(normals))


def _brackets(
    density: Density, isodensity: float, atom: int, directions: Array
) -> tuple[NDArray[np.int64], Array, Array]:
    """Rays (n,) from an atom that cross the surface in its own part of space, and radii (n,) before and behind."""
    positions = density.structure.positions
    radii = np.arange(0.5 * STEP, FARTHEST, STEP)
    points = positions[atom] + directions[:, None, :] * radii[:, None]
    flat = points.reshape(-1, 3)
    own = becke_share(flat, positions, atom) > SMALLEST_SHARE
    inside = np.zeros(len(flat), dtype=bool)
    inside[own] = density.evaluate(flat[own]) > isodensity
    own, inside = own.reshape(points.shape[:2]), inside.reshape(points.shape[:2])
    crossed = (inside[:, 1:] != inside[:, :-1]) & own[:, 1:] & own[:, :-1]
    rays, steps = np.nonzero(crossed)
    return rays, radii[steps], radii[steps + 1]


def _crossings(
    density: Density, isodensity: float, nucleus: Array, directions: Array, low: Array, high: Array
) -> Array:
    """Radii (n,) where the density is ``isodensity``, bracketed by low and high, to rounding.

    Regula falsi on the logarithm of the density, which falls almost linearly; an end that stays twice has its value
    halved (the Illinois variant; Dowell and Jarratt, BIT 11, 168, 1971).
    """

    def excess(radii: Array) -> Array:
        values = density.evaluate(nucleus + radii[:, None] * directions)
        return np.log(np.maximum(values, 1e-3 * isodensity) / isodensity)

    if not len(low):
        return low
    at_low, at_high = excess(low), excess(high)
    middle, stayed = 0.5 * (low + high), np.zeros(len(low))  # the end that stayed last: -1 low, +1 high
    for _ in range(50):
        previous = middle
        slope = at_high - at_low
        middle = np.where(slope == 0.0, middle, (low * at_high - high * at_low) / np.where(slope == 0.0, 1.0, slope))
        if np.abs(middle - previous).max() < 1e-13:
            break
        value = excess(middle)
        to_low = np.sign(value) == np.sign(at_low)
        at_high = np.where(to_low & (stayed > 0), 0.5 * at_high, at_high)
        at_low = np.where(~to_low & (stayed < 0), 0.5 * at_low, at_low)
        low, at_low = np.where(to_low, middle, low), np.where(to_low, value, at_low)
        high, at_high = np.where(to_low, high, middle), np.where(to_low, at_high, value)
        stayed = np.where(to_low, 1.0, -1.0)
    return middle
