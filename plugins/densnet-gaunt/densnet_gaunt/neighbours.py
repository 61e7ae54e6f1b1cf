"""Pairs of a graph as a table with the neighbours of every atom in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from densnet_core.graphs.graph import Graph
from densnet_core.graphs.pairs import rows_of


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The pairs of a graph, padded to the same number for every atom.

    Sums over neighbours are then sums along an axis, and small matrix products where the terms are products; nothing
    is scattered.

    Parameters
    ----------
    senders : (n_atoms * width,) int64
        The neighbours of each atom; where there is none itself, or what a graph with a ``width`` has there.
    vectors : (n_atoms, width, 3)
        From the atom to its neighbour; where there is none along x and as long as the cutoff, or beyond it.
    """

    senders: Tensor
    vectors: Tensor


def neighbours_of(graph: Graph, cutoff: float, dtype: torch.dtype) -> Neighbours:
    """The table of a graph; vectors in a precision, rounded after the difference."""
    if graph.width is not None:
        return Neighbours(graph.senders, graph.pair_vectors.to(dtype).reshape(graph.n_atoms, graph.width, 3))
    # Which pairs there are decides shapes, so it is read outside of what a compiler traces.
    receivers, senders = graph.receivers.cpu().numpy(), graph.senders.cpu().numpy()
    order, places, most = rows_of(receivers, graph.n_atoms)
    width = max(most, 1)
    pair = np.full((graph.n_atoms, width), len(order))
    pair[places] = order
    sender = np.repeat(np.arange(graph.n_atoms)[:, None], width, axis=1)
    sender[places] = senders[order]
    device, vectors = graph.positions.device, graph.pair_vectors
    nowhere = vectors.new_tensor([[cutoff, 0.0, 0.0]])
    padded = torch.cat([vectors, nowhere]).index_select(0, torch.as_tensor(pair.ravel(), device=device)).to(dtype)
    return Neighbours(torch.as_tensor(sender.ravel(), device=device), padded.reshape(graph.n_atoms, width, 3))
