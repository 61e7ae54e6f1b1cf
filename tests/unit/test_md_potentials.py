"""The potential of a model: the flat graph, its replicas and the file it writes, against the networks themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import DenSNetError, InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.outputs import energy_outputs
from densnet_core.structures import Array, Structure

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

RANDOM = np.random.default_rng(23)
# One layer: what takes time here is tracing, and it grows with the number of operations.
SMALL = example.OPTIONS.model_copy(update={"layers": 1})


@cache
def model(dtype: torch.dtype = torch.float64) -> DenSNet:
    return example.make_densnet(dtype, SMALL)


@cache
def potential_of(structure: Structure, n_replicas: int, dtype: torch.dtype = torch.float64) -> BoundPotential:
    return BoundPotential(model(dtype), [structure] * n_replicas)


def displaced(structure: Structure, n: int) -> Array:
    return structure.positions + RANDOM.normal(scale=0.15, size=(n, structure.n_atoms, 3))


def eager(structure: Structure, positions: Array, dtype: torch.dtype = torch.float64) -> tuple[Array, Array]:
    graph = graph_of([structure.with_positions(one) for one in positions])
    found, _ = energy_outputs(model(dtype).density, model(dtype).energy, graph)
    return found["energy"].numpy(), found["forces"].reshape(positions.shape).numpy()


@pytest.mark.parametrize(
    ("structure", "dtype", "tolerance"),
    [
        (example.WATER, torch.float64, 1e-11),
        (example.WATER, torch.float32, 1e-5),
        (example.HYDROXIDE, torch.float64, 1e-11),
        (example.CARBON, torch.float64, 1e-11),
    ],
    ids=["water", "water in single precision", "an ion", "an atom"],
)
def test_the_flat_graph_equals_the_networks(structure: Structure, dtype: torch.dtype, tolerance: float) -> None:
    potential = potential_of(structure, 2, dtype)
    for _ in range(2):  # the first call traces; the second is at another geometry
        positions = displaced(structure, 2)
        energies, forces = potential.energy_and_forces(positions)
        expected = eager(structure, positions, dtype)
        np.testing.assert_allclose(energies, expected[0], rtol=0, atol=tolerance)
        np.testing.assert_allclose(forces, expected[1], rtol=0, atol=tolerance)
        assert energies.shape == (2,)
        assert forces.shape == (2, structure.n_atoms, 3)


def test_replicas_do_not_feel_each_other() -> None:
    potential = potential_of(example.WATER, 3)
    positions = displaced(example.WATER, 3)
    energies, forces = potential.energy_and_forces(positions)
    moved = positions.copy()
    moved[1] += RANDOM.normal(scale=0.3, size=(3, 3))
    moved[2] = positions[0] + 0.5  # almost on top of another replica
    again, moved_forces = potential.energy_and_forces(moved)
    np.testing.assert_allclose(again[[0, 2]], energies[[0, 0]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(moved_forces[[0, 2]], forces[[0, 0]], rtol=0, atol=1e-12)
    assert abs(again[1] - energies[1]) > 1e-6


def test_positions_of_another_shape_are_refused() -> None:
    potential = potential_of(example.WATER, 2, torch.float64)
    with pytest.raises(InputError, match=r"shape \(2, 3, 3\) \(replicas, atoms of H2O, axes\), not \(3, 3\)"):
        potential.energy_and_forces(example.WATER.positions)


def test_a_replica_that_breaks_down_is_named() -> None:
    potential = potential_of(example.WATER, 2, torch.float64)
    positions = displaced(example.WATER, 2)
    positions[1, 0, 0] = np.nan
    with pytest.raises(DenSNetError, match="replica 1 are not finite"):
        potential.energy_and_forces(positions)
    positions[1] = positions[0]
    assert np.isfinite(potential.energy_and_forces(positions)[0]).all()


def test_an_element_that_the_model_does_not_know_is_refused_before_dynamics() -> None:
    ammonia = Structure(np.array([7, 1, 1, 1]), np.eye(4, 3) * 2.0)
    with pytest.raises(InputError, match="does not know N"):
        BoundPotential(model(), [ammonia])


def test_a_state_that_the_model_does_not_know_is_refused_before_dynamics() -> None:
    with pytest.raises(InputError, match="charge 3"):
        BoundPotential(model(), [Structure(example.WATER.numbers, example.WATER.positions, 3, 2)])


def test_molecules_that_differ_are_refused() -> None:
    exchanged = Structure(example.WATER.numbers[::-1], example.WATER.positions[::-1])
    with pytest.raises(InputError, match="differ"):
        BoundPotential(model(), [example.WATER, exchanged])
    with pytest.raises(InputError, match="at least one"):
        BoundPotential(model(), [])


def test_isotopes_of_one_molecule_go_together() -> None:
    heavy = replace(example.WATER, isotope_masses=np.array([15.999, 2.014, 2.014]))
    energies, _ = BoundPotential(model(), [example.WATER, heavy]).energy_and_forces(
        np.array([example.WATER.positions] * 2)
    )
    assert energies[0] == energies[1]


PROGRAM = """
import json, sys, torch
positions = torch.tensor(json.loads(sys.argv[2]), dtype=torch.float64)
module = torch.jit.load(sys.argv[1])
for _ in range(3):
    energy, forces = module(positions)
assert not any(name.startswith(("densnet", "e3nn")) for name in sys.modules)
print(json.dumps([energy.item(), forces.tolist()]))
"""


def test_the_torchscript_file_gives_the_same_without_densnet(tmp_path: Path) -> None:
    """Nanometer in, kJ/mol out: the factors are typed in here, from CODATA 2018."""
    nanometer, kilojoule = 0.0529177210903, 2625.4996394799
    potential = potential_of(example.FORMALDEHYDE, 2)
    path = tmp_path / "potential.pt"
    potential.save_torchscript(path)
    positions = displaced(example.FORMALDEHYDE, 2)
    energies, forces = eager(example.FORMALDEHYDE, positions)
    argument = json.dumps((positions.reshape(-1, 3) * nanometer).tolist())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), argument], capture_output=True, text=True, check=True, timeout=120
    )
    energy, found = json.loads(done.stdout)
    assert energy == pytest.approx(float(energies.sum()) * kilojoule, rel=1e-12)
    np.testing.assert_allclose(found, forces.reshape(-1, 3) * kilojoule / nanometer, rtol=0, atol=1e-7)
