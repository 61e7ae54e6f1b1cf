"""A diverse subset of many geometries, and near-duplicates among them.

Geometries are compared by the logarithms of their interatomic distances, sorted within each pair of elements. The
difference of two geometries is the root mean square difference of these lists: 0.01 means that the distances differ by
one per cent. It does not change when a molecule is moved, turned, mirrored or its atoms of one element are exchanged.
Different geometries with equal lists exist, but are rare exceptions (M. Boutin and G. Kemper, Adv. Appl. Math. 32, 709
(2004)); they would count as one. Molecules of different composition are never duplicates.

The memory is that of the lists, n_frames n_atoms (n_atoms - 1) / 2 numbers of four bytes; there is no table of pairs of
geometries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.structures import Structure


def fingerprint(structure: Structure) -> NDArray[np.float32]:
    """(n_atoms (n_atoms - 1) / 2,) logarithms of the distances, by pair of elements and ascending within each."""
    first, second = np.triu_indices(structure.n_atoms, k=1)
    distances = np.linalg.norm(structure.positions[first] - structure.positions[second], axis=1)
    numbers = structure.numbers
    low, high = np.minimum(numbers[first], numbers[second]), np.maximum(numbers[first], numbers[second])
    order = np.lexsort((distances, high, low))
    return np.asarray(np.log(distances[order]), dtype=np.float32)


def without_near_duplicates(structures: Sequence[Structure], tolerance: float) -> list[Structure]:
    """Structures of which no two differ by less than ``tolerance``; of such the first is kept.

    Parameters
    ----------
    structures : sequence of Structure
    tolerance : float
        Root mean square relative difference of the interatomic distances.
    """
    kept: list[int] = []
    for group in _by_composition(structures):
        prints = _fingerprints([structures[index] for index in group])
        kept += [group[row] for row in _first_of_each(prints, tolerance)]
    return [structures[index] for index in sorted(kept)]


def _first_of_each(prints: NDArray[np.float32], tolerance: float) -> list[int]:
    """Rows without those that lie near an earlier row that was kept."""
    if prints.shape[1] == 0:  # single atoms
        return [0]
    # The means of two rows differ by no more than the rows do, so only rows with near means have to be compared.
    means = prints.mean(axis=1, dtype=np.float64)
    order = np.argsort(means, kind="stable")
    ordered = means[order]
    is_kept = np.zeros(len(prints), dtype=bool)
    margin = tolerance + 1e-6
    for row in range(len(prints)):
        low, high = np.searchsorted(ordered, [means[row] - margin, means[row] + margin])
        near = order[low:high]
        near = near[is_kept[near]]
        is_kept[row] = near.size == 0 or bool(_differences(prints[near], prints[row]).min() >= tolerance)
    return np.flatnonzero(is_kept).tolist()


def farthest_points(structures: Sequence[Structure], count: int) -> list[Structure]:
    """``count`` structures, each the one farthest from all chosen before it, beginning with the first.

    The order is that of the choice, so any beginning of the list is a choice too. Every composition is represented
    before a second structure of one is chosen.

    Raises
    ------
    InputError
        If there are fewer structures than ``count``.
    """
    if count > len(structures):
        raise InputError(
            f"{count} geometries are to be selected out of {len(structures)}. Sample more, or select fewer."
        )
    groups = _by_composition(structures)
    prints = [_fingerprints([structures[index] for index in group]) for group in groups]
    # Distance of every structure from the nearest chosen one; infinite while none of its composition is chosen.
    nearest = [np.full(len(group), np.inf) for group in groups]
    chosen: list[int] = []
    while len(chosen) < count:
        best = max(range(len(groups)), key=lambda number: (nearest[number].max(), -number))
        row = int(np.argmax(nearest[best]))
        chosen.append(groups[best][row])
        np.minimum(nearest[best], _differences(prints[best], prints[best][row]), out=nearest[best])
        nearest[best][row] = -1.0  # once only
    return [structures[index] for index in chosen]


def _differences(prints: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.float64]:
    if one.size == 0:
        return np.zeros(len(prints))
    return np.asarray(np.sqrt(np.square(prints - one).mean(axis=1, dtype=np.float64)))


def _by_composition(structures: Sequence[Structure]) -> list[list[int]]:
    """Indices of the structures of equal elements, charge and multiplicity, in the order of first occurrence."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, structure in enumerate(structures):
        key = (*np.sort(structure.numbers).tolist(), structure.charge, structure.multiplicity, structure.n_atoms)
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _fingerprints(structures: Sequence[Structure]) -> NDArray[np.float32]:
    return np.array([fingerprint(structure) for structure in structures])
