"""Molecules as networks see them: atoms and pairs as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.errors import InputError
from densnet_core.graphs.pairs import all_pairs, near_pairs
from densnet_core.structures import Structure

OPTIONAL: Final = ("cell", "field", "level")
"""Parts that a graph may lack. A model that does not declare them in ``inputs`` refuses a graph that has them."""


@dataclass(frozen=True, eq=False)
class Graph:
    """One or more molecules, atoms concatenated; tensors on one device.

    Parameters
    ----------
    numbers : (n_atoms,) int64
        Atomic numbers.
    positions : (n_atoms, 3) float64
        Bohr.
    masses : (n_atoms,) float64
        Dalton.
    molecule : (n_atoms,) int64
        The molecule of each atom, ascending.
    sizes : (n_molecules,) int64
        Atoms of each molecule.
    senders, receivers : (n_pairs,) int64
        Directed pairs of atoms of one molecule, each in both directions; a message goes from sender to receiver.
    fragment : (n_atoms,) int64
        The fragment of each atom: an input, never derived from distances.
    charge : (n_fragments,) float64
        Total charge of each fragment, e.
    multiplicity : (n_fragments,) int64
        Spin multiplicity 2S+1 of each fragment.
    fragment_molecule : (n_fragments,) int64
        The molecule of each fragment, ascending.
    shifts : (n_pairs, 3) int64, optional
        Lattice vectors to add to the sender's position; with ``cell``, for pair search only.
    cell : (n_molecules, 3, 3), optional
        Lattice vectors in rows, bohr. Densities are those of isolated molecules.
    field : (n_molecules, 3), optional
        Uniform electric field, hartree/(e bohr).
    level : (n_molecules,) int64, optional
        Index of the level of theory among those of the model's specification.
    width : int, optional
        The pairs are a table with so many for each receiver, one receiver after another; where an atom has fewer, pairs
        beyond every cutoff fill its row. What is compiled once then serves as the senders change.
    """

    numbers: Tensor
    positions: Tensor
    masses: Tensor
    molecule: Tensor
    sizes: Tensor
    senders: Tensor
    receivers: Tensor
    fragment: Tensor
    charge: Tensor
    multiplicity: Tensor
    fragment_molecule: Tensor
    shifts: Tensor | None = None
    cell: Tensor | None = None
    field: Tensor | None = None
    level: Tensor | None = None
    width: int | None = None

    @property
    def n_atoms(self) -> int:
        return self.numbers.shape[0]

    @property
    def n_molecules(self) -> int:
        return self.sizes.shape[0]

    @property
    def n_fragments(self) -> int:
        return self.charge.shape[0]

    @property
    def optional(self) -> frozenset[str]:
        """Names of the optional parts that this graph has."""
        return frozenset(name for name in OPTIONAL if getattr(self, name) is not None)

    @property
    def pair_vectors(self) -> Tensor:
        """(n_pairs, 3) from receiver to sender, bohr."""
        ends = (self.positions.index_select(0, end) for end in (self.senders, self.receivers))
        vectors = next(ends) - next(ends)
        if self.cell is None or self.shifts is None:
            return vectors
        cells = self.cell[self.molecule[self.receivers]]
        return vectors + torch.einsum("pi,pix->px", self.shifts.to(cells.dtype), cells)

    @property
    def molecule_charge(self) -> Tensor:
        """(n_molecules,) total charges, e."""
        return self.charge.new_zeros(self.n_molecules).index_add(0, self.fragment_molecule, self.charge)

    def with_positions(self, positions: Tensor) -> Graph:
        """The same graph at other positions (n_atoms, 3); pairs are kept."""
        return replace(self, positions=positions)

    def sum_over_molecules(self, values: Tensor) -> Tensor:
        """(n_molecules, ...) sums of per-atom values (n_atoms, ...)."""
        result = values.new_zeros((self.n_molecules, *values.shape[1:]))
        return result.index_add(0, self.molecule, values)

    def sum_over_fragments(self, values: Tensor) -> Tensor:
        """(n_fragments, ...) sums of per-atom values (n_atoms, ...)."""
        result = values.new_zeros((self.n_fragments, *values.shape[1:]))
        return result.index_add(0, self.fragment, values)

    def to(self, device: torch.device | str) -> Graph:
        """The same graph with all tensors on a device."""
        moved: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            moved[entry.name] = value.to(device) if isinstance(value, Tensor) else value
        return Graph(**moved)


def graph_of(
    structures: Sequence[Structure],
    cutoff: float | None = None,
    *,
    field: Sequence[Sequence[float]] | None = None,
    level: Sequence[int] | None = None,
) -> Graph:
    """Graph of structures.

    Parameters
    ----------
    structures : sequence of Structure
    cutoff : float or None
        Keep only pairs closer than this, bohr; their number then grows with that of the atoms and not its square.
        None keeps all pairs of a molecule: the graph then stays valid while the atoms move.
    field : (n_molecules, 3) or None
        Uniform electric field on each molecule, hartree/(e bohr).
    level : (n_molecules,) or None
        Index of each molecule's level of theory.

    Raises
    ------
    InputError
        There is no structure, or a field or level is not given for each.
    """
    if not structures:
        raise InputError("A graph needs at least one structure.")
    sizes = [s.n_atoms for s in structures]
    if cutoff is None:
        senders, receivers = all_pairs(sizes)
    else:
        senders, receivers = near_pairs([s.positions for s in structures], cutoff)
    fragment, charges, multiplicities, owners = _fragments(structures)
    return Graph(
        numbers=torch.tensor(np.concatenate([s.numbers for s in structures])),
        positions=torch.tensor(np.concatenate([s.positions for s in structures])),
        masses=torch.tensor(np.concatenate([s.masses for s in structures])),
        molecule=torch.tensor(np.repeat(np.arange(len(structures)), sizes)),
        sizes=torch.tensor(sizes),
        senders=torch.tensor(senders),
        receivers=torch.tensor(receivers),
        fragment=torch.tensor(fragment),
        charge=torch.tensor(charges, dtype=torch.float64),
        multiplicity=torch.tensor(multiplicities),
        fragment_molecule=torch.tensor(owners),
        field=None if field is None else _one_each("field", field, (len(structures), 3), torch.float64),
        level=None if level is None else _one_each("level", level, (len(structures),), torch.int64),
    )


def concatenated(graphs: Sequence[Graph]) -> Graph:
    """One graph of the molecules of several, in their order; on their device.

    Rows of pairs stay a table where all have the same ``width``; else they are pairs like others.

    Raises
    ------
    InputError
        There is none, or an optional part is there in some and not in others.
    """
    if not graphs:
        raise InputError("A graph needs at least one structure.")
    if len(graphs) == 1:
        return graphs[0]
    counts = [(graph.n_atoms, graph.n_molecules, graph.n_fragments) for graph in graphs]
    starts = np.concatenate([np.zeros((1, 3), dtype=np.int64), np.cumsum(counts, axis=0)])
    step = {name: place for place, names in enumerate(_COUNTED) for name in names}
    joined: dict[str, Any] = {}
    for entry in fields(Graph):
        if entry.name == "width":
            widths = {graph.width for graph in graphs}
            joined["width"] = widths.pop() if len(widths) == 1 else None
            continue
        parts = [getattr(graph, entry.name) for graph in graphs]
        lacking = sum(part is None for part in parts)
        if lacking == len(parts):
            joined[entry.name] = None
            continue
        if lacking:
            raise InputError(f"{lacking} of {len(parts)} graphs have no {entry.name}; they cannot become one.")
        if entry.name in step:
            column = starts[:, step[entry.name]].tolist()
            parts = [part + start for part, start in zip(parts, column, strict=False)]
        joined[entry.name] = torch.cat(parts)
    return Graph(**joined)


_COUNTED: Final = (("senders", "receivers"), ("molecule", "fragment_molecule"), ("fragment",))
"""Parts of a graph that are indices of atoms, of molecules and of fragments."""


def _one_each(
    name: str, values: Sequence[Sequence[float]] | Sequence[int], shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    found = torch.as_tensor(np.asarray(values), dtype=dtype)
    if tuple(found.shape) != shape:
        raise InputError(f"A {name} is needed for each molecule: shape {shape}, found {tuple(found.shape)}.")
    return found


def _fragments(structures: Sequence[Structure]) -> tuple[NDArray[np.int64], list[float], list[int], list[int]]:
    """Fragment of each atom; charge, multiplicity and molecule of each fragment."""
    labels: list[NDArray[np.int64]] = []
    charges: list[float] = []
    multiplicities: list[int] = []
    owners: list[int] = []
    for molecule, structure in enumerate(structures):
        own = np.empty(structure.n_atoms, dtype=np.int64)
        for part in structure.parts:
            own[list(part.atoms)] = len(charges)
            charges.append(float(part.charge))
            multiplicities.append(part.multiplicity)
            owners.append(molecule)
        labels.append(own)
    return np.concatenate(labels), charges, multiplicities, owners
