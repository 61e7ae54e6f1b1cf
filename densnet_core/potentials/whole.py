"""Molecules in a periodic box, put together along their bonds: densities are those of isolated molecules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import covalent_radius
from densnet_core.structures import Array, Structure

BONDED: Final = 1.3
"""Atoms nearer than this times the sum of their covalent radii are bonded, where no topology says."""


@dataclass(frozen=True, eq=False)
class BondTree:
    """From every atom the bonds that lead to the first atom of its molecule.

    Parameters
    ----------
    parents : (n_atoms,) int64
        The next atom on the way; the first atom of a molecule is its own.
    paths : (n_atoms, n_atoms) bool
        ``paths[a, b]``: the way of a begins in, or passes, b.
    """

    parents: NDArray[np.int64]
    paths: NDArray[np.bool_]

    @classmethod
    def of(cls, n_atoms: int, bonds: Iterable[tuple[int, int]]) -> BondTree:
        """Of atoms and the pairs of them that are bonded."""
        neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
        for first, second in bonds:
            neighbours[first].append(second)
            neighbours[second].append(first)
        parents, paths = np.full(n_atoms, -1), np.eye(n_atoms, dtype=bool)
        for root in range(n_atoms):
            if parents[root] >= 0:
                continue
            parents[root], reached = root, [root]
            for atom in reached:
                for other in neighbours[atom]:
                    if parents[other] < 0:
                        parents[other] = atom
                        paths[other] |= paths[atom]
                        reached.append(other)
        return cls(parents, paths)

    @property
    def n_molecules(self) -> int:
        """Into how many parts the bonds divide the atoms."""
        return int((self.parents == np.arange(len(self.parents))).sum())

    def whole(self, positions: Array, box: Array) -> Array:
        """Positions (n_atoms, 3) with every bond as short as it can be in a box (3, 3), vectors in rows; one unit.

        A bond shorter than half the distance between opposite faces is found right in every box, also a triclinic one.
        """
        turns = np.round((positions - positions[self.parents]) @ np.linalg.inv(box))
        return positions - (self.paths @ turns) @ box if turns.any() else positions


def bonds_of(structure: Structure) -> list[tuple[int, int]]:
    """Pairs of atoms that are bonded, judged by their distance."""
    radii = np.array([covalent_radius(int(z)) for z in structure.numbers])
    distances = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=-1)
    first, second = np.nonzero(np.triu(distances < BONDED * (radii[:, None] + radii[None]), 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))
