"""Batches of a data set: drawn, read and put together in another thread while the step before them is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.drawing import Draws
from densnet_core.datasets.kept import Kept
from densnet_core.graphs.graph import Graph, concatenated
from densnet_core.graphs.neighbours import most_neighbours, table_of
from densnet_core.structures import Structure
from densnet_core.training import parallel
from densnet_core.training.terms import Term, places_having, total_loss

GRAPH_CACHE_BYTES: Final = 100_000_000
"""Of graphs of single frames that are kept; those beyond are made again at each visit."""
TENSOR_BYTES: Final = 500
"""Of a tensor beside its elements."""


class Graphs:
    """Graphs of the frames of a data set.

    Parameters
    ----------
    dataset : Dataset
    cutoff : float or None
        Bohr.
    device : torch.device
    tables : bool
        Pairs are rows as long for all frames of a kind of molecule, see ``densnet_core.graphs.neighbours.table_of``, as
        native code wants them; not of kinds without pairs.
    """

    def __init__(self, dataset: Dataset, cutoff: float | None, device: torch.device, tables: bool = False) -> None:
        self.dataset, self.cutoff, self.device = dataset, cutoff, device
        self._kept: Kept[Graph] = Kept(GRAPH_CACHE_BYTES, _bytes_of)
        self._widths: dict[bytes, int] | None = self._scanned() if tables else None

    def __call__(self, indices: Sequence[int]) -> Graph:
        """The graph of frames."""
        return concatenated([self._one(int(i)) for i in indices])

    def parts(self, indices: Sequence[int]) -> list[Graph]:
        """For native code: the graph of frames if all of the data set are of one kind, or that of each."""
        if self._widths is not None and len(self._widths) > 1:
            return [self._one(int(i)) for i in indices]
        return [self(indices)]

    def _one(self, index: int) -> Graph:
        return self._kept.get(index, lambda: self._made(index))

    def _made(self, index: int) -> Graph:
        graph = self.dataset.graph([index], self.cutoff)
        width = 0 if self._widths is None else self._widths[kind_of(self.dataset.structures[index])]
        return (table_of(graph, width) if width else graph).to(self.device)

    def _scanned(self) -> dict[bytes, int]:
        """The most neighbours of an atom in all frames of each kind."""
        found: dict[bytes, int] = {}
        for index, structure in enumerate(self.dataset.structures):
            kind = kind_of(structure)
            found[kind] = max(found.get(kind, 0), most_neighbours(self.dataset.graph([index], self.cutoff)))
        return found


def kind_of(structure: Structure) -> bytes:
    """The same for structures that differ in positions alone."""
    return structure.numbers.tobytes() + structure.masses.tobytes() + repr(structure.parts).encode()


def _bytes_of(graph: Graph) -> int:
    parts = [part for entry in fields(graph) if isinstance(part := getattr(graph, entry.name), Tensor)]
    return sum(part.numel() * part.element_size() + TENSOR_BYTES for part in parts)


@dataclass(frozen=True, eq=False)
class Batch:
    """The frames of a step that this process takes.

    Parameters
    ----------
    indices : list of int
        In the data set of the training.
    dataset : Dataset
        These frames in memory, with what their terms need.
    graph : Graph
    parts : list of Graph
        The same in parts, see ``Graphs.parts``.
    counts : list of int
        For each term, how many frames of the step have its labels, those of other processes included.
    """

    indices: list[int]
    dataset: Dataset
    graph: Graph
    parts: list[Graph]
    counts: list[int]


def batch_loss(terms: Sequence[Term], outputs: Mapping[str, Any], batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the terms over a batch, or this process's part of it, and its parts; see ``total_loss``."""
    return total_loss(terms, outputs, batch.dataset, range(len(batch.indices)), batch.graph, batch.counts)


class Batches:
    """The batch of each step. The next one is made ahead by a thread; its numbers do not depend on that.

    Parameters
    ----------
    graphs : Graphs
        Of the training frames.
    batch_size, seed : int
    """

    def __init__(self, graphs: Graphs, batch_size: int, seed: int) -> None:
        self.graphs, self.batch_size, self.seed = graphs, batch_size, seed
        self.learn([])

    def learn(self, terms: Sequence[Term]) -> None:
        """Draw frames that have the labels of any of these terms; what was made for others is forgotten."""
        dataset = self.graphs.dataset
        self._terms = list(terms)
        frames = {i for term in terms for i in places_having(term, dataset, range(len(dataset)))}
        self._draws = Draws(np.array(sorted(frames), dtype=np.int64), self.batch_size, self.seed, dataset.shares)
        self._ahead: dict[int, Future[Batch]] = {}
        self._thread: ThreadPoolExecutor | None = None

    def of_step(self, number: int) -> Batch:
        """The batch of a step."""
        if self._thread is None:
            # operations in a new thread would otherwise have as many threads as there are cores, and other last digits
            threads = torch.get_num_threads()
            self._thread = ThreadPoolExecutor(1, "batches", torch.set_num_threads, (threads,))
        future = self._ahead.pop(number, None)
        batch = self.make(number) if future is None else future.result()
        if number + 1 not in self._ahead:
            self._ahead = {number + 1: self._thread.submit(self.make, number + 1)}
        return batch

    def make(self, number: int) -> Batch:
        """Draw, read and put together the batch of a step."""
        dataset, device = self.graphs.dataset, self.graphs.device
        whole = self._draws.of_step(number)
        own = parallel.own_part(whole)
        batch = dataset.batch(own)
        for term in self._terms:
            if places := places_having(term, batch, range(len(own))):
                term.loss.prepare(batch, places, device)
        counts = [len(places_having(term, dataset, whole)) for term in self._terms]
        parts = self.graphs.parts(own)
        return Batch(own, batch, parts[0] if len(parts) == 1 else concatenated(parts), parts, counts)
