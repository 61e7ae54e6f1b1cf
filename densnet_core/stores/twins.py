"""Frames that are one geometry turned, mirrored, moved or with like atoms exchanged.

Their labels follow from each other, so that a test frame with a twin among the training frames tests nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
TOLERANCE: Final = 1e-3 / BOHR_TO_ANGSTROM
"""Bohr; largest distance of an atom from its place in the twin."""
_LOOSE: Final = 30.0 * TOLERANCE
"""Within which atoms find each other before the best alignment is known."""


def twin_groups(structures: Sequence[Structure], tolerance: float = TOLERANCE) -> list[list[int]]:
    """Groups of indices of frames that are twins, ascending; frames without a twin are in none.

    Twins have the same elements, charge and multiplicity, and one can be turned, moved, mirrored and its like atoms
    exchanged so that no atom is farther than the tolerance (bohr) from its place. Groups are chains of such pairs.
    """
    owner = list(range(len(structures)))

    def root(index: int) -> int:
        while owner[index] != index:
            owner[index] = index = owner[owner[index]]
        return index

    for one, other in _candidates(structures, tolerance):
        if root(one) != root(other) and are_twins(structures[one], structures[other], tolerance):
            owner[max(root(one), root(other))] = min(root(one), root(other))
    groups: dict[int, list[int]] = {}
    for index in range(len(structures)):
        groups.setdefault(root(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def twins_by_hash(structures: Sequence[Structure]) -> dict[str, frozenset[str]]:
    """Content hashes, hexadecimal, of the frames that have twins, with those of their group."""
    found: dict[str, frozenset[str]] = {}
    for group in twin_groups(structures):
        hashes = frozenset(structures[i].content_hash().hex() for i in group)
        found |= dict.fromkeys(hashes, hashes)
    return found


def _candidates(structures: Sequence[Structure], tolerance: float) -> Iterator[tuple[int, int]]:
    """Pairs of frames whose sorted distances of every pair of elements agree: all twins are among them."""
    kinds: dict[tuple[bytes, int, int], list[int]] = {}
    for index, one in enumerate(structures):
        kinds.setdefault((np.sort(one.numbers).tobytes(), one.charge, one.multiplicity), []).append(index)
    for members in kinds.values():
        distances = np.array([sorted_distances(structures[i]) for i in members])
        if distances.shape[1] == 0:  # single atoms are all the same
            yield from ((members[0], other) for other in members[1:])
            continue
        mean = distances.mean(axis=1)
        order = np.argsort(mean, kind="stable")
        ends = np.searchsorted(mean[order], mean[order] + 2.0 * tolerance, side="right")
        for place, index in enumerate(order):
            following = order[place + 1 : ends[place]]
            near = np.abs(distances[following] - distances[index]).max(axis=1, initial=0.0) <= 2.0 * tolerance
            yield from ((members[index], members[other]) for other in following[near])


def sorted_distances(structure: Structure) -> Array:
    """(n_pairs,) distances between atoms, bohr, ascending for every pair of elements; the same for all twins."""
    numbers, positions = structure.numbers, structure.positions
    parts = []
    for one, other in combinations_with_replacement(np.unique(numbers), 2):
        first, second = positions[numbers == one], positions[numbers == other]
        parts.append(np.sort(pdist(first) if one == other else cdist(first, second).ravel()))
    return np.concatenate(parts)


def are_twins(one: Structure, other: Structure, tolerance: float = TOLERANCE) -> bool:
    """Whether two molecules have the same atoms and can be laid on each other within the tolerance for every atom.

    Two atoms of the first, the farthest from the centroid and the one farthest from the line to it, are laid on every
    suitable pair of the second, in both hands; like atoms are then assigned to each other by the Hungarian algorithm,
    and Kabsch's rotation (Acta Cryst. A 32, 922 (1976)) is taken of the atoms so assigned.
    """
    if not np.array_equal(np.sort(one.numbers), np.sort(other.numbers)):
        return False
    centered = [s.positions - s.positions.mean(axis=0) for s in (one, other)]
    if one.n_atoms == 1:
        return True
    first = int(np.linalg.norm(centered[0], axis=1).argmax())
    across = np.linalg.norm(np.cross(centered[0], centered[0][first]), axis=1)
    second = int(across.argmax())
    radius = float(np.linalg.norm(centered[0][first]))
    linear = across[second] <= _LOOSE * radius
    own = _frame(centered[0][first], None if linear else centered[0][second])
    for i in _like(one, other, centered, first):
        for j in [None] if linear else _like(one, other, centered, second):
            if j is not None:
                apart = [np.linalg.norm(c[a] - c[b]) for c, a, b in zip(centered, (first, i), (second, j), strict=True)]
                if i == j or abs(apart[0] - apart[1]) > 4.0 * tolerance:
                    continue
            axes = _frame(centered[1][i], None if j is None else centered[1][j])
            if axes is None or own is None:
                continue
            for hand in (1.0, -1.0):
                turned = centered[1] @ axes.T @ np.diag([1.0, 1.0, hand]) @ own
                if _coincide(one, other, centered, turned, tolerance):
                    return True
    return False


def _like(one: Structure, other: Structure, centered: Sequence[Array], atom: int) -> NDArray[np.int64]:
    """Atoms of the second molecule of the element and as far from the centroid as an atom of the first."""
    radii = np.linalg.norm(centered[1], axis=1)
    near = np.abs(radii - np.linalg.norm(centered[0][atom])) <= 4.0 * TOLERANCE
    return np.flatnonzero(near & (other.numbers == one.numbers[atom]))


def _frame(along: Array, aside: Array | None) -> Array | None:
    """Three axes in rows: along a vector, towards another, and across; None if there are none."""
    x = along / np.linalg.norm(along)
    if aside is None:
        aside = np.eye(3)[np.abs(x).argmin()]
    y = aside - (aside @ x) * x
    length = np.linalg.norm(y)
    if length < 1e-8:
        return None
    return np.array([x, y / length, np.cross(x, y / length)])


def _coincide(one: Structure, other: Structure, centered: Sequence[Array], turned: Array, tolerance: float) -> bool:
    """Whether the second molecule, nearly laid on the first, can be laid on it within the tolerance."""
    cost = cdist(centered[0], turned)
    cost[one.numbers[:, None] != other.numbers[None]] = 1e6
    rows, columns = linear_sum_assignment(cost)
    if cost[rows, columns].max() > _LOOSE:
        return False
    target, moved = centered[0][rows], centered[1][columns]
    left, _, right = np.linalg.svd(moved.T @ target)  # mirror images included: the best orthogonal matrix
    return bool(np.linalg.norm(moved @ left @ right - target, axis=1).max() <= tolerance)
