"""The models pass DenSNet's own suites: symmetry, exact charge, size consistency, smoothness, statistics, export."""

from densnet_core.density.specification import DensitySpecification
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.testing.density_model import DensityModelTests
from densnet_core.testing.energy_model import EnergyModelTests

from densnet_bonds.config import BondsOptions
from densnet_bonds.density import BondsDensityModel
from densnet_bonds.energy import BondsEnergyModel
from densnet_bonds.response import BondsResponseModel

SMALL = BondsOptions(channels=4, hidden_width=8)


class TestBondsDensityModel(DensityModelTests):
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        return BondsDensityModel(specification, SMALL)


class TestBondsResponseModel(DensityModelTests):
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        return BondsResponseModel(specification, SMALL)


class TestBondsEnergyModel(EnergyModelTests):
    vanishing_derivatives = 2

    def make_model(self, specification: DensitySpecification) -> EnergyModel:
        return BondsEnergyModel(specification, SMALL)

    def make_density_model(self, specification: DensitySpecification) -> DensityModel:
        return BondsDensityModel(specification, SMALL)
