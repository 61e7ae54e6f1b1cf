"""The standard energy model: a backbone that reads the density's amplitudes, and a sum of atomic energies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.backbone import BackboneShape, MakeBackbone
from densnet_core.models.config import EnergyModelOptions
from densnet_core.models.density import DensityModel, densities_up_to, required_backbone
from densnet_core.models.energy import EnergyModel
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.states import StateEmbedding, state_indices
from densnet_core.models.statistics import (
    amplitude_statistics,
    energy_unit,
    reference_energies,
    training_amplitudes,
)


class EquivariantEnergyModel(EnergyModel):
    """E = sum_A (E_A + scale * head(backbone(amplitudes)_A)) + sum_F E_F, summed in float64.

    The amplitudes are the orthonormal ones of ``CoefficientLayout``, in units of their spread in the training data,
    mapped to channels by one matrix per element and angular momentum. Where exponents move, they are those of the
    atoms' densities projected on the functions of the basis: the energy depends on the density, not on the functions
    it happens to be expanded in. E_F belongs to a fragment's charge and multiplicity, where these differ in the
    training data.
    """

    inputs = frozenset({"charge", "multiplicity"})

    def __init__(
        self,
        specification: DensitySpecification,
        options: EnergyModelOptions | None = None,
        make_backbone: MakeBackbone | None = None,
    ) -> None:
        super().__init__(specification, options, make_backbone)
        options = options or EnergyModelOptions()
        self.layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        n_elements, width = len(specification.elements), self.layout.width
        self.l_in = min(options.l_in, self.layout.l_max)
        shape = BackboneShape(specification.elements, self.l_in, options.channels_in, 0)
        self.backbone = required_backbone(type(self).__name__, shape, make_backbone)
        self.cutoff = self.backbone.cutoff
        many = len(specification.states) > 1
        self.states = (
            StateEmbedding(specification.states, specification.elements, options.channels_in) if many else None
        )
        self.embedding = nn.Parameter(torch.randn(n_elements, self.l_in + 1, width, options.channels_in) * width**-0.5)
        self.hidden = nn.Linear(self.backbone.channels, options.head_width)
        self.output = nn.Linear(options.head_width, 1, bias=False)
        self.amplitude_scale: Tensor
        self.amplitude_offset: Tensor
        self.atomic_energies: Tensor
        self.state_energies: Tensor
        self.energy_scale: Tensor
        self.register_buffer("amplitude_scale", torch.ones_like(self.layout.present))
        self.register_buffer("amplitude_offset", torch.zeros(n_elements, width, dtype=torch.float64))
        self.register_buffer("atomic_energies", torch.zeros(n_elements, dtype=torch.float64))
        self.register_buffer("state_energies", torch.zeros(len(specification.states), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        """Spread and mean of the amplitudes, least-squares energies of elements and states, the unit of energy."""
        offset, scale = self._amplitude_statistics(dataset, density_model)
        self.amplitude_scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))
        self.amplitude_offset.copy_(offset)
        specification = self.specification
        atomic, of_state = reference_energies(dataset, specification.elements, specification.states)
        self.atomic_energies.copy_(torch.tensor(atomic))
        self.state_energies.copy_(torch.tensor(of_state))
        self.energy_scale.fill_(energy_unit(dataset))
        self.backbone.fit_statistics(dataset)

    def _amplitude_statistics(self, dataset: Dataset, density_model: DensityModel) -> tuple[Tensor, Tensor]:
        """Of the reference densities; of predicted ones where the data set has none."""
        if dataset.having("density"):
            return amplitude_statistics(self.layout, training_amplitudes(dataset, self.specification, self.layout))
        return amplitude_statistics(self.layout, self._predicted(dataset, density_model))

    def _predicted(self, dataset: Dataset, density_model: DensityModel) -> Iterator[tuple[Tensor, Tensor]]:
        for portion in dataset.portions():
            with torch.no_grad():
                graph = dataset.graph(portion, density_model.cutoff)
                species = self.layout.species(graph.numbers)
                difference = densities_up_to(density_model, graph, None, self.densities)["density"]
                amplitudes = self._amplitudes(species, difference)
            yield species, amplitudes

    def _amplitudes(self, species: Tensor, difference: Expansion) -> Tensor:
        layout, places = self.layout, self.layout.flat_places(species)
        if difference.scales is None:
            return layout.amplitudes(difference.coefficients, species, places)
        return layout.projected_amplitudes(difference.coefficients, species, places, difference.scales)

    @property
    def element_energies(self) -> dict[int, float]:
        return dict(zip(self.layout.elements, self.atomic_energies.tolist(), strict=True))

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        layout, states = self.layout, self.specification.states
        elements, width = layout.elements, range(layout.width)
        channels = range(self.embedding.shape[3])
        return {
            "embedding": (elements, range(self.l_in + 1), width, channels),
            "amplitude_scale": (elements, range(layout.l_max + 1), width),
            "amplitude_offset": (elements, width),
            "atomic_energies": (elements,),
            "state_energies": (states,),
        }

    def forward(self, graph: Graph, densities: Mapping[str, Expansion]) -> dict[str, Tensor]:
        layout, dtype = self.layout, self.hidden.weight.dtype
        species = layout.species(graph.numbers)
        amplitudes = self._amplitudes(species, densities["density"])
        scalars = amplitudes[:1] - self.amplitude_offset[species]
        n_components = (self.l_in + 1) ** 2
        spread = self.amplitude_scale[species][:, layout.l_of_component[:n_components]].transpose(0, 1)
        reduced = (torch.cat([scalars, amplitudes[1:n_components]]) / spread).to(dtype)
        embedding = self.embedding[species][:, layout.l_of_component[:n_components]]
        features = torch.einsum("maw,amwc->mac", reduced, embedding)
        if self.states is not None:
            features = torch.cat([features[:1] + self.states(graph, species)[None], features[1:]])
        scalar_features = self.backbone(graph, species, features)[0]
        atomic = self.output(nn.functional.silu(self.hidden(scalar_features))).squeeze(-1)
        energies = graph.sum_over_molecules(
            self.atomic_energies[species] + self.energy_scale * atomic.to(torch.float64)
        )
        if self.states is not None:
            own = self.state_energies[state_indices(self.states.table, graph)[0]]
            energies = energies.index_add(0, graph.fragment_molecule, own)
        return {"energy": energies}
