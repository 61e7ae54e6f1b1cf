"""Weights of an integration grid of atom-centred points, and how a sum over the grid changes with them.

Becke, J. Chem. Phys. 88, 2547 (1988); the derivatives: Johnson, Gill and Pople, J. Chem. Phys. 98, 5612 (1993), with
the terms of points that move with their own atom. PySCF makes the derivative of every weight by every nucleus, for all
pairs of nuclei: time that grows with the third power of the molecule. The gradient needs their sum over the points
alone, and at a point only the few nuclei near it have a share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf.dft import gen_grid
from pyscf.dft.gen_grid import BLKSIZE

Array = NDArray[np.float64]

BLOCK: Final = 20 * BLKSIZE
NEGLIGIBLE: Final = 1e-13
"""A cell function so small belongs to a nucleus without a share."""
NEIGHBOURS: Final = 8
"""Whose factors bound a cell function."""


@dataclass(frozen=True)
class AtomicPoints:
    """The points that move with one nucleus.

    Parameters
    ----------
    atom : int
    positions : array, shape (n, 3)
        Bohr.
    volumes : array, shape (n,)
        Weights of the radial and angular quadrature, bohr^3.
    """

    atom: int
    positions: Array
    volumes: Array


def points_of(grids: Any) -> Iterator[AtomicPoints]:
    """The points of every nucleus of PySCF's ``Grids``, none left out."""
    molecule = grids.mol
    of_element = grids.gen_atomic_grids(molecule, grids.atom_grid, grids.radi_method, grids.level, grids.prune)
    for atom, centre in enumerate(molecule.atom_coords()):
        positions, volumes = of_element[molecule.atom_symbol(atom)]
        yield AtomicPoints(atom, positions + centre, volumes)


class Cells:
    """Becke's fuzzy cells of a molecule.

    Parameters
    ----------
    grids : pyscf.dft.gen_grid.Grids
        With Becke's cell functions, whatever the adjustment to atomic radii.
    """

    def __init__(self, grids: Any) -> None:
        if grids.becke_scheme is not gen_grid.original_becke:
            raise NotImplementedError("The response of integration grids is that of Becke's cell functions.")
        self._centres = grids.mol.atom_coords()
        n_atoms = len(self._centres)
        self._between = self._centres[:, None] - self._centres
        distances = np.linalg.norm(self._between, axis=-1)
        self._inverse = np.divide(1.0, distances, out=np.zeros_like(distances), where=distances > 0.0)
        self._neighbours = distances.argsort(axis=1)[:, : NEIGHBOURS + 1]
        self._shift = np.zeros((n_atoms, n_atoms))
        if callable(grids.radii_adjust) and grids.atomic_radii is not None:
            adjusted = grids.radii_adjust(grids.mol, grids.atomic_radii)
            self._shift = np.array([[adjusted(i, j, 0.0) for j in range(n_atoms)] for i in range(n_atoms)])

    def blocks(self, points: AtomicPoints) -> Iterator[Block]:
        """The points with a weight, in parts."""
        for start in range(0, len(points.volumes), BLOCK):
            some = slice(start, start + BLOCK)
            block = self._block(points.atom, points.positions[some], points.volumes[some])
            if len(block.weights):
                yield block

    def _block(self, own: int, positions: Array, volumes: Array) -> Block:
        apart = positions - self._centres[:, None]
        distances = np.linalg.norm(apart, axis=-1)
        # The factors of a cell function are at most 1, so a few bound it.
        bounds = np.ones_like(distances)
        for atom in self._neighbours[own]:
            ratios = self._inverse[:, atom, None] * (distances - distances[atom])
            factors, _ = _switched(ratios, self._shift[:, atom, None])
            factors[atom] = 1.0
            bounds *= factors
        kept = bounds[own] > NEGLIGIBLE
        distances, apart, bounds = distances[:, kept], apart[:, kept], bounds[:, kept]
        near = np.flatnonzero((bounds > NEGLIGIBLE).any(axis=1))
        members = np.concatenate([[own], near[near != own]])
        functions, slopes = np.empty((len(members), distances.shape[1])), []
        for row, atom in enumerate(members):
            ratios = self._inverse[atom][:, None] * (distances[atom] - distances)
            values, derivatives = _switched(ratios, self._shift[atom][:, None])
            values[atom], derivatives[atom] = 1.0, 0.0
            functions[row] = values.prod(axis=0)
            # Of the logarithm, divided by the distance of the nuclei; a factor that vanishes has no share to change.
            relative = np.divide(derivatives, values, out=np.zeros_like(values), where=values > 0.0)
            slopes.append((relative * self._inverse[atom][:, None], ratios * self._inverse[atom][:, None]))
        shares = functions / functions.sum(axis=0)
        directions = apart / np.maximum(distances, 1e-200)[..., None]
        weights = shares[0] * volumes[kept]
        return Block(positions[kept], weights, members, shares, slopes, directions, self._between)


@dataclass(frozen=True)
class Block:
    """Points of one nucleus, their weights, and the cells there.

    Parameters
    ----------
    positions, weights : arrays, shape (n, 3) and (n,)
        Bohr, bohr^3.
    members : array of int
        Nuclei with a share, that of the points first.
    shares : array, shape (n_members, n)
    slopes : list of pairs of arrays, shape (n_atoms, n)
        Of each member: d ln(factor) / d(mu) / R and mu / R with every other nucleus.
    directions : array, shape (n_atoms, n, 3)
        Unit vectors from the nuclei to the points.
    between : array, shape (n_atoms, n_atoms, 3)
        R_i - R_j, bohr.
    """

    positions: Array
    weights: Array
    members: NDArray[np.int64]
    shares: Array
    slopes: list[tuple[Array, Array]]
    directions: Array
    between: Array

    def gradient(self, values: Array) -> Array:
        """(n_atoms, 3) derivative of sum_p weight_p values_p by the nuclei: values fixed, points moving with their own.

        With mu_ij = (d_i - d_j) / R_ij, d_i the distance of point and nucleus i: d ln P_i = sum_j slope_ij d mu_ij.
        """
        by_distance, result = np.zeros(self.directions.shape[:2]), np.zeros((len(self.directions), 3))
        sums = self.weights * values
        for row, atom in enumerate(self.members):
            slopes, ratios = self.slopes[row]
            terms = sums * ((row == 0) - self.shares[row]) * slopes
            by_distance -= terms
            by_distance[atom] += terms.sum(axis=0)
            # R_ij itself
            along = np.einsum("jp,jp->j", terms, ratios)[:, None] * self.between[atom]
            result[atom] -= along.sum(axis=0)
            result += along
        pulled = np.einsum("kp,kpx->kx", by_distance, self.directions)
        result -= pulled
        result[self.members[0]] += pulled.sum(axis=0)
        return result


def _switched(ratios: Array, shift: Array) -> tuple[Array, Array]:
    """Becke's s(nu(mu)) and its derivative by mu."""
    nu = ratios + shift * (1.0 - ratios * ratios)
    first = 0.5 * nu * (3.0 - nu * nu)
    second = 0.5 * first * (3.0 - first * first)
    third = 0.5 * second * (3.0 - second * second)
    slope = -27.0 / 16.0 * (1.0 - nu * nu) * (1.0 - first * first) * (1.0 - second * second)
    return 0.5 * (1.0 - third), slope * (1.0 - 2.0 * shift * ratios)
