"""Energy models with one mistake each, and the test of the suite that must fail for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from networks_backbones import (
    AbsolutePositions,
    Decision,
    JumpAtCutoff,
    Noise,
    NormalisedOverBatch,
    RoundedPositions,
)
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone
from densnet_core.models.config import EnergyModelOptions
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.equivariant_energy import EquivariantEnergyModel
from densnet_core.testing.energy_model import EnergyModelTests
from densnet_core.testing.neighbours import NeighbourBackbone


class EquivariantEnergy(EquivariantEnergyModel):
    """Without a mistake; of those that follow each has one."""

    backbone_kind: type[Backbone] = NeighbourBackbone

    def __init__(self, specification: DensitySpecification) -> None:
        super().__init__(specification, EnergyModelOptions(channels_in=5, head_width=8), self.backbone_kind)


class NoAtomicEnergies(EquivariantEnergy):
    """As of a third party that does not know that it must take them itself."""

    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        super().fit_statistics(dataset, density_model)
        self.atomic_energies.zero_()


class DetachedDensity(EquivariantEnergy):
    """Forces do not go through the density."""

    def forward(self, graph: Graph, densities: dict[str, Expansion]) -> dict[str, Tensor]:  # type: ignore[override]
        held = densities["density"]
        return super().forward(graph, {"density": replace(held, coefficients=held.coefficients.detach())})


class BlindToDensity(EquivariantEnergy):
    """The density is read and ignored."""

    def forward(self, graph: Graph, densities: dict[str, Expansion]) -> dict[str, Tensor]:  # type: ignore[override]
        held = densities["density"]
        return super().forward(graph, {"density": replace(held, coefficients=0.0 * held.coefficients)})


class SummedInSinglePrecision(EquivariantEnergy):
    def forward(self, graph: Graph, densities: dict[str, Expansion]) -> dict[str, Tensor]:  # type: ignore[override]
        return {name: value.float() for name, value in super().forward(graph, densities).items()}


class PerAtom(EquivariantEnergy):
    """Divided by the number of atoms: two molecules do not add up."""

    def forward(self, graph: Graph, densities: dict[str, Expansion]) -> dict[str, Tensor]:  # type: ignore[override]
        return {"energy": super().forward(graph, densities)["energy"] / graph.sizes}


class GlobalCharge(EquivariantEnergy):
    """Sees the charge of the whole molecule, not of the fragment."""

    def forward(self, graph: Graph, densities: dict[str, Expansion]) -> dict[str, Tensor]:  # type: ignore[override]
        return {"energy": super().forward(graph, densities)["energy"] + 1e-3 * graph.molecule_charge * graph.sizes}


class IgnoredState(EquivariantEnergy):
    """Charge and multiplicity are declared and ignored."""

    def forward(self, graph: Graph, densities: dict[str, Expansion]) -> dict[str, Tensor]:  # type: ignore[override]
        charge, multiplicity = torch.zeros_like(graph.charge), torch.ones_like(graph.multiplicity)
        return super().forward(replace(graph, charge=charge, multiplicity=multiplicity), densities)


class EnergyWithDecision(EquivariantEnergy):
    backbone_kind = Decision


class EnergyWithJump(EquivariantEnergy):
    backbone_kind = JumpAtCutoff


class EnergyOfBatch(EquivariantEnergy):
    backbone_kind = NormalisedOverBatch


class EnergyOfPlaces(EquivariantEnergy):
    backbone_kind = AbsolutePositions


class EnergyInRoundedPlaces(EquivariantEnergy):
    backbone_kind = RoundedPositions


class EnergyWithNoise(EquivariantEnergy):
    backbone_kind = Noise


class OrientedEnergyScale(EquivariantEnergy):
    """The unit of energy from forces along x."""

    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        super().fit_statistics(dataset, density_model)
        forces = [dataset.value("forces", i)[:, 0] for i in range(len(dataset))]
        self.energy_scale.fill_(float(np.sqrt(np.mean(np.concatenate(forces) ** 2))))


ENERGY_MODELS: Final[dict[type[EnergyModel], str]] = {
    NoAtomicEnergies: "test_training_starts_at_the_energies_of_free_atoms",
    DetachedDensity: "test_forces_are_the_slope_of_the_energy",
    BlindToDensity: "test_the_energy_depends_on_the_density_and_is_differentiable_in_it",
    SummedInSinglePrecision: "test_it_returns_the_outputs_that_it_declares",
    PerAtom: "test_distant_fragments_add_up_or_interact_as_their_densities_do",
    GlobalCharge: "test_distant_fragments_add_up_or_interact_as_their_densities_do",
    IgnoredState: "test_charge_and_multiplicity_are_used_if_declared",
    EnergyWithDecision: "test_it_can_be_exported",
    EnergyWithJump: "test_pairs_part_smoothly_at_the_cutoff",
    EnergyOfBatch: "test_a_batch_equals_its_molecules",
    EnergyOfPlaces: "test_nothing_depends_on_where_a_molecule_stands",
    EnergyInRoundedPlaces: "test_nothing_depends_on_where_a_molecule_stands",
    EnergyWithNoise: "test_torchs_seed_decides_everything",
    OrientedEnergyScale: "test_statistics_do_not_depend_on_how_the_data_are_given",
}


def energy_suite(kind: type[EnergyModel]) -> EnergyModelTests:
    class Suite(EnergyModelTests):
        def make_model(self, specification: DensitySpecification) -> EnergyModel:
            return kind(specification)

    return Suite()
