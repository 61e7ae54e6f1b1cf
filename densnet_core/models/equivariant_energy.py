"""The standard energy model: a backbone that reads the density's amplitudes, and a sum of atomic energies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.density.expansion import Expansion
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.config import EnergyModelOptions
from densnet_core.models.density import DensitySpecification
from densnet_core.models.energy import EnergyModel
from densnet_core.models.layout import CoefficientLayout


class EquivariantEnergyModel(EnergyModel):
    """E = sum_A (E_A + scale * head(backbone(amplitudes)_A)), summed in float64.

    The amplitudes are the orthonormal ones of ``CoefficientLayout``, in units of their spread in the training data,
    mapped to channels by one matrix per element and angular momentum. Where exponents move, they are those of the
    atoms' densities projected on the functions of the basis: the energy depends on the density, not on the functions
    it happens to be expanded in.

    Parameters
    ----------
    backbone : Backbone
        Made for ``backbone_shape(specification, options)``.
    """

    def __init__(
        self, specification: DensitySpecification, backbone: Backbone, options: EnergyModelOptions | None = None
    ) -> None:
        super().__init__(specification, options)
        options = options or EnergyModelOptions()
        self.backbone, self.cutoff = backbone, backbone.cutoff
        self.layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        n_elements, width = len(specification.elements), self.layout.width
        self.l_in, channels = backbone.shape.l_in, backbone.shape.channels_in
        self.embedding = nn.Parameter(torch.randn(n_elements, self.l_in + 1, width, channels) * width**-0.5)
        self.hidden = nn.Linear(backbone.channels, options.head_width)
        self.output = nn.Linear(options.head_width, 1, bias=False)
        self.amplitude_scale: Tensor
        self.amplitude_offset: Tensor
        self.atomic_energies: Tensor
        self.energy_scale: Tensor
        self.register_buffer("amplitude_scale", torch.ones_like(self.layout.present))
        self.register_buffer("amplitude_offset", torch.zeros(n_elements, width, dtype=torch.float64))
        self.register_buffer("atomic_energies", torch.zeros(n_elements, dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @staticmethod
    def backbone_shape(specification: DensitySpecification, options: Any = None) -> BackboneShape:
        options = options or EnergyModelOptions()
        l_in = min(options.l_in, specification.basis.max_l(specification.elements))
        return BackboneShape(specification.elements, l_in, options.channels_in, 0)

    def set_statistics(self, scale: Tensor, offset: Tensor, atomic_energies: Tensor, energy_scale: float) -> None:
        """Spread and mean of the amplitudes (as in the density model), E_A (n_elements,) and energy unit, hartree."""
        self.amplitude_scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))
        self.amplitude_offset.copy_(offset)
        self.atomic_energies.copy_(atomic_energies)
        self.energy_scale.fill_(energy_scale)

    def forward(self, graph: Graph, difference: Expansion) -> Tensor:
        layout, dtype = self.layout, self.hidden.weight.dtype
        species = layout.species(graph.numbers)
        places = layout.flat_places(species)
        if difference.scales is None:
            amplitudes = layout.amplitudes(difference.coefficients, species, places)
        else:
            amplitudes = layout.projected_amplitudes(difference.coefficients, species, places, difference.scales)
        scalars = amplitudes[:1] - self.amplitude_offset[species]
        n_components = (self.l_in + 1) ** 2
        spread = self.amplitude_scale[species][:, layout.l_of_component[:n_components]].transpose(0, 1)
        reduced = (torch.cat([scalars, amplitudes[1:n_components]]) / spread).to(dtype)
        embedding = self.embedding[species][:, layout.l_of_component[:n_components]]
        features = torch.einsum("maw,amwc->mac", reduced, embedding)
        scalar_features = self.backbone(graph, species, features)[0]
        atomic = self.output(nn.functional.silu(self.hidden(scalar_features))).squeeze(-1)
        energies = self.atomic_energies[species] + self.energy_scale * atomic.to(torch.float64)
        return graph.sum_over_molecules(energies)
