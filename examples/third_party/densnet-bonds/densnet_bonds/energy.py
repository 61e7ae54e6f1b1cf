"""The energy model ``bonds``: every atom's energy from its bonds and from its part of the density."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from densnet_core.basis.conventions import from_magnetic_order
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import MakeBackbone
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.statistics import amplitude_statistics, energy_unit, reference_energies
from torch import Tensor, nn

from densnet_bonds.config import BondsOptions
from densnet_bonds.density import per_component
from densnet_bonds.features import BondFeatures


class BondsEnergyModel(EnergyModel):
    """E = sum_A (E_element + unit * network(scalars of the bonds, D_0, D_l . D_l, B_l . D_l)).

    D_l = M y_l are the orthonormal amplitudes of the predicted density on the atom, in units of their spread, mixed to
    channels; B_l are the tensors of its bonds. So the network sees a quadratic form of the density for every l, and how
    the density lies with respect to the bonds.
    """

    def __init__(
        self,
        specification: DensitySpecification,
        options: BondsOptions | None = None,
        make_backbone: MakeBackbone | None = None,
    ) -> None:
        super().__init__(specification, options, make_backbone)
        options = options or BondsOptions()
        self.layout = layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        n_elements, n_l, channels = len(specification.elements), layout.l_max + 1, options.channels
        self.features = BondFeatures(n_elements, max(layout.l_max, 1), options)
        self.cutoff = self.features.cutoff
        self.mixing = nn.Parameter(torch.randn(n_elements, n_l, layout.width, channels) * layout.width**-0.5)
        self.network = nn.Sequential(
            nn.Linear(options.hidden_width + 2 * n_l * channels, options.hidden_width),
            nn.SiLU(),
            nn.Linear(options.hidden_width, options.hidden_width),
            nn.SiLU(),
            nn.Linear(options.hidden_width, 1, bias=False),
        )
        self.scale: Tensor
        self.offset: Tensor
        self.atomic_energies: Tensor
        self.unit: Tensor
        self.register_buffer("scale", torch.ones_like(layout.present))
        self.register_buffer("offset", torch.zeros(n_elements, layout.width, dtype=torch.float64))
        self.register_buffer("atomic_energies", torch.zeros(n_elements, dtype=torch.float64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        """Spread of the amplitudes that the density model predicts, atomic energies, and the unit of the network."""
        offset, scale = amplitude_statistics(self.layout, self._predicted(dataset, density_model))
        self.offset.copy_(offset)
        self.scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))  # where there is no function
        elements, states = self.specification.elements, self.specification.states
        self.atomic_energies.copy_(torch.tensor(reference_energies(dataset, elements, states)[0]))
        self.unit.fill_(energy_unit(dataset))

    def _predicted(self, dataset: Dataset, density_model: DensityModel) -> Iterator[tuple[Tensor, Tensor]]:
        """Species and amplitudes of the atoms of all frames, some frames at a time."""
        for portion in dataset.portions():
            with torch.no_grad():
                graph = dataset.graph(portion, density_model.cutoff)
                species = self.layout.species(graph.numbers)
                amplitudes = self._amplitudes(species, density_model(graph)["density"])
            yield species, amplitudes

    def forward(self, graph: Graph, densities: Mapping[str, Expansion]) -> dict[str, Tensor]:
        layout, dtype = self.layout, self.mixing.dtype
        species = layout.species(graph.numbers)
        _, scalars, tensors = self.features(graph, species)
        amplitudes = self._amplitudes(species, densities["density"])
        amplitudes = torch.cat([(amplitudes[0] - self.offset[species])[None], amplitudes[1:]])
        reduced = (amplitudes / per_component(layout, self.scale[species])).to(dtype).transpose(0, 1)
        mixing, found = self.mixing[species], [scalars]
        for l_ in range(layout.l_max + 1):
            own = reduced[:, l_**2 : (l_ + 1) ** 2][:, from_magnetic_order(l_)]
            mixed = torch.einsum("amw,awc->amc", own, mixing[:, l_])
            found += [mixed[:, 0] if l_ == 0 else (mixed**2).mean(1), (mixed * tensors[l_]).mean(1)]
        atomic = self.network(torch.cat(found, dim=1)).squeeze(1).to(torch.float64)
        # Summed in float64: atomic energies are large and what the network adds is small.
        return {"energy": graph.sum_over_molecules(self.atomic_energies[species] + self.unit * atomic)}

    def _amplitudes(self, species: Tensor, density: Expansion) -> Tensor:
        """((l_max + 1)^2, n_atoms, width); comparable between atoms if the density model moves exponents, too."""
        layout, places = self.layout, self.layout.flat_places(species)
        if density.scales is None:
            return layout.amplitudes(density.coefficients, species, places)
        return layout.projected_amplitudes(density.coefficients, species, places, density.scales)
