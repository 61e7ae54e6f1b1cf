"""Electrons that move along bonds: exact and local."""

from __future__ import annotations

import torch
from densnet_core.graphs.graph import Graph
from torch import Tensor, nn

from densnet_bonds.features import Bonds


class BondFlow(nn.Module):
    """Every atom sends p_A(element of B) . R(r_AB) electrons to each neighbour B, with p linear in its scalars.

    What one atom sends another receives, so the sum over a molecule is zero however the numbers are rounded, and a
    molecule beyond the cutoff gets nothing.

    Parameters
    ----------
    n_elements, n_radial, width : int
        ``width`` is that of the scalars.
    """

    def __init__(self, n_elements: int, n_radial: int, width: int) -> None:
        super().__init__()
        self.shape = (n_elements, n_radial)
        self.senders = nn.Linear(width, n_elements * n_radial)
        self.unit: Tensor
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))

    def sent(self, graph: Graph, species: Tensor, bonds: Bonds, scalars: Tensor) -> Tensor:
        """(n_pairs,) electrons that each sender gives its receiver, float64."""
        potentials = self.senders(scalars).reshape(-1, *self.shape)
        own = potentials[graph.senders, species[graph.receivers]]
        return self.unit * (own * bonds.radial).sum(1).to(torch.float64)


def gains(graph: Graph, sent: Tensor) -> Tensor:
    """(n_atoms, ...) electrons that atoms gain when senders give ``sent`` (n_pairs, ...) to receivers."""
    nothing = sent.new_zeros((graph.n_atoms, *sent.shape[1:]))
    return nothing.index_add(0, graph.receivers, sent).index_add(0, graph.senders, -sent)
