"""Batches of a data set as graphs on the device of the training, prepared once and put together at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from densnet_core.datasets.dataset import Dataset, batches
from densnet_core.graphs.graph import Graph, concatenated
from densnet_core.training import parallel

GRAPHS_AT_MOST: Final = 20_000
"""Graphs of single frames that are kept, some kilobytes each; those beyond are made again at each visit."""


class Graphs:
    """Graphs of the frames of a data set.

    Parameters
    ----------
    dataset : Dataset
    cutoff : float or None
        Bohr.
    device : torch.device
    """

    def __init__(self, dataset: Dataset, cutoff: float | None, device: torch.device) -> None:
        self.dataset, self.cutoff, self.device = dataset, cutoff, device
        self._kept: dict[int, Graph] = {}

    def __call__(self, indices: Sequence[int]) -> Graph:
        """The graph of frames."""
        return concatenated([self._one(int(i)) for i in indices])

    def _one(self, index: int) -> Graph:
        found = self._kept.get(index)
        if found is None:
            found = self.dataset.graph([index], self.cutoff).to(self.device)
            if len(self._kept) < GRAPHS_AT_MOST:
                self._kept[index] = found
        return found


class Batches:
    """The frames of each step.

    Parameters
    ----------
    dataset : Dataset
    batch_size, seed : int
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed

    def of_step(self, number: int) -> tuple[list[int], list[int]]:
        """The frames of this process, and those of all processes together."""
        whole = [int(i) for i in batches(len(self.dataset), self.batch_size, number, self.seed)]
        return parallel.own_part(whole), whole
