"""The standard density model: a backbone and one linear head per element and angular momentum."""

from __future__ import annotations

from collections.abc import Collection
from math import log

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.backbone import BackboneShape, MakeBackbone
from densnet_core.models.config import DensityModelOptions
from densnet_core.models.density import DENSITIES, DensityModel, required_backbone
from densnet_core.models.features import own_element
from densnet_core.models.flow import ChargeFlow
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.response import RESPONSE, FieldResponse
from densnet_core.models.states import StateEmbedding
from densnet_core.models.statistics import amplitude_statistics, charge_scale, training_amplitudes


class EquivariantDensityModel(DensityModel):
    """Orthonormal amplitudes y = offset + scale * head(backbone), the charge of every atom made exact, then c = W y.

    How many electrons each atom has is decided by a ``ChargeFlow``, so that the charge is exact and local; the excess
    is taken from the s amplitudes in proportion to scale^2 q, the least change in units of each amplitude's own spread.
    This last step is in float64 whatever the network's precision.

    Where the specification lets exponents move, the factor of each atom and l is f^tanh(x), x from a linear head on the
    scalar features, with f the largest factor. The head starts at zero, so training starts from the exponents of the
    basis.

    The scalar features are also what an energy model may read. With ``options.response`` the same features give the
    response to a field (``densnet_core.models.response``).

    Raises
    ------
    InputError
        An element has no s function: the electron count of its molecules could not be made exact.
    """

    inputs = frozenset({"charge", "multiplicity"})
    truncates = True
    additions = frozenset({"response"})

    def __init__(
        self,
        specification: DensitySpecification,
        options: DensityModelOptions | None = None,
        make_backbone: MakeBackbone | None = None,
    ) -> None:
        super().__init__(specification, options, make_backbone)
        options = options or DensityModelOptions()
        self.layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        for z, has_s in zip(specification.elements, self.layout.counts.any(dim=1).tolist(), strict=True):
            if not has_s:
                raise InputError(f"Basis {specification.basis.name!r} needs an s function for {symbol(z)}.")
        n_elements, width, n_l = len(specification.elements), self.layout.width, self.layout.l_max + 1
        many = len(specification.states) > 1
        self.states = (
            StateEmbedding(specification.states, specification.elements, options.state_channels) if many else None
        )
        shape = BackboneShape(
            specification.elements, 0 if many else -1, options.state_channels if many else 0, self.layout.l_max
        )
        self.backbone = required_backbone(type(self).__name__, shape, make_backbone)
        self.cutoff = self.backbone.cutoff
        self.n_invariants = channels = self.backbone.channels
        self.head = nn.Parameter(torch.randn(n_l, channels, n_elements * width) * channels**-0.5)
        self.exponent_head: nn.Parameter | None = None
        self.exponent_bias: nn.Parameter | None = None
        if specification.adapts_exponents:
            self.exponent_head = nn.Parameter(torch.zeros(channels, n_elements * n_l))
            self.exponent_bias = nn.Parameter(torch.zeros(n_elements, n_l))
        self.flow = ChargeFlow(channels, specification.elements, self.cutoff) if options.charge == "flow" else None
        self.response: FieldResponse | None = None
        if options.response:
            self.densities = frozenset({"density", RESPONSE})
            self.response = FieldResponse(self.layout, channels, self.cutoff)
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", self.layout.present.clone())
        self.register_buffer("offset", torch.zeros(n_elements, width, dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset) -> None:
        """Offset of the s amplitudes, scale of all, and the unit of the flows, from the reference densities."""
        known = self.specification, self.layout
        offset, scale = amplitude_statistics(self.layout, training_amplitudes(dataset, *known))
        self.offset.copy_(offset)
        self.scale.copy_(scale)
        if self.flow is not None:
            self.flow.scale.fill_(charge_scale(self.layout, training_amplitudes(dataset, *known)))
        if self.response is not None:
            self.response.fit_statistics(dataset)
        self.backbone.fit_statistics(dataset)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        layout, channels = self.layout, range(self.backbone.channels)
        elements, degrees, width = layout.elements, range(layout.l_max + 1), range(layout.width)
        return {
            "head": (degrees, channels, elements, width),
            "exponent_head": (channels, elements, degrees),
            "exponent_bias": (elements, degrees),
            "scale": (elements, degrees, width),
            "offset": (elements, width),
        }

    def forward(
        self, graph: Graph, l_max: int | None = None, names: Collection[str] = DENSITIES
    ) -> dict[str, Expansion]:
        layout = self.layout
        species = layout.species(graph.numbers)
        entry = None if self.states is None else self.states(graph, species)[None]
        degree = layout.l_max if l_max is None else min(max(l_max, 0), layout.l_max)
        response = self.response if RESPONSE in names else None
        needed = degree if response is None else min(degree + 1, layout.l_max)
        features = self.backbone.up_to(needed, graph, species, entry)
        invariants, scales = features[0], self._scales(features[0], species)
        found = {}
        if response is not None:
            found[RESPONSE] = response(graph, features, species, scales, degree)
        places = layout.flat_places(species)
        if l_max == -1:
            return {**found, "density": Expansion(layout.counts.new_zeros(places.shape), scales, invariants)}
        amplitudes = self._amplitudes(graph, features[: (degree + 1) ** 2], species, scales)
        coefficients = layout.coefficients(amplitudes, species, places, scales)
        return {**found, "density": Expansion(coefficients, scales, invariants)}

    def _scales(self, scalars: Tensor, species: Tensor) -> Tensor | None:
        """(n_atoms, l_max + 1) float64 factors of the exponents, from scalar features (n_atoms, channels)."""
        if self.exponent_head is None or self.exponent_bias is None:
            return None
        own = own_element((scalars @ self.exponent_head)[None], species, len(self.layout.elements))[0]
        own = own + self.exponent_bias[species]
        return torch.exp(log(self.specification.largest_factor) * torch.tanh(own.to(torch.float64)))

    def _amplitudes(self, graph: Graph, features: Tensor, species: Tensor, scales: Tensor | None) -> Tensor:
        """Orthonormal amplitudes (n_components, n_atoms, width), float64, with exact electron count."""
        layout = self.layout
        degrees = layout.l_of_component[: features.shape[0]]
        raw = torch.bmm(features, self.head.index_select(0, degrees))
        raw = own_element(raw, species, len(layout.elements)).to(torch.float64)
        scale = self.scale.index_select(0, species)
        scaled = raw * scale.index_select(1, degrees).transpose(0, 1)
        scalars = scaled[0] + self.offset.index_select(0, species)
        counts = layout.electron_counts(species, scales)
        weights = scale[:, 0] ** 2 * counts
        found, capacity = (scalars * counts).sum(-1), (weights * counts).sum(-1)
        if self.flow is not None:
            excess = (found + self.flow(graph, species, features[0])) / capacity
        else:
            whole = graph.sum_over_molecules(found) + graph.molecule_charge
            excess = (whole / graph.sum_over_molecules(capacity))[graph.molecule]
        return torch.cat([(scalars - weights * excess[:, None])[None], scaled[1:]])
