"""The suites for networks catch the mistakes they exist for: each fault fails the test named beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from densnet_core.errors import PluginError
from densnet_core.models.backbone import Backbone
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.testing.backbone import BackboneTests
from densnet_core.testing.comparisons import failures
from densnet_core.testing.network_data import WATER, example_specification
from densnet_core.testing.quick import quick_check

sys.path.insert(0, str(Path(__file__).parent / "broken"))
import networks as broken


def named(kind: type) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", broken.BACKBONES, ids=named)
def test_broken_backbones_fail(kind: type[Backbone]) -> None:
    with pytest.raises(AssertionError, match=r"\w+"):
        getattr(broken.backbone_suite(kind), broken.BACKBONES[kind])()


@pytest.mark.parametrize("kind", broken.DENSITY_MODELS, ids=named)
def test_broken_density_models_fail(kind: type[DensityModel]) -> None:
    with pytest.raises(AssertionError, match=r"\w+"):
        getattr(broken.density_suite(kind), broken.DENSITY_MODELS[kind])()


@pytest.mark.parametrize("kind", broken.ENERGY_MODELS, ids=named)
def test_broken_energy_models_fail(kind: type[EnergyModel]) -> None:
    with pytest.raises(AssertionError, match=r"\w+"):
        getattr(broken.energy_suite(kind), broken.ENERGY_MODELS[kind])()


def test_what_the_faults_are_made_from_has_none() -> None:
    """Else a fault could hide behind another."""
    for suite, table in (
        (broken.density_suite(broken.Equivariant), broken.DENSITY_MODELS),
        (broken.energy_suite(broken.EquivariantEnergy), broken.ENERGY_MODELS),
    ):
        for name in {*table.values()} - {
            "test_a_response_turns_as_a_vector_and_may_be_symmetric",
            "test_it_can_be_exported",
        }:
            getattr(suite, name)()


def test_a_suite_runs_without_pytest_and_tells_what_fails() -> None:
    class OneTest(BackboneTests):
        def make_backbone(self, shape: object) -> Backbone:
            return broken.WrongOrder(shape)

    kept = ("test_features_turn_with_the_molecule", "test_a_lone_atom_is_round")
    for name in dir(BackboneTests):
        if name.startswith("test_") and name not in kept:
            setattr(OneTest, name, lambda self: None)
    found = failures(OneTest())
    assert list(found) == [kept[0]]
    assert "l = 1" in found[kept[0]]
    assert "y, z, x" in found[kept[0]]


def models(density: type[DensityModel], energy: type[EnergyModel]) -> tuple[DensityModel, EnergyModel]:
    specification = example_specification()
    return density(specification), energy(specification)


def test_the_quick_check_passes_and_leaves_the_networks_alone() -> None:
    both = models(broken.Equivariant, broken.EquivariantEnergy)
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in both]
    quick_check(*both, WATER)
    for model, old in zip(both, before, strict=True):
        assert all((value == old[name]).all() and value.dtype == old[name].dtype
                   for name, value in model.state_dict().items())  # fmt: skip
        assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("density", "energy", "sentence"),
    [
        (broken.WrongOrderOfFunctions, broken.EquivariantEnergy,
         r"WrongOrderOfFunctions gives H2O turned differs by \S+ of its largest coefficient.*l = 1 are probably in the "
         r"wrong order"),
        (broken.LostElectrons, broken.EquivariantEnergy, r"LostElectrons gives H2O holds .* electrons; expected 0"),
        (broken.DensityWithNoise, broken.EquivariantEnergy, r"random numbers are drawn"),
        (broken.DensityWithDecision, broken.EquivariantEnergy, r"DensityWithDecision.* cannot be exported"),
        (broken.Undeclared, broken.EquivariantEnergy, r"Undeclared returns density, but declares"),
        (broken.Equivariant, broken.DetachedDensity, r"DetachedDensity and Equivariant is .* by autograd and"),
        (broken.Equivariant, broken.EnergyOfPlaces, r"EnergyOfPlaces gives H2O moved far away differs by"),
        (broken.Equivariant, broken.SummedInSinglePrecision, r"SummedInSinglePrecision returns energy \(1,\) "),
    ],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)  # fmt: skip
def test_the_quick_check_names_model_and_mistake(
    density: type[DensityModel], energy: type[EnergyModel], sentence: str
) -> None:
    with pytest.raises(PluginError, match=f"(?s){sentence}"):
        quick_check(*models(density, energy), WATER)
