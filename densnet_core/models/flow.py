"""Charges of atoms that conserve the charge of every fragment exactly and locally, with and without a field."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.features import envelope

RADIAL_FUNCTIONS = 8


class ChargeFlow(nn.Module):
    """q_A = w_A Q_F + sum_B f_AB: a share of the own fragment's charge, and flows along the pairs.

    The flow f_AB = -f_BA from B to A is antisymmetric in scalar features of the two,
    f_AB = u(r) sum_k R_k(r) (1 + g_Ak g_Bk) (p_Bk - p_Ak) with bounded gates g = tanh, and u an envelope that takes it
    and its derivatives to zero at the cutoff: what enters one atom leaves another, to the last digit, and atoms beyond
    the cutoff exchange nothing. Flows may cross fragments. The shares w_A are positive and add up to one within each
    fragment. Antisymmetric flows instead of a correction over the whole molecule are what makes charges of separated
    molecules independent; compare split-charge equilibration (Nistor et al., J. Chem. Phys. 125, 094108, 2006).

    Parameters
    ----------
    channels : int
        Of the scalar features.
    elements : tuple of int
    cutoff : float
        Bohr.
    width : int
        Number of terms k.
    """

    def __init__(self, channels: int, elements: tuple[int, ...], cutoff: float, width: int = 16) -> None:
        super().__init__()
        self.cutoff, self.width, self.elements = cutoff, width, elements
        self.ends = nn.Parameter(torch.randn(channels, 2 * width) * channels**-0.5)
        self.element_ends = nn.Parameter(0.3 * torch.randn(len(elements), 2 * width))
        self.radial = nn.Parameter(torch.randn(RADIAL_FUNCTIONS, width) * (RADIAL_FUNCTIONS * width) ** -0.5)
        self.share = nn.Parameter(torch.zeros(channels))
        self.element_share = nn.Parameter(torch.zeros(len(elements)))
        self.scale: Tensor
        self.frequencies: Tensor
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("frequencies", _frequencies(), persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        return {"element_ends": (self.elements, range(2 * self.width)), "element_share": (self.elements,)}

    def forward(self, graph: Graph, species: Tensor, scalars: Tensor) -> Tensor:
        """Charges (n_atoms,), e, float64; those of each fragment add up to its own plus what flows in.

        Parameters
        ----------
        species : (n_atoms,) int64
        scalars : (n_atoms, channels)
            Invariant features.
        """
        return self._shares(graph, species, scalars) + self._flows(graph, species, scalars)

    def _shares(self, graph: Graph, species: Tensor, scalars: Tensor) -> Tensor:
        logits = (scalars @ self.share + self.element_share[species]).to(torch.float64)
        weights = torch.exp(10.0 * torch.tanh(0.1 * logits))
        return weights * (graph.charge / graph.sum_over_fragments(weights))[graph.fragment]

    def _flows(self, graph: Graph, species: Tensor, scalars: Tensor) -> Tensor:
        vectors = graph.pair_vectors.to(scalars.dtype)
        radial = _sines(torch.sqrt((vectors**2).sum(-1)) / self.cutoff, self.frequencies) @ self.radial
        potentials, gates = torch.split(scalars @ self.ends + self.element_ends[species], self.width, dim=1)
        gates = torch.tanh(gates)
        both = torch.cat([gates, potentials], dim=1)
        ends = (both.index_select(0, atoms) for atoms in (graph.receivers, graph.senders))
        (own_gate, own), (other_gate, other) = (torch.split(end, self.width, dim=1) for end in ends)
        flows = (radial * (1.0 + own_gate * other_gate) * (other - own)).sum(1)
        flows = self.scale * flows.to(torch.float64)
        return flows.new_zeros(graph.n_atoms).index_add(0, graph.receivers, flows)


class FieldFlow(nn.Module):
    """Electrons that flow along the pairs per unit of a uniform field, in proportion to its component along each.

    f_AB = u(r) sum_k R_k(r) (1 + g_Ak g_Bk) (r_B - r_A) / r is antisymmetric in A and B: nothing is lost, atoms beyond
    the cutoff exchange nothing, and as every flow is along its pair, the dipole moments it makes are symmetric in the
    directions of field and moment.

    Parameters
    ----------
    channels, elements, cutoff, width
        As for ``ChargeFlow``.
    """

    def __init__(self, channels: int, elements: tuple[int, ...], cutoff: float, width: int = 16) -> None:
        super().__init__()
        self.cutoff, self.width, self.elements = cutoff, width, elements
        self.gates = nn.Parameter(torch.randn(channels, width) * channels**-0.5)
        self.element_gates = nn.Parameter(0.3 * torch.randn(len(elements), width))
        self.radial = nn.Parameter(torch.randn(RADIAL_FUNCTIONS, width) * (RADIAL_FUNCTIONS * width) ** -0.5)
        self.scale: Tensor
        self.frequencies: Tensor
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("frequencies", _frequencies(), persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        return {"element_gates": (self.elements, range(self.width))}

    def forward(self, graph: Graph, species: Tensor, scalars: Tensor) -> Tensor:
        """(n_atoms, 3) electrons gained per unit of the field in each direction, float64."""
        vectors = graph.pair_vectors.to(scalars.dtype)
        distances = torch.sqrt((vectors**2).sum(-1))
        radial = _sines(distances / self.cutoff, self.frequencies) @ self.radial
        gates = torch.tanh(scalars @ self.gates + self.element_gates[species])
        own, other = (gates.index_select(0, atoms) for atoms in (graph.receivers, graph.senders))
        strength = (radial * (1.0 + own * other)).sum(1) / distances
        flows = self.scale * (strength[:, None] * vectors).to(torch.float64)
        return flows.new_zeros(graph.n_atoms, 3).index_add(0, graph.receivers, flows)


def _frequencies() -> Tensor:
    return torch.arange(1, RADIAL_FUNCTIONS + 1, dtype=torch.float64) * pi


def _sines(x: Tensor, frequencies: Tensor) -> Tensor:
    """(n_pairs, RADIAL_FUNCTIONS) radial functions of distances in units of the cutoff; zero from the cutoff on."""
    x = x.clamp(max=1.0)[:, None]
    return torch.sin(x * frequencies.to(x.dtype)) * envelope(x)
