"""The suites for networks catch the mistakes they exist for: each fault fails the test named beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import PluginError
from densnet_core.models.backbone import Backbone
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.testing.backbone import BackboneTests
from densnet_core.testing.density_model import DensityModelTests
from densnet_core.testing.network_data import WATER, example_specification
from densnet_core.testing.quick import quick_check
from densnet_core.testing.suites import run_suite

sys.path.insert(0, str(Path(__file__).parent / "broken"))
import networks_backbones as backbones
import networks_density_models as densities
import networks_energy_models as energies


def named(kind: type) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", backbones.BACKBONES, ids=named)
def test_broken_backbones_fail(kind: type[Backbone]) -> None:
    with pytest.raises(AssertionError, match=r"\w+"):
        getattr(backbones.backbone_suite(kind), backbones.BACKBONES[kind])()


@pytest.mark.parametrize("kind", densities.DENSITY_MODELS, ids=named)
def test_broken_density_models_fail(kind: type[DensityModel]) -> None:
    with pytest.raises(AssertionError, match=r"\w+"):
        getattr(densities.density_suite(kind), densities.DENSITY_MODELS[kind])()


@pytest.mark.parametrize("kind", energies.ENERGY_MODELS, ids=named)
def test_broken_energy_models_fail(kind: type[EnergyModel]) -> None:
    with pytest.raises(AssertionError, match=r"\w+"):
        getattr(energies.energy_suite(kind), energies.ENERGY_MODELS[kind])()


def test_what_the_faults_are_made_from_has_none() -> None:
    """Else a fault could hide behind another; what is left out has another base, or passes elsewhere."""
    left_out = {
        "test_a_response_turns_as_a_vector_and_may_be_symmetric",
        "test_it_can_be_exported",
        "test_training_starts_near_the_data",
    }
    for suite, table in (
        (densities.density_suite(densities.Equivariant), densities.DENSITY_MODELS),
        (energies.energy_suite(energies.EquivariantEnergy), energies.ENERGY_MODELS),
    ):
        for name in {*table.values()} - left_out:
            getattr(suite, name)()


class TestResponse(DensityModelTests):
    """A model with a response can pass."""

    symmetric_response = True

    def make_model(self, specification: DensitySpecification) -> DensityModel:
        return densities.NeighbourResponse(specification)


def test_a_suite_runs_on_a_class_and_tells_what_fails() -> None:
    suite = BackboneTests.of_component(backbones.WrongOrder, lambda: None)  # type: ignore[arg-type, return-value]
    (found,) = run_suite(suite, test="test_features_turn_with_the_molecule")
    assert found.outcome == "failed"
    assert "l = 1" in found.report
    assert "y, z, x" in found.report


def models(density: type[DensityModel], energy: type[EnergyModel]) -> tuple[DensityModel, EnergyModel]:
    specification = example_specification()
    return density(specification), energy(specification)


def test_the_quick_check_passes_and_leaves_the_networks_alone() -> None:
    both = models(densities.Equivariant, energies.EquivariantEnergy)
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in both]
    quick_check(*both, WATER)
    for model, old in zip(both, before, strict=True):
        assert all((value == old[name]).all() and value.dtype == old[name].dtype
                   for name, value in model.state_dict().items())  # fmt: skip
        assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("density", "energy", "sentence"),
    [
        (densities.WrongOrderOfFunctions, energies.EquivariantEnergy,
         r"WrongOrderOfFunctions gives H2O turned differs by \S+ of its largest coefficient.*l = 1 are probably in the "
         r"wrong order"),
        (densities.LostElectrons, energies.EquivariantEnergy, r"LostElectrons gives H2O holds .* electrons"),
        (densities.DensityWithNoise, energies.EquivariantEnergy, r"random numbers are drawn"),
        (densities.DensityWithDecision, energies.EquivariantEnergy, r"DensityWithDecision.* cannot be exported"),
        (densities.Undeclared, energies.EquivariantEnergy, r"Undeclared returns density, but declares"),
        (densities.Equivariant, energies.DetachedDensity, r"DetachedDensity and Equivariant is .* by autograd and"),
        (densities.Equivariant, energies.EnergyOfPlaces, r"EnergyOfPlaces gives H2O moved far away differs by"),
        (densities.Equivariant, energies.SummedInSinglePrecision, r"SummedInSinglePrecision returns energy \(1,\) "),
    ],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)  # fmt: skip
def test_the_quick_check_names_model_and_mistake(
    density: type[DensityModel], energy: type[EnergyModel], sentence: str
) -> None:
    with pytest.raises(PluginError, match=f"(?s){sentence}"):
        quick_check(*models(density, energy), WATER)
