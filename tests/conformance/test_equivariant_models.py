"""The models that ship with the core pass the core's suites, on both backbones that are at hand."""

from densnet_e3nn.backbone import E3nnBackbone
from densnet_e3nn.config import E3nnOptions

from densnet_core.density.specification import DensitySpecification
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.config import DensityModelOptions, EnergyModelOptions, SharedEnergyOptions
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.equivariant_energy import EquivariantEnergyModel
from densnet_core.models.shared_energy import SharedEnergyModel
from densnet_core.testing.density_model import DensityModelTests
from densnet_core.testing.energy_model import EnergyModelTests
from densnet_core.testing.neighbours import NeighbourBackbone, NeighbourDensityModel

SMALL = E3nnOptions(channels=6, layers=2, l_max=2, l_max_edge=2, radial_functions=5, radial_width=8)


def small_backbone(shape: BackboneShape) -> Backbone:
    return E3nnBackbone(shape, SMALL)


class TestEquivariantDensityModel(DensityModelTests):
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        return EquivariantDensityModel(specification, DensityModelOptions(state_channels=4), small_backbone)


class TestResponseToFields(DensityModelTests):
    vanishing_derivatives = 2
    symmetric_response = True

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        options = DensityModelOptions(state_channels=4, response=True)
        return EquivariantDensityModel(specification, options, small_backbone)


class TestResponseWithMovingExponents(TestResponseToFields):
    largest_factor = 1.5

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        options = DensityModelOptions(state_channels=4, response=True)
        return EquivariantDensityModel(specification, options, NeighbourBackbone)


class TestMovingExponents(DensityModelTests):
    largest_factor = 1.5
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        return EquivariantDensityModel(specification, DensityModelOptions(state_channels=4), NeighbourBackbone)


class TestNeighbourDensityModel(DensityModelTests):
    """Of the suite itself: a model that shares no code with the core's, but the layout of coefficients."""

    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        return NeighbourDensityModel(specification)


class TestEquivariantEnergyModel(EnergyModelTests):
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> EnergyModel:
        return EquivariantEnergyModel(specification, EnergyModelOptions(channels_in=5, head_width=8), small_backbone)


class TestSharedEnergyModel(EnergyModelTests):
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> EnergyModel:
        n_invariants = self.make_density_model(specification).n_invariants
        return SharedEnergyModel(specification, SharedEnergyOptions(head_width=32), n_invariants=n_invariants)


class TestLongRange(TestSharedEnergyModel):
    """With the interaction of the predicted densities, which begins within the molecules of the suite."""

    def make_model(self, specification: DensitySpecification) -> EnergyModel:
        options = SharedEnergyOptions(head_width=32, long_range="coulomb", long_range_angstrom=2.0)
        n_invariants = self.make_density_model(specification).n_invariants
        return SharedEnergyModel(specification, options, n_invariants=n_invariants)


class TestSharedFeatures(TestSharedEnergyModel):
    """On the density model that it is made for."""

    def make_density_model(self, specification: DensitySpecification) -> DensityModel:
        return EquivariantDensityModel(specification, DensityModelOptions(state_channels=4), NeighbourBackbone)
