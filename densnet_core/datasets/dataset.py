"""Labelled frames as models and training see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.datasets.drawing import Shares
from densnet_core.datasets.references import ReferenceDensities
from densnet_core.datasets.sequences import Joined, Missing, Selected, has_value
from densnet_core.density.specification import DensitySpecification, State, states_of
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.graphs.pairs import portions
from densnet_core.structures import Structure

Array = NDArray[np.float64]
Label = Sequence[Array | None]
SAME_ATOM: Final = 1e-6
"""Hartree; two converged calculations of one atom differ by less."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Frames with named labels, in atomic units; a frame may lack any of them.

    Structures and labels are sequences: lists, or what reads each frame from a store when it is asked for
    (``densnet_core.datasets.stored``). Nothing here holds the values of all frames.

    Parameters
    ----------
    structures : sequence of Structure
    labels : mapping of str to sequence
        For every label one value (or None) a frame: numbers "energy" (); (n_atoms, 3) "forces"; (3,) "dipole"; fitted
        coefficients (n_functions,) "density" in the label basis of the model's specification, (3, n_functions)
        "density_response"; and what plugins announce as a ``Quantity``.
    atomic_energies : mapping of int to float
        Energies of isolated atoms by atomic number, hartree, where they are known.
    shares : Shares or None
        How often the frames of parts of the data set are drawn, see ``joined``; None: every frame equally often.

    Raises
    ------
    InputError
        There is no frame, or a label is not given for each.
    """

    structures: Sequence[Structure]
    labels: Mapping[str, Label]
    atomic_energies: Mapping[int, float] = field(default_factory=dict)
    shares: Shares | None = None
    _references: dict[tuple[int, str], ReferenceDensities] = field(default_factory=dict, init=False, repr=False)
    _origin: tuple[Dataset, list[int]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.structures:
            raise InputError("There is no frame to learn from; check [training] and the store.")
        for name, values in self.labels.items():
            if len(values) != len(self.structures):
                raise InputError(
                    f"There are {len(self.structures)} frames and {len(values)} values of {name!r}; give one for each, "
                    "None where it is not known."
                )

    def __len__(self) -> int:
        return len(self.structures)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return tuple(sorted({int(z) for s in self.structures for z in np.unique(s.numbers)}))

    @property
    def states(self) -> tuple[State, ...]:
        """Charges and multiplicities of all fragments, ascending."""
        return states_of(self.structures)

    @classmethod
    def joined(cls, parts: Sequence[Dataset], weights: Sequence[float] | None = None) -> Dataset:
        """All frames of several data sets, one after the other; what one of them lacks is None for its frames.

        Parameters
        ----------
        parts : sequence of Dataset
        weights : sequence of float or None
            Of each part, how often its frames are drawn in training relative to those of the others: equal weights
            give equal numbers of draws, whatever the sizes. None: every frame is drawn equally often.

        Raises
        ------
        InputError
            Weights are not one positive number for each part, a part has weights of its own, or the energies of an
            isolated atom differ from one data set to another.
        """
        names = dict.fromkeys(name for part in parts for name in part.labels)
        labels = {name: Joined([part.labels.get(name, Missing(len(part))) for part in parts]) for name in names}
        if any(part.shares is not None for part in parts):
            raise InputError("A part of the data set has weights of its own; join all parts in one call.")
        shares = None
        if weights is not None:
            if len(weights) != len(parts):
                raise InputError(f"There are {len(parts)} data sets and {len(weights)} weights; give one for each.")
            part_of_frame = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            shares = Shares(part_of_frame, tuple(float(weight) for weight in weights))
        atoms = _common_atoms([part.atomic_energies for part in parts])
        return cls(Joined([part.structures for part in parts]), labels, atoms, shares)

    def subset(self, indices: Iterable[int] | NDArray[np.int64]) -> Dataset:
        """The frames with these indices."""
        chosen = np.array([int(i) for i in indices], dtype=np.int64)
        labels = {name: Selected(values, chosen) for name, values in self.labels.items()}
        shares = None if self.shares is None else self.shares.of(chosen)
        return Dataset(Selected(self.structures, chosen), labels, self.atomic_energies, shares)

    def batch(self, indices: Sequence[int]) -> Dataset:
        """The frames with these indices in memory, for one step of a training.

        Their reference densities are made from what this data set keeps, and kept as long as the batch.
        """
        chosen = [int(i) for i in indices]
        labels = {name: [values[i] for i in chosen] for name, values in self.labels.items()}
        return Dataset([self.structures[i] for i in chosen], labels, self.atomic_energies, _origin=(self, chosen))

    def having(self, name: str, indices: Iterable[int] | None = None) -> list[int]:
        """Those of the frames that have a label."""
        values = self.labels.get(name)
        chosen = range(len(self)) if indices is None else indices
        return [] if values is None else [int(i) for i in chosen if has_value(values, int(i))]

    def value(self, name: str, index: int) -> Array:
        """A label of a frame; ``InputError`` if the frame has none of this name."""
        found = self.labels[name][index] if name in self.labels else None
        if found is None:
            raise InputError(f"Frame {index} has no label {name!r}; labels of the data set: {', '.join(self.labels)}.")
        return found

    def tensor(self, name: str, indices: Sequence[int], concatenated: bool = False) -> Tensor:
        """Labels of frames that all have it, float64: stacked, or concatenated along their first axis."""
        values = [np.asarray(self.value(name, int(i)), dtype=np.float64) for i in indices]
        return torch.tensor(np.concatenate(values) if concatenated else np.stack(values))

    def graph(self, indices: Sequence[int] | NDArray[np.int64], cutoff: float | None = None) -> Graph:
        """Graph of the frames with these indices; of pairs closer than ``cutoff`` in bohr, if one is given."""
        return graph_of([self.structures[int(i)] for i in indices], cutoff)

    def portions(self) -> list[range]:
        """Indices of all frames, in portions for passes without a gradient of the parameters."""
        return portions([structure.n_atoms for structure in self.structures])

    def references(self, specification: DensitySpecification, label: str = "density") -> ReferenceDensities:
        """The reference densities under a label, for models of this specification; made once."""
        key = (id(specification), label)
        if key not in self._references:
            labels = self.labels.get(label, Missing(len(self)))
            if self._origin is None:
                made = ReferenceDensities(self.structures, labels, specification)
            else:
                whole, indices = self._origin
                made = whole.references(specification, label).part(indices, self.structures, labels)
            self._references[key] = made
        return self._references[key]

    def release(self) -> None:
        """Give back the memory of what is kept of reference densities; it is made again when it is needed."""
        self._references.clear()


def _common_atoms(tables: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Energies of isolated atoms from several tables, which may lack some; refused where they differ."""
    found: dict[int, float] = {}
    for table in tables:
        for z, energy in table.items():
            known = found.setdefault(z, energy)
            if abs(known - energy) > SAME_ATOM:
                raise InputError(
                    f"The data sets have different energies of an isolated {symbol(z)} atom, {known:.6f} and "
                    f"{energy:.6f} hartree; they cannot be of one level of theory. Give one table for all of them."
                )
    return found
