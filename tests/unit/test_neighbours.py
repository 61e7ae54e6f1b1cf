"""Pairs that are searched now and then give what all pairs give, for 3 to 1000 atoms that move."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import DenSNetError, InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.graphs.neighbours import ALL_PAIRS_UP_TO, NeighbourList
from densnet_core.potentials.bound import BoundPotential
from densnet_core.structures import Array, Structure
from densnet_core.testing.potentials import PairPotential
from densnet_core.units import BOHR_TO_ANGSTROM

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

SMALL = example.OPTIONS.model_copy(update={"layers": 1})


def chain(n_carbons: int) -> Structure:
    """An alkane of 3 n + 2 atoms in its zigzag."""
    carbons = np.stack(
        [1.25 * np.arange(n_carbons), 0.45 * (-1.0) ** np.arange(n_carbons), np.zeros(n_carbons)], axis=1
    )
    across = 0.63 * np.sign(carbons[:, 1:2]) * [0.0, 1.0, 0.0]
    ends = carbons[[0, -1]] + [[-0.89, 0.0, 0.0], [0.89, 0.0, 0.0]] - across[[0, -1]]
    positions = np.concatenate([carbons, carbons + across + [0, 0, 0.89], carbons + across - [0, 0, 0.89], ends])
    return Structure(np.repeat([6, 1], [n_carbons, 2 * n_carbons + 2]), positions / BOHR_TO_ANGSTROM)


def cluster(n_atoms: int, seed: int = 0) -> Structure:
    """Atoms on a lattice of 3.5 bohr, shaken."""
    edge = int(np.ceil(n_atoms ** (1 / 3)))
    sites = np.stack(np.unravel_index(np.arange(n_atoms), (edge, edge, edge)), axis=1)
    random = np.random.default_rng(seed)
    positions = 3.5 * sites + random.normal(scale=0.2, size=(n_atoms, 3))
    numbers = np.where(np.arange(n_atoms) % 3 == 0, 8, 1)
    electrons = int(numbers.sum())
    return Structure(numbers, positions, 0, 1 + electrons % 2)


def walk(structure: Structure, n_steps: int, width: float) -> list[Array]:
    """Positions after steps in which every atom goes on in its direction, so that pairs come and go."""
    random = np.random.default_rng(1)
    direction = random.normal(scale=width, size=structure.positions.shape)
    return [
        structure.positions + k * direction + random.normal(scale=0.02, size=direction.shape) for k in range(n_steps)
    ]


@pytest.mark.parametrize("n_atoms", [3, 9, 24, 25, 100, 1000])
def test_the_list_gives_what_all_pairs_give(n_atoms: int) -> None:
    structure, potential = cluster(n_atoms), PairPotential(cutoff=6.0)
    bound = BoundPotential(potential, [structure])
    assert bound.neighbours.fixed == (n_atoms <= ALL_PAIRS_UP_TO)
    frames = walk(structure, 12, 0.08)
    everything = graph_of([structure])
    for number, positions in enumerate(frames):
        found = bound.evaluate(positions[None], ("energy", "forces", "dipole"))
        if n_atoms == 1000 and number % 5:  # a million pairs take their time
            continue
        expected = potential.evaluate(graph_of([structure.with_positions(positions)]), ("energy", "forces", "dipole"))
        assert found["energy"][0] == pytest.approx(float(expected["energy"][0]), abs=1e-10, rel=0)
        np.testing.assert_allclose(found["forces"], expected["forces"].numpy(), rtol=0, atol=1e-10)
        np.testing.assert_allclose(found["dipole"], expected["dipole"].numpy(), rtol=1e-12, atol=1e-8)
    if n_atoms > ALL_PAIRS_UP_TO:
        assert 1 < bound.neighbours.searches < len(frames)
        assert len(bound.neighbours.graph(frames[-1]).senders) < 0.6 * len(everything.senders)


@pytest.mark.parametrize("n_carbons", [1, 8, 20])
def test_networks_with_the_list_give_what_they_give_with_all_pairs(n_carbons: int) -> None:
    structure, model = chain(n_carbons), example.make_densnet(options=SMALL)
    bound = BoundPotential(model, [structure] * 2)
    for first, second in zip(walk(structure, 3, 0.1), walk(structure, 3, 0.05), strict=True):
        energies, forces = bound.energy_and_forces(np.stack([first, second]))
        graph = graph_of([structure.with_positions(first), structure.with_positions(second)])
        expected = model.evaluate(graph, ("energy", "forces"))
        np.testing.assert_allclose(energies, expected["energy"].numpy(), rtol=0, atol=1e-10)
        np.testing.assert_allclose(forces.reshape(-1, 3), expected["forces"].numpy(), rtol=0, atol=1e-10)
    assert bound.neighbours.fixed == (n_carbons < 8)


def test_the_list_is_made_again_only_when_an_atom_has_moved_half_the_skin() -> None:
    structure = cluster(60)
    pairs = NeighbourList([structure], 6.0, skin=1.0)
    moved = structure.positions.copy()
    for shift, searches in ((0.0, 1), (0.49, 1), (0.51, 2), (0.1, 2), (0.0, 3)):
        moved[7, 0] = structure.positions[7, 0] + shift
        graph = pairs.graph(moved)
        near = graph_of([structure.with_positions(moved)], 6.0)
        assert pairs.searches == searches
        assert graph.senders.tolist() == near.senders.tolist()
        assert graph.receivers.tolist() == near.receivers.tolist()


def test_a_pair_comes_and_goes_smoothly() -> None:
    """Two far halves pass the cutoff: energies have no step, forces are their slope, wherever the list was made."""
    structure = cluster(60)
    far = structure.positions.copy()
    far[30:, 2] += 20.0
    bound = BoundPotential(PairPotential(cutoff=6.0), [structure])
    step = 1e-3
    for gap in np.arange(0.0, 14.0, 1.7):
        energies = []
        for shift in (-step, 0.0, step):
            positions = far.copy()
            positions[30:, 2] -= gap + shift
            energy, forces = bound.energy_and_forces(positions[None])
            energies.append(energy[0])
        slope = (energies[2] - energies[0]) / (2 * step)
        positions[30:, 2] += step
        forces = bound.energy_and_forces(positions[None])[1]
        assert forces[0, 30:, 2].sum() == pytest.approx(slope, abs=1e-6)


def test_a_bound_potential_is_pickled_without_its_traces() -> None:
    water = example.WATER
    bound = BoundPotential(PairPotential(), [water])
    expected = bound.energy_and_forces(water.positions[None])
    data = pickle.dumps(bound)
    assert b"GraphModule" not in data
    again = pickle.loads(data)  # noqa: S301 - our own bytes
    for found, value in zip(again.energy_and_forces(water.positions[None]), expected, strict=True):
        np.testing.assert_array_equal(found, value)


def test_a_model_is_pickled() -> None:
    model, graph = example.make_densnet(options=SMALL), graph_of([example.WATER])
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    outputs = ("energy", "forces", "dipole")
    for found, value in zip(
        again.evaluate(graph, outputs).values(), model.evaluate(graph, outputs).values(), strict=True
    ):
        np.testing.assert_array_equal(found, value)


def test_what_cannot_be_is_refused() -> None:
    structure = cluster(40)
    with pytest.raises(InputError, match="skin"):
        NeighbourList([structure], 6.0, skin=0.0)
    broken = structure.positions.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DenSNetError, match="Positions of replica 0 are not finite"):
        BoundPotential(PairPotential(), [structure]).energy_and_forces(broken[None])


@pytest.mark.parametrize("n_replicas", [1, 2])
def test_a_table_of_pairs_gives_what_the_pairs_give_and_grows(n_replicas: int) -> None:
    structure, potential = cluster(40), PairPotential(cutoff=6.0)
    frames = [np.stack([own] * n_replicas) for own in walk(structure, 30, 0.06)]
    frames.append(frames[-1] * 0.8)  # denser
    neighbours = NeighbourList([structure] * n_replicas, 6.0)
    widths = []
    for number, positions in enumerate(frames):
        atoms = positions.reshape(-1, 3)
        if number > 0 and number % 3 == 0:  # the list is from positions before
            neighbours.graph(atoms)
        table, graph = neighbours.table(atoms), neighbours.graph(atoms)
        widths.append(neighbours.width)
        assert table.width == neighbours.width
        rows = table.senders.reshape(-1, neighbours.width)
        assert not bool((rows == torch.arange(len(atoms))[:, None]).any())
        assert bool((table.molecule[table.senders] == table.molecule[table.receivers]).all())
        for name in ("energy", "forces", "dipole"):
            one, other = (potential.evaluate(given, [name])[name] for given in (table, graph))
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert neighbours.searches > 2
    assert widths[0] < widths[-1] <= 39


def test_what_fills_a_table_stays_beyond_the_cutoff_although_the_list_is_older() -> None:
    """The atom that is farthest where the table is made was nearer, and in the list, where the list was made."""
    compact = -1.44 * np.stack(np.unravel_index(np.arange(1, 25), (3, 3, 3)), axis=1)
    first = np.concatenate([[[0.0, 0.0, 0.0]], compact, [[7.95, 0.0, 0.0], [0.0, 8.05, 0.0]]])
    turned, near = first.copy(), first.copy()
    turned[-2:] += [[0.5, 0.0, 0.0], [0.0, -0.5, 0.0]]
    near[[0, -2]] += [[0.98, 0.0, 0.0], [-0.99, 0.0, 0.0]]
    neighbours, potential = NeighbourList([Structure(np.full(27, 6), first)], 6.0), PairPotential(cutoff=6.0)
    neighbours.graph(first)
    neighbours.table(turned)
    one, other = (potential.evaluate(made(near), ["forces"])["forces"] for made in (neighbours.table, neighbours.graph))
    assert neighbours.searches == 1
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
