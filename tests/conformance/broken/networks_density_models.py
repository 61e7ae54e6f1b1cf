"""Density models with one mistake each, and the test of the suite that must fail for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from networks_backbones import (
    Decision,
    JumpAtCutoff,
    Noise,
    NormalisedOverBatch,
    RoundedPositions,
    WrongOrder,
)
from torch import Tensor, nn

from densnet_core.basis.conventions import to_magnetic_order
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone
from densnet_core.models.config import DensityModelOptions
from densnet_core.models.density import DensityModel
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.testing.density_model import DensityModelTests
from densnet_core.testing.neighbours import N_RADIAL, NeighbourBackbone, NeighbourDensityModel, edges


class SpreadCharge(EquivariantDensityModel):
    """The electron count is made exact over the whole molecule: charge leaks to distant fragments."""

    def __init__(self, specification: DensitySpecification) -> None:
        super().__init__(specification, DensityModelOptions(charge="spread", state_channels=4), NeighbourBackbone)


class Equivariant(EquivariantDensityModel):
    """Without a mistake; of those that follow each has one."""

    backbone_kind: type[Backbone] = NeighbourBackbone

    def __init__(self, specification: DensitySpecification) -> None:
        super().__init__(specification, DensityModelOptions(state_channels=4), self.backbone_kind)

    def changed(self, graph: Graph, change: Callable[[Tensor], Tensor]) -> dict[str, Expansion]:
        found = super().forward(graph)["density"]
        return {"density": replace(found, coefficients=change(found.coefficients))}


class WrongOrderOfFunctions(Equivariant):
    backbone_kind = WrongOrder


class DensityWithNoise(Equivariant):
    backbone_kind = Noise


class DensityOfBatch(Equivariant):
    backbone_kind = NormalisedOverBatch


class DensityInRoundedPlaces(Equivariant):
    backbone_kind = RoundedPositions


class DensityWithJump(Equivariant):
    backbone_kind = JumpAtCutoff


class DensityWithDecision(Equivariant):
    backbone_kind = Decision


class LostElectrons(Equivariant):
    """Everything a ten-millionth too large."""

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        return self.changed(graph, lambda c: c * (1.0 + 1e-6) + 1e-8)


class IgnoredCharge(NeighbourDensityModel):
    """Charge and multiplicity are declared, and only counted."""

    inputs = frozenset({"charge", "multiplicity"})


class Undeclared(Equivariant):
    """Another density than it says."""

    densities = frozenset({"density", "spin_density"})


class SinglePrecision(Equivariant):
    def forward(self, graph: Graph) -> dict[str, Expansion]:
        return self.changed(graph, lambda c: c.float())


class OrientedScale(Equivariant):
    """A spread of p functions along z alone."""

    def fit_statistics(self, dataset: Dataset) -> None:
        super().fit_statistics(dataset)
        z = [float(np.abs(s.positions[:, 2]).mean()) for s in dataset.structures]
        self.scale *= float(np.mean(z))


class FarFromData(NeighbourDensityModel):
    """Statistics that nobody took."""

    def fit_statistics(self, dataset: Dataset) -> None:
        self.scale *= 1e4


class WithoutTraining(Equivariant):
    """The head is not connected: nothing is learned."""

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        return self.changed(graph, lambda c: c.detach() + 0.0 * sum(p.sum() for p in self.parameters()))


class NeighbourResponse(NeighbourDensityModel):
    """Without a mistake: an isotropic polarizability of every atom, changed by its neighbours."""

    densities = frozenset({"density", "density_response"})

    def __init__(self, specification: DensitySpecification) -> None:
        super().__init__(specification)
        self.strength = nn.Parameter(torch.randn(len(specification.elements), N_RADIAL))

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        layout, species = self.layout, self.layout.species(graph.numbers)
        radial, _ = edges(graph, 1, self.strength.dtype)
        nearby = (radial * self.strength[species[graph.senders]]).sum(-1).to(torch.float64)
        size = torch.ones(graph.n_atoms, dtype=torch.float64).index_add(0, graph.receivers, nearby)
        rows = []
        for axis in to_magnetic_order(1).argsort():
            place = torch.zeros((layout.n_components, graph.n_atoms, layout.width), dtype=torch.float64)
            place[1 + int(axis), :, 0] = 1.0
            rows.append(layout.coefficients(place * size[:, None], species, layout.flat_places(species)))
        return {**super().forward(graph), "density_response": Expansion(torch.stack(rows))}


class WrongResponse(NeighbourDensityModel):
    """A response that does not turn with the field."""

    densities = frozenset({"density", "density_response"})

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        found = super().forward(graph)
        c = found["density"].coefficients
        return {**found, "density_response": Expansion(torch.stack([c, 2.0 * c, 3.0 * c]))}


DENSITY_MODELS: Final[dict[type[DensityModel], str]] = {
    SpreadCharge: "test_fragments_beyond_the_cutoff_change_nothing",
    WrongOrderOfFunctions: "test_the_density_turns_with_the_molecule",
    DensityWithNoise: "test_torchs_seed_decides_everything",
    DensityOfBatch: "test_a_batch_equals_its_molecules",
    DensityInRoundedPlaces: "test_nothing_depends_on_where_a_molecule_stands",
    DensityWithJump: "test_pairs_part_smoothly_at_the_cutoff",
    DensityWithDecision: "test_it_can_be_exported",
    LostElectrons: "test_the_electron_count_is_exact",
    IgnoredCharge: "test_charge_and_multiplicity_are_used_if_declared",
    Undeclared: "test_it_returns_the_densities_that_it_declares",
    SinglePrecision: "test_it_returns_the_densities_that_it_declares",
    OrientedScale: "test_statistics_do_not_depend_on_how_the_data_are_given",
    FarFromData: "test_training_starts_near_the_data",
    WithoutTraining: "test_training_lowers_the_loss",
    WrongResponse: "test_a_response_turns_as_a_vector_and_may_be_symmetric",
}


def density_suite(kind: type[DensityModel]) -> DensityModelTests:
    class Suite(DensityModelTests):
        def make_model(self, specification: DensitySpecification) -> DensityModel:
            return kind(specification)

    return Suite()
