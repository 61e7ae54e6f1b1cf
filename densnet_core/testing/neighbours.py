"""The plainest networks that keep every rule: sums over neighbours, and products of these on each atom.

They are what the suites of one kind of network need of the other kinds (an energy model of a density, a density model
of a backbone), run in a few milliseconds, and show how much of an interface is needed. No one should train them.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.basis.conventions import to_magnetic_order
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape, MakeBackbone
from densnet_core.models.density import DensityModel
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.statistics import amplitude_statistics, training_amplitudes

CUTOFF = 8.0
"""Bohr."""
N_RADIAL = 4


def degrees(l_max: int) -> Tensor:
    """((l_max + 1)^2,) angular momentum of each component."""
    momenta = torch.arange(l_max + 1)
    return momenta.repeat_interleave(2 * momenta + 1)


def edges(graph: Graph, l_max: int, dtype: torch.dtype, cutoff: float = CUTOFF) -> tuple[Tensor, Tensor]:
    """Radial functions (n_pairs, N_RADIAL), zero from the cutoff on, and harmonics (n_pairs, (l_max + 1)^2)."""
    vectors = graph.pair_vectors.to(dtype)
    distances = torch.sqrt((vectors**2).sum(-1, keepdim=True))
    x = (distances / cutoff).clamp(max=1.0)
    waves = torch.sin(x * torch.arange(1, N_RADIAL + 1, dtype=dtype) * pi) / x
    harmonics = solid_harmonics(vectors / distances, l_max)
    angular = torch.cat([one[..., to_magnetic_order(l_)] for l_, one in enumerate(harmonics)], dim=-1)
    return sqrt(2.0) * waves * (1.0 - x) ** 3, angular * sqrt(4.0 * pi)


class NeighbourBackbone(Backbone):
    """Features of neighbours' places and input features, gated by their own norms.

    a_lm = h_lm + n^-1/2 sum_B R_l(r) (Y_lm + h_Blm), with h the mixed input features, R_l radial functions of the pair
    of elements and n the mean number of neighbours; then a_lm times a gate of all |a_l|^2.
    """

    def __init__(self, shape: BackboneShape, options: Any = None, channels: int = 6) -> None:
        super().__init__(shape, options)
        self.channels, self.cutoff, self.n_elements = channels, CUTOFF, len(shape.elements)
        self.l_inner = max(shape.l_out, shape.l_in, 1)
        n_l = self.l_inner + 1
        self.embedding = nn.Parameter(torch.randn(self.n_elements, channels))
        self.radial = nn.Parameter(torch.randn(self.n_elements**2, N_RADIAL, n_l * channels) / sqrt(N_RADIAL))
        self.entry = nn.Parameter(torch.randn(shape.l_in + 1, shape.channels_in, channels) * shape.channels_in**-0.5) \
            if shape.l_in >= 0 else None  # fmt: skip
        self.hidden = nn.Linear((n_l + 1) * channels, channels)
        self.gates = nn.Linear(channels, (shape.l_out + 1) * channels)
        self.neighbours: Tensor
        self.register_buffer("neighbours", torch.ones((), dtype=torch.float64))
        self.degrees: Tensor
        self.register_buffer("degrees", degrees(self.l_inner), persistent=False)

    def fit_statistics(self, dataset: Dataset) -> None:
        pairs, atoms = 0, 0
        for portion in dataset.portions():
            graph = dataset.graph(portion, self.cutoff)
            pairs, atoms = pairs + graph.senders.shape[0], atoms + graph.n_atoms
        self.neighbours.fill_(max(pairs / atoms, 1.0))

    def forward(self, graph: Graph, species: Tensor, features: Tensor | None) -> Tensor:
        dtype, n, channels = self.embedding.dtype, graph.n_atoms, self.channels
        radial, angular = edges(graph, self.l_inner, dtype, self.cutoff)
        own = torch.zeros((len(self.degrees), n, channels), dtype=dtype)
        if self.entry is not None and features is not None:
            mixed = torch.bmm(features, self.entry[self.degrees[: features.shape[0]]])
            own = torch.cat([mixed, own[features.shape[0] :]])
        pair = species[graph.receivers] * self.n_elements + species[graph.senders]
        weights = torch.einsum("pk,pkc->pc", radial, self.radial[pair]).reshape(len(pair), self.l_inner + 1, channels)
        sent = (angular[:, :, None] + own.transpose(0, 1)[graph.senders]) * weights[:, self.degrees]
        received = sent.new_zeros((n, *sent.shape[1:])).index_add(0, graph.receivers, sent)
        state = own + received.transpose(0, 1) / torch.sqrt(self.neighbours).to(dtype)
        norms = state.new_zeros((self.l_inner + 1, n, channels)).index_add(0, self.degrees, state**2)
        scalars = torch.cat([self.embedding[species][None], state[:1], norms[1:]]).transpose(0, 1).flatten(1)
        hidden = nn.functional.silu(self.hidden(scalars))
        gates = self.gates(hidden).reshape(n, self.shape.l_out + 1, channels).transpose(0, 1)
        n_out = (self.shape.l_out + 1) ** 2
        result: Tensor = torch.cat([gates[:1], state[1:n_out] * gates[self.degrees[1:n_out]]])
        return result


class NeighbourDensityModel(DensityModel):
    """Amplitudes sum_B R_l(r) Y_lm, a fixed number of electrons in every fragment, and flows between neighbours.

    Raises
    ------
    InputError
        The specification asks for exponents that move.
    """

    def __init__(
        self, specification: DensitySpecification, options: Any = None, make_backbone: MakeBackbone | None = None
    ) -> None:
        super().__init__(specification, options, make_backbone)
        if specification.adapts_exponents:
            raise InputError(f"{type(self).__name__} cannot move exponents; set largest_factor = 1.")
        self.cutoff = CUTOFF
        self.layout = layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        self.n_invariants = layout.width
        self.n_elements = n = len(specification.elements)
        self.radial = nn.Parameter(0.1 * torch.randn(n * n, N_RADIAL, (layout.l_max + 1) * layout.width))
        self.potentials = nn.Parameter(torch.randn(n, N_RADIAL))
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", layout.present.clone())
        self.register_buffer("offset", torch.zeros(n, layout.width, dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset) -> None:
        offset, scale = amplitude_statistics(self.layout, training_amplitudes(dataset, self.specification, self.layout))
        self.offset.copy_(offset)
        self.scale.copy_(scale)

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        layout = self.layout
        species = layout.species(graph.numbers)
        radial, angular = edges(graph, layout.l_max, self.radial.dtype)
        pair = species[graph.receivers] * self.n_elements + species[graph.senders]
        weights = torch.einsum("pk,pkc->pc", radial, self.radial[pair]).reshape(
            len(pair), layout.l_max + 1, layout.width
        )
        sent = angular[:, :, None] * weights[:, layout.l_of_component]
        sums = sent.new_zeros((graph.n_atoms, *sent.shape[1:])).index_add(0, graph.receivers, sent)
        scaled = sums.transpose(0, 1).to(torch.float64) * self.scale[species][:, layout.l_of_component].transpose(0, 1)
        counts = layout.electron_counts(species)
        scalars = scaled[0] + self.offset[species]
        excess = (scalars * counts).sum(-1) + self._charges(graph, species, radial)
        scalars = scalars - counts * (excess / (counts**2).sum(-1))[:, None]
        amplitudes = torch.cat([scalars[None], scaled[1:]])
        coefficients = layout.coefficients(amplitudes, species, layout.flat_places(species))
        return {"density": Expansion(coefficients, invariants=sums[:, 0])}

    def _charges(self, graph: Graph, species: Tensor, radial: Tensor) -> Tensor:
        """(n_atoms,) equal shares of the fragment's charge, and flows that leave one atom as they enter another."""
        shares = graph.charge / graph.sum_over_fragments(torch.ones(graph.n_atoms, dtype=torch.float64))
        steps = self.potentials[species[graph.senders]] - self.potentials[species[graph.receivers]]
        flows = 0.02 * (radial * steps).sum(-1).to(torch.float64)
        return shares[graph.fragment].index_add(0, graph.receivers, flows)
