"""The molecular graph that networks see, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from densnet_core.errors import InputError
from densnet_core.structures import Structure

ATOMS_AT_ONCE: Final = 384
"""Atoms of one pass through the networks where there is a choice: enough to hide overheads, little memory."""


@dataclass(frozen=True, eq=False)
class Graph:
    """One or more molecules, atoms concatenated.

    Parameters
    ----------
    numbers : (n_atoms,) int64
        Atomic numbers.
    positions : (n_atoms, 3)
        Bohr.
    molecule : (n_atoms,) int64
        The molecule of each atom, ascending.
    charges : (n_molecules,)
        Total charges, e.
    senders, receivers : (n_edges,) int64
        Directed pairs of atoms of one molecule; a message goes from sender to receiver.
    """

    numbers: Tensor
    positions: Tensor
    molecule: Tensor
    charges: Tensor
    senders: Tensor
    receivers: Tensor

    @property
    def n_atoms(self) -> int:
        return self.numbers.shape[0]

    @property
    def n_molecules(self) -> int:
        return self.charges.shape[0]

    @property
    def edge_vectors(self) -> Tensor:
        """(n_edges, 3) from receiver to sender, bohr."""
        return self.positions[self.senders] - self.positions[self.receivers]

    def with_positions(self, positions: Tensor) -> Graph:
        """The same graph at other positions (edges are kept)."""
        return Graph(self.numbers, positions, self.molecule, self.charges, self.senders, self.receivers)

    def sum_over_molecules(self, values: Tensor) -> Tensor:
        """(n_molecules, ...) sums of per-atom values (n_atoms, ...)."""
        result = values.new_zeros((self.n_molecules, *values.shape[1:]))
        return result.index_add(0, self.molecule, values)


def all_pairs(sizes: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Senders and receivers of all ordered pairs of different atoms within molecules of these sizes."""
    senders, receivers, offset = [], [], 0
    for size in sizes:
        i, j = np.nonzero(~np.eye(size, dtype=bool))
        senders.append(j + offset)
        receivers.append(i + offset)
        offset += size
    return np.concatenate(senders), np.concatenate(receivers)


def portions(n_atoms: Sequence[int], limit: int = ATOMS_AT_ONCE) -> list[range]:
    """Consecutive molecules of these sizes that have at most ``limit`` atoms together, or are alone."""
    result, start, total = [], 0, 0
    for index, size in enumerate(n_atoms):
        if index > start and total + size > limit:
            result.append(range(start, index))
            start, total = index, 0
        total += size
    return [*result, range(start, len(n_atoms))] if n_atoms else []


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
    both_ways = np.concatenate([one_way, one_way[:, ::-1]])
    senders, receivers = both_ways[np.lexsort((both_ways[:, 0], both_ways[:, 1]))].T
    return senders, receivers


def graph_of(
    structures: Sequence[Structure],
    cutoff: float | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Graph:
    """Graph of structures.

    Parameters
    ----------
    cutoff : float or None
        Keep only pairs closer than this, bohr; their number then grows with that of the atoms and not its square.
        None keeps all pairs of a molecule: the graph then stays valid while the atoms move.
    """
    if not structures:
        raise InputError("A graph needs at least one structure.")
    positions = np.concatenate([s.positions for s in structures])
    if cutoff is None:
        senders, receivers = all_pairs([s.n_atoms for s in structures])
    else:
        senders, receivers = near_pairs([s.positions for s in structures], cutoff)
    molecule = np.repeat(np.arange(len(structures)), [s.n_atoms for s in structures])
    return Graph(
        torch.tensor(np.concatenate([s.numbers for s in structures]), device=device),
        torch.tensor(positions, dtype=dtype, device=device),
        torch.tensor(molecule, device=device),
        torch.tensor([float(s.charge) for s in structures], dtype=dtype, device=device),
        torch.tensor(senders, device=device),
        torch.tensor(receivers, device=device),
    )
