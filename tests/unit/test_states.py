"""Charge, multiplicity and fragments of structures: used where a model knows them, refused where it does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.density.specification import DensitySpecification, State
from densnet_core.errors import InputError
from densnet_core.fragments import Fragment
from densnet_core.graphs.graph import graph_of
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.config import EnergyModelOptions
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.equivariant_energy import EquivariantEnergyModel
from densnet_core.models.inputs import check_specification
from densnet_core.plugins.component import Kind
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.torchscript import replica_metadata
from densnet_core.structures import Structure, read_xyz, write_xyz
from densnet_core.training import Plan, train_model
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.terms import wanted_objectives

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import SMALL, teacher_frames
from training_parallel import CHOICE, PRIOR, short

STATES = ((-1, 1), (0, 1), (0, 3), (1, 1))
TRIPLET = replace(example.WATER, multiplicity=3)


def specification(states: tuple[State, ...], levels: tuple[str, ...] = ()) -> DensitySpecification:
    return DensitySpecification(example.BASIS, "coulomb", example.ELEMENTS, 1.0, states, levels)


def networks(known: DensitySpecification) -> tuple[EquivariantDensityModel, EquivariantEnergyModel]:
    torch.manual_seed(1)
    maker = example.backbone_maker(SMALL)
    density = EquivariantDensityModel(known, None, maker)
    energy = EquivariantEnergyModel(known, EnergyModelOptions(channels_in=6, head_width=10), maker)
    for network in (density, energy):
        cast_parameters(network, torch.float64)
    return density, energy


@cache
def model(states: tuple[State, ...] = STATES) -> DenSNet:
    return DenSNet(*networks(specification(states)), PRIOR, CHOICE, CHOICE, {"name": "states"})


def energy_of(structure: Structure) -> float:
    return model().predict([structure])[0].energy


# --- fragments

CATION_ATOMS, OTHER_ATOMS = (0, 2, 4, 5), (1, 3)


def beside_hydronium(other: Structure, cation: Fragment, fragment: Fragment) -> Structure:
    """A molecule beyond the cutoff of hydronium, their atoms interleaved."""
    numbers = np.concatenate([example.HYDRONIUM.numbers, other.numbers])
    positions = np.concatenate([example.HYDRONIUM.positions, other.positions + 40.0])
    order = np.argsort([*cation.atoms, *fragment.atoms])
    charge = cation.charge + fragment.charge
    return Structure(numbers[order], positions[order], charge, fragment.multiplicity, None, (cation, fragment))


def ion_pair(cation: int, anion: int) -> Structure:
    """The atoms of hydronium and hydroxide, with these charges."""
    return beside_hydronium(example.HYDROXIDE, Fragment(CATION_ATOMS, cation), Fragment(OTHER_ATOMS, anion))


PAIR = ion_pair(1, -1)


def test_fragments_of_different_charge_are_predicted_as_the_ions_they_are(tmp_path: Path) -> None:
    """From a file to the numbers of the ions alone."""
    write_xyz(tmp_path / "pair.xyz", [PAIR])
    (read,) = read_xyz(tmp_path / "pair.xyz")
    together, cation, anion = model().predict([read, example.HYDRONIUM, example.HYDROXIDE])
    assert together.energy == pytest.approx(cation.energy + anion.energy, abs=1e-9)
    np.testing.assert_allclose(together.forces[list(CATION_ATOMS)], cation.forces, atol=1e-9)
    np.testing.assert_allclose(together.forces[list(OTHER_ATOMS)], anion.forces, atol=1e-9)
    assert together.density.electron_count() == pytest.approx(20.0, abs=1e-9)
    graph = graph_of([example.WATER, read])
    charges = model().evaluate(graph, ["charges"])["charges"]
    assert graph.sum_over_fragments(charges).tolist() == pytest.approx([0.0, 1.0, -1.0], abs=1e-9)


def test_other_fragments_of_the_same_atoms_are_another_prediction() -> None:
    """As one fragment both parts are neutral; with the charges exchanged the ions are others."""
    whole = replace(PAIR, fragments=())
    charges = model().evaluate(graph_of([whole]), ["charges"])["charges"]
    assert float(charges[list(CATION_ATOMS)].sum()) == pytest.approx(0.0, abs=1e-9)
    energies = [energy_of(one) for one in (PAIR, whole, ion_pair(-1, 1))]
    assert min(abs(a - b) for a, b in combinations(energies, 2)) > 1e-4


def test_a_bound_potential_keeps_charge_multiplicity_and_fragments() -> None:
    fragment = Fragment((1, 3, 6), 0, 3)
    structure = beside_hydronium(example.WATER, Fragment(CATION_ATOMS, 1), fragment)
    moved = structure.positions + np.random.default_rng(3).normal(scale=0.1, size=(2, 7, 3))
    bound = BoundPotential(model(), [structure] * 2)
    energies, forces = bound.function(torch.tensor(moved))
    for energy, force, positions in zip(energies.tolist(), forces.numpy(), moved, strict=True):
        water = TRIPLET.with_positions(positions[list(fragment.atoms)])
        ion = example.HYDRONIUM.with_positions(positions[list(CATION_ATOMS)])
        parts = model().predict([water, ion])
        assert energy == pytest.approx(sum(part.energy for part in parts), abs=1e-9)
        np.testing.assert_allclose(force[list(fragment.atoms)], parts[0].forces, atol=1e-9)
        assert abs(energy_of(water) - energy_of(replace(water, multiplicity=1))) > 1e-4
    metadata = replica_metadata(bound.structures)
    assert (metadata["charge"], metadata["multiplicity"]) == (1, 3)
    assert metadata["fragments"] == [
        {"atoms": CATION_ATOMS, "charge": 1, "multiplicity": 1},
        {"atoms": (1, 3, 6), "charge": 0, "multiplicity": 3},
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (example.WATER, TRIPLET),
        (PAIR, replace(PAIR, fragments=())),
        (PAIR, ion_pair(-1, 1)),
    ],
    ids=["multiplicity", "no fragments", "charges of fragments"],
)
def test_replicas_in_different_states_are_refused(one: Structure, other: Structure) -> None:
    with pytest.raises(InputError, match="molecules differ"):
        BoundPotential(model(), [one, other])


# --- states that no training frame had

UNKNOWN = {
    "charge": replace(example.WATER, charge=2),
    "multiplicity": replace(example.WATER, multiplicity=5),
    "fragment": ion_pair(3, -3),
}
WAYS: dict[str, Callable[[DenSNet, Structure], object]] = {
    "predict": lambda potential, one: potential.predict([example.WATER, one]),
    "along": lambda potential, one: potential.along(one, one.positions[None]),
    "evaluate": lambda potential, one: potential.evaluate(graph_of([example.WATER, one]), ["energy"]),
    "evaluate without an energy": lambda potential, one: potential.evaluate(graph_of([one]), ["dipole"]),
    "dynamics": lambda potential, one: BoundPotential(potential, [one]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", UNKNOWN)
@pytest.mark.parametrize("states", [STATES, ((0, 1),)], ids=["of several", "of one"])
def test_a_state_that_the_model_was_not_trained_on_is_refused(states: tuple[State, ...], what: str, way: str) -> None:
    """Of a model of one state, too, whose networks do not even look at it."""
    with pytest.raises(InputError, match="was not trained on"):
        WAYS[way](model(states), UNKNOWN[what])


def test_half_a_charge_is_no_state() -> None:
    graph = graph_of([example.WATER])
    with pytest.raises(InputError, match=r"charge 0\.5 and multiplicity 1; its training data have \(-1, 1\), \(0, 1\)"):
        model().evaluate(replace(graph, charge=graph.charge + 0.5), ["energy"])


def test_networks_that_nobody_asked_give_no_number_for_an_unknown_state() -> None:
    density, energy = model().density, model().energy
    graph = graph_of([example.WATER, UNKNOWN["charge"]])
    found = density(graph)
    atoms = energy(graph, found)["energy"]
    assert bool(torch.isfinite(atoms[0]))
    assert bool(torch.isnan(atoms[1]))
    n = len(found["density"].coefficients) // 2
    assert bool(torch.isfinite(found["density"].coefficients[:n]).all())
    assert bool(torch.isnan(found["density"].coefficients[n:]).all())


# --- models that do not use what varies


@dataclass
class Declared:
    """What the core asks a model about its inputs."""

    inputs: frozenset[str]
    specification: DensitySpecification


VARYING = {
    "charge": specification(((0, 1), (1, 1))),
    "multiplicity": specification(((0, 1), (0, 3))),
    "level": specification(((0, 1),), ("PBE/6-31G", "HF/6-31G")),
}


@pytest.mark.parametrize("name", VARYING)
def test_an_input_that_varies_must_be_declared(name: str) -> None:
    others = frozenset(VARYING) - {name}
    check_specification(Declared(frozenset({name}), VARYING[name]))
    for inputs in (frozenset[str](), others):
        with pytest.raises(InputError, match=rf"Declared does not use {name}, which differ within the training data"):
            check_specification(Declared(inputs, VARYING[name]))


def test_a_training_on_two_levels_names_them_and_does_not_begin() -> None:
    density, energy = networks(VARYING["level"])
    message = r"does not use level, which differ.*levels PBE/6-31G, HF/6-31G"
    frames = teacher_frames(mixed=False)
    with pytest.raises(InputError, match=message):
        DensityObjective(density, frames, wanted_objectives("density", {}), 4, 0)
    with pytest.raises(InputError, match=message):
        EnergyObjective(energy, density, frames, wanted_objectives("energy", {}), 4, 0)


def test_training_frames_in_states_that_the_specification_lacks_are_refused() -> None:
    neutral, mixed = teacher_frames(mixed=False), teacher_frames()
    message = r"The data have fragments .*\(-1, 1\), and the model is made for \(0, 1\)"
    density, energy = networks(specification(((0, 1),)))
    with pytest.raises(InputError, match=message):
        DensityObjective(density, mixed, wanted_objectives("density", {}), 4, 0)
    with pytest.raises(InputError, match=message):
        EnergyObjective(energy, density, mixed, wanted_objectives("energy", {}), 4, 0)
    plan = Plan([short(1)], [short(1)], batch_size=4, device="cpu")
    with pytest.raises(InputError, match=message):  # of the validation, they would be errors that are not numbers
        train_model(neutral, mixed, density.specification, PRIOR, plan, (CHOICE, CHOICE))


# --- backbones


def test_a_network_without_the_backbone_that_it_needs_says_so() -> None:
    for kind in (EquivariantDensityModel, EquivariantEnergyModel):
        with pytest.raises(InputError, match=f"{kind.__name__} stands on a backbone; give make_backbone"):
            kind(example.specification())
    for name in (Kind.DENSITY_MODEL, Kind.ENERGY_MODEL):
        with pytest.raises(InputError, match=r"The (density|energy) model 'equivariant' needs a backbone, and none is"):
            NetworkChoice("equivariant", None).build(name, example.specification())
