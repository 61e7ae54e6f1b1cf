"""Is a geometry still the molecule it was made from? Judged by distances relative to covalent radii."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import covalent_radius, symbol
from densnet_core.errors import InputError
from densnet_core.structures import Structure

BONDED = 1.3
"""Atoms nearer than this times the sum of their covalent radii are bonded in the starting molecule."""
BROKEN = 1.6
"""A bond longer than this times the sum of the radii is broken: thermal motion does not stretch one so far."""
TOO_CLOSE = 0.6
"""Nearer than this times the sum of the radii two atoms have run into each other."""


@dataclass(frozen=True)
class Defect:
    """Why a geometry is refused.

    Parameters
    ----------
    kind : str
        What such geometries are counted under, for example ``"atoms too close"``.
    detail : str
        This geometry's case, with the atoms; what ``str`` gives.
    """

    kind: str
    detail: str

    def __str__(self) -> str:
        return self.detail


def relative_distances(structure: Structure) -> NDArray[np.float64]:
    """(n_atoms, n_atoms) interatomic distances divided by the sum of the covalent radii; zero on the diagonal."""
    radii = np.array([covalent_radius(int(z)) for z in structure.numbers])
    distances = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=-1)
    return np.asarray(distances / (radii[:, None] + radii[None]))


def fragments(structure: Structure, reach: float = BONDED) -> list[list[int]]:
    """Atoms of each connected part of the molecular graph, ascending; bonds are relative distances below ``reach``."""
    return _components(relative_distances(structure) < reach)


def defect(structure: Structure, start: Structure) -> Defect | None:
    """What is broken in a geometry, or None.

    Parameters
    ----------
    structure : Structure
        The geometry to judge.
    start : Structure
        The intact molecule, same atoms in the same order. It may be several molecules: each has to stay in one piece.

    Raises
    ------
    InputError
        If the atoms are not those of ``start``.
    """
    if not np.array_equal(structure.numbers, start.numbers):
        raise InputError(
            f"The atoms of a geometry ({_listed(structure)}) are not those of the molecule ({_listed(start)}); "
            "they must come in the same order."
        )
    relative = relative_distances(structure)
    np.fill_diagonal(relative, np.inf)
    nearest = np.unravel_index(int(np.argmin(relative)), relative.shape)
    if relative[nearest] < TOO_CLOSE:
        return Defect("atoms too close", f"{_pair(structure, int(nearest[0]), int(nearest[1]))} is too short")
    connected = relative < BROKEN
    for atoms in fragments(start):
        parts = _components(connected[np.ix_(atoms, atoms)])
        if len(parts) > 1:
            return Defect("come apart", "the molecule has come apart: " + _gap(structure, atoms, parts))
    return None


def reached(connected: NDArray[np.bool_], start: int) -> set[int]:
    """The atom ``start`` and all that bonds lead to from it, by the matrix (n_atoms, n_atoms) of what is bonded."""
    found, frontier = {start}, [start]
    while frontier:
        for other in np.flatnonzero(connected[frontier.pop()]).tolist():
            if other not in found:
                found.add(other)
                frontier.append(other)
    return found


def _components(connected: NDArray[np.bool_]) -> list[list[int]]:
    unvisited = set(range(len(connected)))
    parts: list[list[int]] = []
    while unvisited:
        part = reached(connected, min(unvisited))
        parts.append(sorted(part))
        unvisited -= part
    return parts


def _gap(structure: Structure, atoms: list[int], parts: list[list[int]]) -> str:
    """The shortest distance between the first part and the rest."""
    inside = [atoms[i] for i in parts[0]]
    outside = [atom for atom in atoms if atom not in inside]
    distances = relative_distances(structure)[np.ix_(inside, outside)]
    i, j = np.unravel_index(int(np.argmin(distances)), distances.shape)
    return f"{_pair(structure, inside[int(i)], outside[int(j)])} is the shortest link"


def _pair(structure: Structure, i: int, j: int) -> str:
    relative = relative_distances(structure)[i, j]
    names = [f"{symbol(int(structure.numbers[atom]))}{atom + 1}" for atom in sorted((i, j))]
    return f"{names[0]}-{names[1]} at {relative:.2f} times the sum of the covalent radii"


def _listed(structure: Structure) -> str:
    return " ".join(symbol(int(z)) for z in structure.numbers)
