"""Equivariant messages whose cost falls on atoms: sums over neighbours first, products on the sphere after."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.features import ComponentLinear, RadialBasis, harmonics
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_gaunt.config import GauntOptions
from densnet_gaunt.layers import Layer, Surroundings
from densnet_gaunt.neighbours import neighbours_of

FEWEST_NEIGHBORS = 1.0


class GauntBackbone(Backbone):
    """Sums over neighbours, then products of up to three of them on the sphere; body order four in every layer.

    Radial part: Bessel functions with a polynomial envelope (Gasteiger et al., arXiv 2003.03123, eqs. 7 and 8, p = 6),
    so features and two derivatives vanish at the cutoff.
    """

    truncates = True

    def __init__(self, shape: BackboneShape, options: GauntOptions | None = None) -> None:
        super().__init__(shape, options)
        self.options = options = options or GauntOptions()
        self.channels, self.n_elements = options.channels, len(shape.elements)
        self.cutoff = options.cutoff_angstrom / BOHR_TO_ANGSTROM
        self.embedding = nn.Parameter(torch.randn(self.n_elements, self.channels))
        self.entry = ComponentLinear(shape.l_in, shape.channels_in, self.channels) if shape.l_in >= 0 else None
        self.radial = RadialBasis(options.radial_functions, self.cutoff)
        self.first = nn.Linear(options.radial_functions, options.radial_width, bias=False)
        self.pair = nn.Parameter(1.0 + 0.3 * torch.randn(self.n_elements**2, options.radial_width))
        layers, l_in = [], shape.l_in
        for index in range(options.layers):
            l_out = shape.l_out if index == options.layers - 1 else options.l_max
            layers.append(Layer(l_in, l_out, options, shape.elements))
            l_in = l_out
        self.layers = nn.ModuleList(layers)
        self.neighbors: Tensor
        self.register_buffer("neighbors", torch.tensor(FEWEST_NEIGHBORS, dtype=torch.float64))

    def check(self) -> None:
        """Refuse degrees whose products cannot reach the l of the output."""
        reach = 3 * self.options.l_max_edge
        if reach < self.shape.l_out:
            raise InputError(
                f"Products of three features reach l = {reach} with l_max_edge = {self.options.l_max_edge}, but l = "
                f"{self.shape.l_out} is asked for: functions of higher l would stay empty. Raise l_max_edge in "
                "backbone_options, or take a basis of lower l."
            )

    def fit_statistics(self, dataset: Dataset) -> None:
        """The effective number of neighbours, see ``RadialBasis.neighbours``."""
        self.neighbors.fill_(max(self.radial.neighbours(dataset), FEWEST_NEIGHBORS))

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        elements = self.shape.elements
        width = range(self.options.radial_width)
        return {"embedding": (elements, range(self.channels)), "pair": (elements, elements, width)}

    def _surroundings(self, graph: Graph, species: Tensor) -> Surroundings:
        """Functions of distances and directions, once for all layers."""
        table = neighbours_of(graph, self.cutoff, self.embedding.dtype)
        distances = torch.sqrt((table.vectors**2).sum(-1))
        width = distances.shape[1]
        pair = species.repeat_interleave(width) * self.n_elements + species[table.senders]
        hidden = nn.functional.silu(self.first(self.radial(distances).flatten(0, 1)))
        return Surroundings(
            table.senders,
            harmonics(table.vectors / distances[..., None], self.options.l_max_edge),
            hidden * self.pair.index_select(0, pair),
        )

    def forward(self, graph: Graph, species: Tensor, features: Tensor | None, l_max: int | None = None) -> Tensor:
        around = self._surroundings(graph, species)
        scale = torch.rsqrt(self.neighbors).to(self.embedding.dtype)
        state = self.embedding.index_select(0, species)[None]
        if self.entry is not None and features is not None:
            entered = self.entry(features)
            state = torch.cat([entered[:1] + state, entered[1:]])
        *inner, last = self.layers
        for layer in inner:
            state = layer(state, species, around, scale)
        result: Tensor = last(state, species, around, scale, l_max)
        return result
