"""The molecular graph that networks see, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.errors import InputError
from densnet_core.structures import Structure


@dataclass(frozen=True, eq=False)
class MolecularGraph:
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

    def with_positions(self, positions: Tensor) -> MolecularGraph:
        """The same graph at other positions (edges are kept)."""
        return MolecularGraph(self.numbers, positions, self.molecule, self.charges, self.senders, self.receivers)

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


def graph_of(
    structures: Sequence[Structure],
    cutoff: float | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> MolecularGraph:
    """Graph of structures.

    Parameters
    ----------
    cutoff : float or None
        Keep only pairs closer than this, bohr. None keeps all pairs of a molecule: the graph then stays valid while
        the atoms move.
    """
    if not structures:
        raise InputError("A graph needs at least one structure.")
    positions = np.concatenate([s.positions for s in structures])
    senders, receivers = all_pairs([s.n_atoms for s in structures])
    if cutoff is not None:
        near = ((positions[senders] - positions[receivers]) ** 2).sum(-1) < cutoff**2
        senders, receivers = senders[near], receivers[near]
    molecule = np.repeat(np.arange(len(structures)), [s.n_atoms for s in structures])
    return MolecularGraph(
        torch.tensor(np.concatenate([s.numbers for s in structures]), device=device),
        torch.tensor(positions, dtype=dtype, device=device),
        torch.tensor(molecule, device=device),
        torch.tensor([float(s.charge) for s in structures], dtype=dtype, device=device),
        torch.tensor(senders, device=device),
        torch.tensor(receivers, device=device),
    )
