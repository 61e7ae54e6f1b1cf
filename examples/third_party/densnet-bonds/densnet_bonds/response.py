"""The density model ``bonds-response``: the density, and how it changes in a uniform electric field."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import torch
from densnet_core.basis.harmonics import gaunt
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import MakeBackbone
from densnet_core.models.statistics import amplitude_statistics, charge_scale
from torch import Tensor, nn

from densnet_bonds.config import BondsOptions
from densnet_bonds.density import BondsDensityModel, per_component, with_electrons
from densnet_bonds.features import Bonds, in_layout_order
from densnet_bonds.flow import BondFlow, gains


class BondsResponseModel(BondsDensityModel):
    """The model ``bonds`` with "density_response": d density / d F_x for the three directions x of a field.

    A response is a vector in x and a harmonic in (l, m) at once, so its amplitudes are made of what turns like that:

    - features B_L with L = l - 1 and l + 1, coupled with the direction of the field to l (an atom's own polarizability
      is B_0 in p functions);
    - products of a component of B_1 with B_l, which have the part that couplings of natural parity lack.

    No electrons come or go: between atoms they flow along each bond, in proportion to the field's component along it.
    DenSNet makes the polarizability from the response by itself.
    """

    densities = frozenset({"density", "density_response"})
    extra_l = 1

    def __init__(
        self,
        specification: DensitySpecification,
        options: BondsOptions | None = None,
        make_backbone: MakeBackbone | None = None,
    ) -> None:
        super().__init__(specification, options, make_backbone)
        options = options or BondsOptions()
        n_elements, layout = len(specification.elements), self.layout
        shape = (n_elements, layout.l_max + 1, 3, options.channels, layout.width)
        self.response_head = nn.Parameter(torch.randn(shape) * options.channels**-0.5)
        self.response_flow = BondFlow(n_elements, options.radial_functions, options.hidden_width)
        self.response_scale: Tensor
        self.register_buffer("response_scale", layout.present.clone())
        for l_ in range(layout.l_max + 1):
            for other in (l_ - 1, l_ + 1):
                if other >= 0:
                    coupling = gaunt(1, l_, other) * sqrt(4.0 * torch.pi / 3.0)
                    self.register_buffer(f"field_{l_}_{other}", torch.tensor(coupling), persistent=False)

    def fit_statistics(self, dataset: Dataset) -> None:
        """Those of the density, and the spread of the label "density_response"."""
        super().fit_statistics(dataset)
        if dataset.having("density_response"):
            self.response_scale.copy_(amplitude_statistics(self.layout, self._responses(dataset))[1])
            self.response_flow.unit.fill_(charge_scale(self.layout, self._responses(dataset)))

    def _responses(self, dataset: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        """Species and amplitudes of the responses, frame by frame."""
        layout = self.layout
        for i in dataset.having("density_response"):
            species = layout.species(torch.tensor(dataset.structures[i].numbers))
            for row in dataset.tensor("density_response", [i])[0]:
                amplitudes = layout.amplitudes(row, species, layout.flat_places(species))
                # The opposite field has the opposite response: with both, the mean is zero and only the spread is left.
                yield torch.cat([species, species]), torch.cat([amplitudes, -amplitudes], dim=1)

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        species = self.layout.species(graph.numbers)
        found = self.features(graph, species)
        return {
            "density": self.density(graph, species, *found),
            "density_response": self.response(graph, species, *found),
        }

    def response(
        self, graph: Graph, species: Tensor, bonds: Bonds, scalars: Tensor, tensors: list[Tensor]
    ) -> Expansion:
        """Coefficients (3, n_functions) that hold no electrons."""
        layout, scale = self.layout, self.response_scale[species]
        raw = [self._of_degree(l_, species, tensors) for l_ in range(layout.l_max + 1)]
        sent = self.response_flow.sent(graph, species, bonds, scalars)[:, None] * bonds.directions
        electrons, places, rows = gains(graph, sent), layout.flat_places(species), []
        for x in range(3):
            amplitudes = in_layout_order([one[:, x] for one in raw]).to(torch.float64) * per_component(layout, scale)
            s = with_electrons(layout, species, amplitudes[0], scale[:, 0], electrons[:, x])
            rows.append(layout.coefficients(torch.cat([s[None], amplitudes[1:]]), species, places))
        return Expansion(torch.stack(rows))

    def _of_degree(self, l_: int, species: Tensor, tensors: list[Tensor]) -> Tensor:
        """(n_atoms, 3, 2 l + 1, width) amplitudes in units of their spread."""
        below, above, beside = self.response_head[species][:, l_].unbind(1)
        result = torch.einsum("axc,amc,acw->axmw", tensors[1], tensors[l_], beside)
        for other, weights in ((l_ - 1, below), (l_ + 1, above)):
            if other >= 0:
                coupling = getattr(self, f"field_{l_}_{other}").to(weights.dtype)
                result = result + torch.einsum("xmn,anc,acw->axmw", coupling, tensors[other], weights)
        return result
