"""Charge and multiplicity of fragments as input features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densnet_core.density.specification import State
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes


class StateEmbedding(nn.Module):
    """One learned vector for each state of the training data and element: features with l = 0.

    A state that is not among them makes features that are not numbers, so that no energy comes out of it even where
    nobody checked.

    Parameters
    ----------
    states : tuple of (charge, multiplicity)
    elements : tuple of int
    channels : int
    """

    def __init__(self, states: tuple[State, ...], elements: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.known, self.elements = states, elements
        self.vectors = nn.Parameter(torch.randn(len(states), len(elements), channels))
        self.table: Tensor
        self.register_buffer("table", torch.tensor(states, dtype=torch.float64), persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        return {"vectors": (self.known, self.elements, range(self.vectors.shape[2]))}

    def forward(self, graph: Graph, species: Tensor) -> Tensor:
        """(n_atoms, channels) in the dtype of the parameters."""
        index, known = state_indices(self.table, graph)
        vectors = self.vectors[index[graph.fragment], species]
        return torch.where(known[graph.fragment][:, None], vectors, torch.full_like(vectors, torch.nan))


def state_indices(table: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Index of each fragment's state in a table (n_states, 2), and whether it is there; (n_fragments,) each."""
    own = torch.stack([graph.charge, graph.multiplicity.to(graph.charge.dtype)], dim=1)
    equal = (own[:, None, :] == table[None]).all(-1)
    return equal.to(torch.int64).argmax(1), equal.any(1)
