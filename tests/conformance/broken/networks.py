"""Networks with one mistake each, and the test of the suite that must fail for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.conventions import from_magnetic_order
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.config import DensityModelOptions, EnergyModelOptions
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.equivariant_energy import EquivariantEnergyModel
from densnet_core.testing.backbone import BackboneTests
from densnet_core.testing.density_model import DensityModelTests
from densnet_core.testing.energy_model import EnergyModelTests
from densnet_core.testing.neighbours import NeighbourBackbone, NeighbourDensityModel

Features = Tensor | None


class WrongOrder(NeighbourBackbone):
    """l = 1 as x, y, z."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        if found.shape[0] < 4:
            return found
        return torch.cat([found[:1], found[1:4][from_magnetic_order(1)], found[4:]])


class WrongParity(NeighbourBackbone):
    """A pseudoscalar mixed into the scalars: it turns as it should, but changes sign in a mirror."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        if found.shape[0] < 4:
            return found
        triple = (found[1:4, :, 0] * torch.linalg.cross(found[1:4, :, 1], found[1:4, :, 2], dim=0)).sum(0)
        return torch.cat([found[:1] + triple[:, None], found[1:]])


class JumpAtCutoff(NeighbourBackbone):
    """Neighbours are counted."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        near = (torch.linalg.vector_norm(graph.pair_vectors, dim=1) < self.cutoff).to(found.dtype)
        count = near.new_zeros(graph.n_atoms).index_add(0, graph.receivers, near)
        return torch.cat([found[:1] + 0.1 * count[:, None], found[1:]])


class KinkAtCutoff(NeighbourBackbone):
    """An envelope that goes to zero in a straight line."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        near = (1.0 - torch.linalg.vector_norm(graph.pair_vectors, dim=1) / self.cutoff).clamp(min=0.0)
        total = near.new_zeros(graph.n_atoms).index_add(0, graph.receivers, near).to(found.dtype)
        return torch.cat([found[:1] + total[:, None], found[1:]])


class Unlimited(NeighbourBackbone):
    """Pairs at any distance matter, whatever it says of its cutoff."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__(shape)
        self.cutoff = 5.0

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        self.cutoff = 40.0
        found = super().forward(graph, species, features)
        self.cutoff = 5.0
        return found


class NormalisedOverBatch(NeighbourBackbone):
    """The mean over all atoms of the batch is taken away."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        return torch.cat([found[:1] - found[:1].mean(1, keepdim=True), found[1:]])


class RoundedPositions(NeighbourBackbone):
    """Positions in the precision of the parameters."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return super().forward(graph.with_positions(graph.positions.to(self.embedding.dtype)), species, features)


class AbsolutePositions(NeighbourBackbone):
    """Distances from the origin."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        return torch.cat([found[:1] + 1e-3 * (graph.positions**2).sum(1)[:, None].to(found.dtype), found[1:]])


class Decision(NeighbourBackbone):
    """A branch that depends on a distance."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        if graph.senders.numel() and bool(torch.linalg.vector_norm(graph.pair_vectors, dim=1).min() < 0.5):
            found = 2.0 * found
        return found


class Frozen(NeighbourBackbone):
    """Harmonics computed in NumPy: no gradient goes through them."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return super().forward(graph.with_positions(graph.positions.detach()), species, features) + 0.0 * (
            graph.positions.sum().to(self.embedding.dtype)
        )


class Noise(NeighbourBackbone):
    """Random numbers in every call."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        return torch.cat([found[:1] * (1.0 + 1e-3 * torch.rand(1, dtype=found.dtype)), found[1:]])


class OwnSeed(NeighbourBackbone):
    """Parameters from NumPy's random numbers, which no seed of ours decides."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__(shape)
        random = np.random.default_rng().normal(size=tuple(self.embedding.shape))
        self.embedding.data = torch.tensor(random, dtype=self.embedding.dtype)


class IgnoredFeatures(NeighbourBackbone):
    """The input features are declared and ignored."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        zeros = None if features is None else 0.0 * features
        return super().forward(graph, species, zeros)


class OrientedStatistics(NeighbourBackbone):
    """Normalised by the extent of the molecules along x."""

    def fit_statistics(self, dataset: Dataset) -> None:
        super().fit_statistics(dataset)
        self.neighbours.fill_(float(np.mean([np.ptp(s.positions[:, 0]) for s in dataset.structures])))


class ForgottenStatistics(NeighbourBackbone):
    """The statistics are in an attribute and not in a buffer."""

    factor = 1.0

    def fit_statistics(self, dataset: Dataset) -> None:
        self.factor = 0.5

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return self.factor * super().forward(graph, species, features)


class Huge(NeighbourBackbone):
    """No normalisation at all."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return 1e3 * super().forward(graph, species, features)


BACKBONES: Final[dict[type[Backbone], str]] = {
    WrongOrder: "test_features_turn_with_the_molecule",
    WrongParity: "test_features_turn_with_the_molecule",
    JumpAtCutoff: "test_pairs_part_smoothly_at_the_cutoff",
    KinkAtCutoff: "test_pairs_part_smoothly_at_the_cutoff",
    Unlimited: "test_pairs_beyond_the_cutoff_do_not_matter",
    NormalisedOverBatch: "test_a_batch_equals_its_molecules",
    RoundedPositions: "test_nothing_depends_on_where_a_molecule_stands",
    AbsolutePositions: "test_nothing_depends_on_where_a_molecule_stands",
    Decision: "test_it_can_be_exported",
    Frozen: "test_gradients_are_right",
    Noise: "test_torchs_seed_decides_everything",
    OwnSeed: "test_torchs_seed_decides_everything",
    IgnoredFeatures: "test_gradients_are_right",
    OrientedStatistics: "test_statistics_do_not_depend_on_how_the_data_are_given",
    ForgottenStatistics: "test_saved_tensors_are_all_it_needs",
    Huge: "test_features_have_a_sane_size",
}


def backbone_suite(kind: type[Backbone]) -> BackboneTests:
    class Suite(BackboneTests):
        def make_backbone(self, shape: BackboneShape) -> Backbone:
            return kind(shape)

    return Suite()


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


class FarFromData(Equivariant):
    """Statistics that nobody took."""

    def fit_statistics(self, dataset: Dataset) -> None:
        self.scale *= 1e4


class WithoutTraining(Equivariant):
    """The head is not connected: nothing is learned."""

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        return self.changed(graph, lambda c: c.detach() + 0.0 * sum(p.sum() for p in self.parameters()))


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
    PerAtom: "test_fragments_beyond_the_cutoff_add_up",
    GlobalCharge: "test_fragments_beyond_the_cutoff_add_up",
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
