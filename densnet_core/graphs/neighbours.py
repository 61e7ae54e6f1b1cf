"""Pairs of molecules that move: searched anew when an atom has moved far, not in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.graphs.pairs import near_pairs, rows_of
from densnet_core.structures import Array, Structure

SKIN: Final = 2.0
"""Bohr. Thermal motion takes some hundred steps to move an atom by half of it."""
SPARE: Final = 2
"""Neighbours that a table has room for beyond the most that an atom has."""
ALL_PAIRS_UP_TO: Final = 24
"""Atoms of a molecule whose pairs are not searched: most are near, and a graph that never changes can be traced.

Measured on alkanes with networks of the default size (cutoff 5 angstrom, one thread), near pairs and eager against all
pairs and traced: 14 atoms 19 and 16 ms, 20 atoms 25 and 24, 26 atoms 31 and 38, 50 atoms 58 and 132.
"""


class NeighbourList:
    """Graphs of the same molecules at one position after another, with exactly the pairs within the cutoff.

    The list behind them holds all pairs within cutoff plus skin. It stays valid until an atom has moved by more than
    half the skin since it was made, and is then made again; from the list, each graph takes the pairs that are within
    the cutoff at its own positions. So nothing depends on when the list was made.

    Parameters
    ----------
    structures : sequence of Structure
        Molecules, whose atoms have pairs within each of them only.
    cutoff : float or None
        Bohr. None: all pairs of a molecule matter.
    skin : float
        Bohr, positive.

    Attributes
    ----------
    fixed : bool
        Whether the pairs are the same at all positions: all of them, because there is no cutoff or the molecules are
        small (``ALL_PAIRS_UP_TO``).
    searches : int
        How often pairs have been searched.
    width : int
        Neighbours of each atom in a table, see ``table``; zero before the first.

    Raises
    ------
    InputError
        The skin is not positive.
    """

    def __init__(self, structures: Sequence[Structure], cutoff: float | None, skin: float = SKIN) -> None:
        if not skin > 0.0:
            raise InputError(f"The skin of a neighbour list must be positive, not {skin}.")
        self.cutoff, self.skin, self.searches, self.width = cutoff, skin, 0, 0
        self._sizes = np.cumsum([structure.n_atoms for structure in structures])[:-1]
        self.fixed = cutoff is None or max(s.n_atoms for s in structures) <= ALL_PAIRS_UP_TO
        self._graph: Graph = graph_of(structures, None if self.fixed else cutoff)
        self._made_at: Array | None = None
        self._senders: NDArray[np.int64]
        self._receivers: NDArray[np.int64]
        self._table: Graph | None = None

    def graph(self, positions: Array) -> Graph:
        """The molecules at positions (n_atoms, 3) in bohr, finite, of all atoms one after another."""
        moved = self._graph.with_positions(torch.tensor(positions))
        if self.cutoff is None or self.fixed:
            return moved
        self._keep(positions, self.cutoff)
        vectors = positions[self._senders] - positions[self._receivers]
        near = np.einsum("px,px->p", vectors, vectors) < self.cutoff**2
        senders, receivers = self._senders[near], self._receivers[near]
        return replace(moved, senders=torch.from_numpy(senders), receivers=torch.from_numpy(receivers))

    def table(self, positions: Array) -> Graph:
        """As ``graph``, for code that is compiled once: all pairs of the list, with as many senders for every atom.

        Rows are filled with the atom that is farthest away in the molecule, beyond the cutoff as long as the list is
        valid, so what a potential gives is that of ``graph`` up to rounding. ``width`` changes when an atom has more
        neighbours than there is room for. For molecules of one size with a cutoff.
        """
        assert self.cutoff is not None
        self._keep(positions, self.cutoff)
        assert self._made_at is not None
        if self._table is None:
            listed = replace(
                self._graph.with_positions(torch.from_numpy(self._made_at)),
                senders=torch.from_numpy(self._senders),
                receivers=torch.from_numpy(self._receivers),
            )
            most = most_neighbours(listed)
            if most > self.width:
                self.width = min(most + SPARE, len(positions) // (len(self._sizes) + 1) - 1)
            self._table = table_of(listed, self.width)
        return self._table.with_positions(torch.tensor(positions))

    def _keep(self, positions: Array, cutoff: float) -> None:
        """Search pairs if there is no list or it is no longer valid."""
        if self._made_at is not None:
            step = positions - self._made_at
            if float(np.einsum("ax,ax->a", step, step).max()) <= (0.5 * self.skin) ** 2:
                return
        self._senders, self._receivers = near_pairs(np.split(positions, self._sizes), cutoff + self.skin)
        self._made_at, self.searches, self._table = positions.copy(), self.searches + 1, None


def most_neighbours(graph: Graph) -> int:
    """The most pairs that an atom receives from."""
    return int(np.bincount(graph.receivers.numpy(), minlength=graph.n_atoms).max())


def table_of(graph: Graph, width: int) -> Graph:
    """The same graph with as many senders for every atom, in rows; on the CPU.

    The atom that is farthest away in the molecule fills a row. It is beyond the cutoff of the pairs, since an atom
    whose row is not full does not have all others as neighbours.

    Parameters
    ----------
    graph : Graph
        With exactly the pairs within some cutoff.
    width : int
        At least ``most_neighbours``, and less than the atoms of any molecule.
    """
    order, places, _ = rows_of(graph.receivers.numpy(), graph.n_atoms)
    rows = np.repeat(_farthest(graph)[:, None], width, axis=1)
    rows[places] = graph.senders.numpy()[order]
    receivers = torch.arange(graph.n_atoms).repeat_interleave(width)
    return replace(graph, senders=torch.from_numpy(rows.ravel()), receivers=receivers, width=width)


def lacking_a_neighbour(graph: Graph) -> Graph:
    """A table in which every atom has its last sender in place of the first: other pairs, to compare code with."""
    fewer = graph.senders.reshape(graph.n_atoms, -1).clone()
    fewer[:, 0] = fewer[:, -1]
    return replace(graph, senders=fewer.reshape(-1))


def _farthest(graph: Graph) -> NDArray[np.int64]:
    """(n_atoms,) the atom of the same molecule that is farthest from each."""
    found, starts = [], np.cumsum(graph.sizes.numpy())[:-1]
    for first, own in zip([0, *starts], np.split(graph.positions.numpy(), starts), strict=True):
        squares = ((own[:, None] - own) ** 2).sum(-1)
        found.append(first + squares.argmax(axis=1))
    return np.concatenate(found)
