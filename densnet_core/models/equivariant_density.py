"""The standard density model: a backbone and one linear head per element and angular momentum."""

from __future__ import annotations

from math import log
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.density.expansion import Expansion
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.density import DensityModel, DensitySpecification
from densnet_core.models.layout import CoefficientLayout

SMALLEST_S_SCALE = 1e-4
"""hartree^1/2 (Coulomb metric)."""


class EquivariantDensityModel(DensityModel):
    """Orthonormal amplitudes y = offset + scale * head(backbone), then c = W y, then the charge made exact.

    The excess of electrons is taken from the s amplitudes in proportion to scale^2 q, the least change in units of
    each amplitude's own spread. This last step is in float64 whatever the network's precision.

    Where the specification lets exponents move, the factor of each atom and l is f^tanh(x), x from a linear head on the
    scalar features, with f the largest factor. The head starts at zero, so training starts from the exponents of the
    basis.

    Parameters
    ----------
    backbone : Backbone
        Made for ``backbone_shape(specification)``.

    Raises
    ------
    InputError
        An element has no s function: the electron count of its molecules could not be made exact.
    """

    def __init__(self, specification: DensitySpecification, backbone: Backbone, options: Any = None) -> None:
        super().__init__(specification, options)
        self.backbone, self.cutoff = backbone, backbone.cutoff
        self.layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        for z, has_s in zip(specification.elements, self.layout.counts.any(dim=1).tolist(), strict=True):
            if not has_s:
                raise InputError(f"Basis {specification.basis.name!r} needs an s function for {symbol(z)}.")
        n_elements, width, n_l = len(specification.elements), self.layout.width, self.layout.l_max + 1
        self.head = nn.Parameter(torch.randn(n_l, backbone.channels, n_elements * width) * backbone.channels**-0.5)
        self.exponent_head: nn.Parameter | None = None
        self.exponent_bias: nn.Parameter | None = None
        if specification.adapts_exponents:
            self.exponent_head = nn.Parameter(torch.zeros(backbone.channels, n_elements * n_l))
            self.exponent_bias = nn.Parameter(torch.zeros(n_elements, n_l))
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", self.layout.present.clone())
        self.register_buffer("offset", torch.zeros(n_elements, width, dtype=torch.float64))

    @staticmethod
    def backbone_shape(specification: DensitySpecification) -> BackboneShape:
        return BackboneShape(specification.elements, -1, 0, specification.basis.max_l(specification.elements))

    def set_statistics(self, species: Tensor, amplitudes: Tensor) -> None:
        """Offset of the s amplitudes and scale of all from training amplitudes (n_components, n_atoms, width)."""
        layout = self.layout
        for index in range(len(layout.elements)):
            chosen = amplitudes[:, species == index]
            if chosen.shape[1] == 0:
                continue
            self.offset[index] = chosen[0].mean(0) * layout.present[index, 0]
            for l_ in range(layout.l_max + 1):
                rows = chosen[l_**2 : (l_ + 1) ** 2]
                rows = rows - self.offset[index] if l_ == 0 else rows
                spread = torch.sqrt((rows**2).mean(dim=(0, 1)))
                # A floor keeps shells that hardly vary in the sample able to respond; without any variation (a single
                # frame, say) s amplitudes still have to take up the charge.
                floor = max(float(spread.max()) * 0.05, SMALLEST_S_SCALE if l_ == 0 else 0.0)
                self.scale[index, l_] = spread.clamp(min=floor) * layout.present[index, l_]

    def forward(self, graph: Graph) -> Expansion:
        layout = self.layout
        species = layout.species(graph.numbers)
        features = self.backbone(graph, species, None)
        scales = self._scales(features[0], species)
        amplitudes = self._amplitudes(graph, features, species, scales)
        return Expansion(layout.coefficients(amplitudes, species, layout.flat_places(species), scales), scales)

    def _scales(self, scalars: Tensor, species: Tensor) -> Tensor | None:
        """(n_atoms, l_max + 1) float64 factors of the exponents, from scalar features (n_atoms, channels)."""
        if self.exponent_head is None or self.exponent_bias is None:
            return None
        n_elements, n_l = self.exponent_bias.shape
        rows = (scalars @ self.exponent_head).reshape(-1, n_elements, n_l)
        own = rows.gather(1, species[:, None, None].expand(-1, 1, n_l)).squeeze(1) + self.exponent_bias[species]
        return torch.exp(log(self.specification.largest_factor) * torch.tanh(own.to(torch.float64)))

    def _amplitudes(self, graph: Graph, features: Tensor, species: Tensor, scales: Tensor | None) -> Tensor:
        """Orthonormal amplitudes (n_components, n_atoms, width), float64, with exact electron count."""
        layout = self.layout
        n_components, n_atoms = features.shape[:2]
        raw = torch.bmm(features, self.head[layout.l_of_component])
        raw = raw.reshape(n_components, n_atoms, len(layout.elements), layout.width)
        index = species[None, :, None, None].expand(n_components, n_atoms, 1, layout.width)
        raw = raw.gather(2, index).squeeze(2).to(torch.float64)
        scaled = raw * self.scale[species][:, layout.l_of_component].transpose(0, 1)
        scalars = scaled[0] + self.offset[species]
        counts = layout.electron_counts(species, scales)
        weights = self.scale[:, 0][species] ** 2 * counts
        excess = graph.sum_over_molecules((scalars * counts).sum(-1)) + graph.charges
        capacity = graph.sum_over_molecules((weights * counts).sum(-1))
        scalars = scalars - weights * (excess / capacity)[graph.molecule][:, None]
        return torch.cat([scalars[None], scaled[1:]])
