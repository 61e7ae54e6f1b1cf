"""The suite for potentials: ours pass it, and each broken implementation beside it fails the test named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.base import Potential
from densnet_core.structures import Structure
from densnet_core.testing.potential import PotentialTests
from densnet_core.testing.potentials import PairPotential, ValencePotential

sys.path.insert(0, str(Path(__file__).parent / "broken"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import network_examples as example
import potentials as broken

TESTS = [name for name in vars(PotentialTests) if name.startswith("test_")]


def distorted(structure: Structure) -> list[Structure]:
    random = np.random.default_rng(3)
    return [
        structure.with_positions(structure.positions + random.normal(scale=0.1, size=structure.positions.shape))
        for _ in range(2)
    ]


class TestWaterOfValences(PotentialTests):
    any_order = False

    def make_potential(self) -> Potential:
        return ValencePotential.water()

    def structures(self) -> Sequence[Structure]:
        return distorted(self.potential.structure)


class TestHydrogenFluorideOfValences(PotentialTests):
    any_order = False

    def make_potential(self) -> Potential:
        return ValencePotential.hydrogen_fluoride()

    def structures(self) -> Sequence[Structure]:
        return distorted(self.potential.structure)


class TestPairs(PotentialTests):
    inputs = frozenset({"field"})

    def make_potential(self) -> Potential:
        return PairPotential()

    def structures(self) -> Sequence[Structure]:
        return broken.STRUCTURES


class TestDenSNet(PotentialTests):
    def make_potential(self) -> Potential:
        return example.make_densnet(options=example.OPTIONS.model_copy(update={"layers": 1}))

    def structures(self) -> Sequence[Structure]:
        return [example.WATER, example.HYDROXIDE, example.CARBON]


def suite(target: type[PairPotential]) -> PotentialTests:
    class Suite(TestPairs):
        def make_potential(self) -> Potential:
            return target()

    return Suite()


@pytest.mark.parametrize(
    ("target", "test"),
    [(target, test.__name__) for target, tests in broken.BROKEN.items() for test in tests],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_potential_fails_the_test_named(target: type[PairPotential], test: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, InputError)):
        getattr(suite(target), test)()


def test_a_field_that_is_taken_and_ignored_is_found_where_none_is_declared() -> None:
    class Suite(TestPairs):
        inputs = frozenset[str]()

        def make_potential(self) -> Potential:
            return broken.IgnoresTheField()

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        Suite().test_optional_inputs_that_are_not_used_are_refused()


def test_molecules_that_feel_each_other_beyond_the_cutoff_may_say_so() -> None:
    class Suite(TestPairs):
        long_range = True

        def make_potential(self) -> Potential:
            return broken.ReachesBeyondTheCutoff()

    Suite().test_molecules_beyond_the_cutoff_add_up()


@pytest.mark.parametrize("test", TESTS)
def test_every_test_of_the_suite_finds_a_mistake(test: str) -> None:
    assert any(test in [one.__name__ for one in tests] for tests in broken.BROKEN.values())


def test_the_dipole_of_water_is_that_of_its_charges() -> None:
    water = ValencePotential.water()
    dipole = water.evaluate(graph_of([water.structure]), ["dipole"])["dipole"][0].tolist()
    assert dipole == pytest.approx([0.0, 2 * 0.33 * 1.11, 0.0])
