"""Labelled frames as models and training see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.datasets.references import ReferenceDensities
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

    Parameters
    ----------
    structures : sequence of Structure
    labels : mapping of str to sequence
        For every label one value (or None) a frame: numbers "energy" (); (n_atoms, 3) "forces"; (3,) "dipole"; fitted
        coefficients (n_functions,) "density" in the label basis of the model's specification, (3, n_functions)
        "density_response"; and what plugins announce as a ``Quantity``.
    atomic_energies : mapping of int to float
        Energies of isolated atoms by atomic number, hartree, where they are known.

    Raises
    ------
    InputError
        There is no frame, or a label is not given for each.
    """

    structures: Sequence[Structure]
    labels: Mapping[str, Label]
    atomic_energies: Mapping[int, float] = field(default_factory=dict)
    _references: dict[tuple[int, str], ReferenceDensities] = field(default_factory=dict, init=False, repr=False)

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
    def joined(cls, parts: Sequence[Dataset]) -> Dataset:
        """All frames of several data sets, one after the other; what one of them lacks is None for its frames.

        Raises
        ------
        InputError
            The energies of an isolated atom differ from one data set to another.
        """
        names = dict.fromkeys(name for part in parts for name in part.labels)
        labels = {
            name: [value for part in parts for value in part.labels.get(name, [None] * len(part))] for name in names
        }
        structures = [structure for part in parts for structure in part.structures]
        return cls(structures, labels, _common_atoms([part.atomic_energies for part in parts]))

    def subset(self, indices: Iterable[int] | NDArray[np.int64]) -> Dataset:
        """The frames with these indices."""
        chosen = [int(i) for i in indices]
        labels = {name: [values[i] for i in chosen] for name, values in self.labels.items()}
        return Dataset([self.structures[i] for i in chosen], labels, self.atomic_energies)

    def having(self, name: str, indices: Iterable[int] | None = None) -> list[int]:
        """Those of the frames that have a label."""
        values = self.labels.get(name)
        chosen = range(len(self)) if indices is None else indices
        return [] if values is None else [int(i) for i in chosen if values[int(i)] is not None]

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
            self._references[key] = ReferenceDensities(
                self.structures, self.labels.get(label, [None] * len(self)), specification
            )
        return self._references[key]


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


def batches(n_frames: int, batch_size: int, step: int, seed: int) -> NDArray[np.int64]:
    """Indices of the batch of a step: every epoch is a permutation that depends on seed and epoch only.

    A run that resumes at any step therefore sees the same batches as one that never stopped.
    """
    size = min(batch_size, n_frames)
    per_epoch = n_frames // size
    epoch, position = divmod(step, per_epoch)
    return _order(n_frames, seed, epoch)[position * size : (position + 1) * size]


@lru_cache(maxsize=4)
def _order(n_frames: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(n_frames)
