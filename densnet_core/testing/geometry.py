"""Geometries that the conformance suites make from those they are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from densnet_core.fragments import Fragment
from densnet_core.structures import Array, Structure


def rotation(seed: int) -> Array:
    """(3, 3) a proper rotation."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return np.asarray(matrix * np.sign(np.linalg.det(matrix)))


def transformed(structure: Structure, matrix: Array) -> Structure:
    """The structure with a matrix (3, 3) applied to its positions, about the origin."""
    return structure.with_positions(structure.positions @ matrix.T)


def moved(structure: Structure, shift: Array) -> Structure:
    """The structure, moved by (3,) bohr."""
    return structure.with_positions(structure.positions + shift)


def permuted(structure: Structure, order: NDArray[np.int64]) -> Structure:
    """The structure with its atoms in another order: atom i of it is atom order[i] of the one given."""
    place = np.argsort(order)
    masses = structure.isotope_masses
    return replace(
        structure,
        numbers=structure.numbers[order],
        positions=structure.positions[order],
        isotope_masses=None if masses is None else masses[order],
        fragments=tuple(
            replace(part, atoms=tuple(sorted(place[list(part.atoms)].tolist()))) for part in structure.fragments
        ),
    )


def join(one: Structure, other: Structure) -> Structure:
    """Two structures as one, each with its fragments; their spins are parallel."""
    shifted = [replace(part, atoms=tuple(atom + one.n_atoms for atom in part.atoms)) for part in other.parts]
    parts: tuple[Fragment, ...] = (*one.parts, *shifted)
    return Structure(
        np.concatenate([one.numbers, other.numbers]),
        np.concatenate([one.positions, other.positions]),
        one.charge + other.charge,
        1 + sum(part.multiplicity - 1 for part in parts),
        np.concatenate([one.masses, other.masses]),
        parts,
    )


def at_distance(one: Structure, other: Structure, distance: float) -> Structure:
    """``other``, moved so that its atom closest to ``one`` is ``distance`` bohr away along a line.

    Along the direction (1, 2, 2)/3: the atom of each that lies foremost stands on a line with the other's, so that the
    distance is exact to rounding; all other pairs are farther apart.
    """
    direction = np.array([1.0, 2.0, 2.0]) / 3.0
    front = one.positions[np.argmax(one.positions @ direction)]
    back = other.positions[np.argmin(other.positions @ direction)]
    return moved(other, front + distance * direction - back)


def stranger(elements: Iterable[int]) -> Structure:
    """A noble gas atom of an element that is not among those given."""
    known = set(elements)
    return Structure(np.array([next(z for z in (36, 54, 18, 10, 2, 86) if z not in known)]), np.zeros((1, 3)))
