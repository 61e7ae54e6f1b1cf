"""Forces through every route into other programs are those of the model itself, to 1e-6 of the largest."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
import torch_sim
from ase import Atoms
from densnet_ase import DenSNetCalculator
from densnet_ase.engine import ASEEngine
from densnet_openmm import add_force
from densnet_openmm.config import OpenMMOptions
from densnet_openmm.engine import OpenMMEngine
from densnet_torchsim import DenSNetModel
from openmm import app
from openmmml import MLPotential

from densnet_core.graphs.graph import graph_of
from densnet_core.md.base import MDEngine
from densnet_core.md.batched import TorchEngine
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Array

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import network_examples as example

STRUCTURE = example.FORMALDEHYDE
BONDS = ((0, 1), (0, 2), (0, 3))
# CODATA 2018: bohr in nm and angstrom, hartree in kJ/mol and eV, dalton in electron masses.
NANOMETER, ANGSTROM, KILOJOULE, VOLT, MASS = (
    0.0529177210903,
    0.529177210903,
    2625.4996394799,
    27.211386245988,
    1822.888486209,
)


@cache
def model() -> DenSNet:
    return example.make_densnet(options=example.OPTIONS.model_copy(update={"layers": 1}))


@cache
def own() -> tuple[float, Array]:
    found = model().evaluate(graph_of([STRUCTURE]), ("energy", "forces"))
    return float(found["energy"][0]), found["forces"].numpy()


def check(energy: float, forces: Array) -> None:
    assert energy == pytest.approx(own()[0], rel=1e-9)
    np.testing.assert_allclose(forces, own()[1], rtol=0, atol=1e-6 * np.abs(own()[1]).max())


def topology() -> app.Topology:
    made = app.Topology()
    residue = made.addResidue("FOR", made.addChain())
    atoms = [
        made.addAtom(f"X{i}", app.Element.getByAtomicNumber(int(z)), residue) for i, z in enumerate(STRUCTURE.numbers)
    ]
    for first, second in BONDS:
        made.addBond(atoms[first], atoms[second])
    return made


def check_system(system: openmm.System, platform: str) -> None:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    context.setPositions(STRUCTURE.positions * NANOMETER)
    state = context.getState(energy=True, forces=True)
    unit = openmm.unit
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    check(energy / KILOJOULE, forces * NANOMETER / KILOJOULE)


@pytest.mark.parametrize("platform", ["CPU", "Reference"])
@pytest.mark.parametrize("route", ["python", "torchforce"])
def test_openmm(route: str, platform: str) -> None:
    system = openmm.System()
    for mass in STRUCTURE.masses:
        system.addParticle(mass)
    add_force(system, topology(), model(), route=route, positions=STRUCTURE.positions * NANOMETER)
    check_system(system, platform)


def test_openmm_ml() -> None:
    check_system(MLPotential("densnet", model=model()).createSystem(topology()), "CPU")


def test_ase() -> None:
    atoms = Atoms(STRUCTURE.numbers, STRUCTURE.positions * ANGSTROM, calculator=DenSNetCalculator(model()))
    check(atoms.get_potential_energy() / VOLT, atoms.get_forces() * ANGSTROM / VOLT)


def test_torch_sim() -> None:
    atoms = Atoms(STRUCTURE.numbers, STRUCTURE.positions * ANGSTROM)
    route = DenSNetModel(model())
    found = route(torch_sim.io.atoms_to_state([atoms, atoms], route.device, route.dtype))
    for energy, forces in zip(found["energy"], torch.split(found["forces"], len(atoms)), strict=True):
        check(float(energy) / VOLT, forces.numpy() * ANGSTROM / VOLT)


@pytest.mark.parametrize(
    "engine",
    [TorchEngine(), ASEEngine(), *(OpenMMEngine(OpenMMOptions(force=force)) for force in ("python", "torchforce"))],
    ids=["torch", "ase", "openmm python", "openmm torchforce"],
)
def test_engines_move_atoms_by_these_forces(engine: MDEngine) -> None:
    """From rest, velocity Verlet moves an atom by F t^2 / 2 m in its first step."""
    stage = MDStage("nve", 1, 10.0, 0.0, 0.0, 1, 1)
    start = MDState(0, STRUCTURE.positions[None], np.zeros((1, 4, 3)))
    (block,) = engine.run(model(), [STRUCTURE], stage, start)
    moved = block.positions[1, 0] - block.positions[0, 0]
    check(block.potential_energy[0], moved * 2.0 * STRUCTURE.masses[:, None] * MASS / stage.time_step**2)
