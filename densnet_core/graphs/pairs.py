"""Pairs of atoms, and how many molecules one pass through a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

ATOMS_AT_ONCE: Final = 384
"""Atoms of one pass through the networks where there is a choice: enough to hide overheads, little memory."""


def all_pairs(sizes: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Senders and receivers of all ordered pairs of different atoms within molecules of these sizes."""
    senders, receivers, offset = [], [], 0
    for size in sizes:
        i, j = np.nonzero(~np.eye(size, dtype=bool))
        senders.append(j + offset)
        receivers.append(i + offset)
        offset += size
    return np.concatenate(senders), np.concatenate(receivers)


def near_pairs(molecules: Sequence[NDArray[np.float64]], cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Senders and receivers of all ordered pairs of different atoms of one molecule that are closer than ``cutoff``.

    Parameters
    ----------
    molecules : sequence of (n_atoms, 3)
        Positions, bohr.
    """
    pairs, offset = [], 0
    for positions in molecules:
        pairs.append(cKDTree(positions).query_pairs(cutoff, output_type="ndarray") + offset)
        offset += len(positions)
    one_way = np.concatenate(pairs).astype(np.int64)
    # Receiver and sender as one number: sorting that is thrice as fast as a sort by two keys.
    both_ways = np.sort(np.concatenate([one_way @ (1, offset), one_way @ (offset, 1)]))
    receivers, senders = np.divmod(both_ways, offset)
    return senders, receivers


def rows_of(
    receivers: NDArray[np.int64], n_atoms: int
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]], int]:
    """How pairs become a table with the neighbours of every atom in a row.

    Returns
    -------
    order : (n_pairs,) int64
        The pairs by receiver, those of one as they were.
    places : tuple of (n_pairs,) int64
        Row and column of each pair in that order.
    width : int
        The most pairs that an atom receives from.
    """
    counts = np.bincount(receivers, minlength=n_atoms)
    order = np.argsort(receivers, kind="stable")
    rows = receivers[order]
    return order, (rows, np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]), int(counts.max())


def portions(n_atoms: Sequence[int], limit: int = ATOMS_AT_ONCE) -> list[range]:
    """Consecutive molecules of these sizes that have at most ``limit`` atoms together, or are alone."""
    result, start, total = [], 0, 0
    for index, size in enumerate(n_atoms):
        if index > start and total + size > limit:
            result.append(range(start, index))
            start, total = index, 0
        total += size
    return [*result, range(start, len(n_atoms))] if n_atoms else []
