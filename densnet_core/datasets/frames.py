"""Labelled frames as the training stages see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, graph_of, portions
from densnet_core.structures import Structure

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Frames with their labels in atomic units.

    Parameters
    ----------
    structures : sequence of Structure
    coefficients : sequence of (n_functions,)
        Fitted density differences, in the label basis of the model's specification.
    energies : (n_frames,)
    forces : sequence of (n_atoms, 3)
    dipoles : sequence of (3,)
    """

    structures: Sequence[Structure]
    coefficients: Sequence[Array]
    energies: Array
    forces: Sequence[Array]
    dipoles: Sequence[Array]

    def __post_init__(self) -> None:
        lengths = {len(self.structures), len(self.coefficients), len(self.energies), len(self.forces)}
        if len(lengths) != 1 or len(self.dipoles) != len(self.structures):
            raise InputError("Structures and labels differ in number.")
        if not self.structures:
            raise InputError("There is no frame to learn from; check [training] and the store.")

    def __len__(self) -> int:
        return len(self.structures)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> LabelledFrames:
        """The frames with these indices."""
        chosen = [int(i) for i in indices]
        return LabelledFrames(
            [self.structures[i] for i in chosen],
            [self.coefficients[i] for i in chosen],
            np.array([self.energies[i] for i in chosen]),
            [self.forces[i] for i in chosen],
            [self.dipoles[i] for i in chosen],
        )

    def graph(self, indices: Sequence[int] | NDArray[np.int64], cutoff: float | None = None) -> Graph:
        """Graph of the frames with these indices; of pairs closer than ``cutoff`` in bohr, if one is given."""
        return graph_of([self.structures[int(i)] for i in indices], cutoff)

    def portions(self) -> list[range]:
        """Indices of all frames, in portions for passes without a gradient of the parameters."""
        return portions([structure.n_atoms for structure in self.structures])


def batches(n_frames: int, batch_size: int, step: int, seed: int) -> NDArray[np.int64]:
    """Indices of the batch of a step: every epoch is a permutation that depends on seed and epoch only.

    A run that resumes at any step therefore sees the same batches as one that never stopped.
    """
    size = min(batch_size, n_frames)
    per_epoch = n_frames // size
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(n_frames)
    return order[position * size : (position + 1) * size]
