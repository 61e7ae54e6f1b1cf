"""Steps per second of ethanol in every engine, beside the bare call of the compiled model: energy, forces, dipole.

    python benchmarks/bench_engines.py [MODEL] [--replicas 64] [--rounds 12]

The shipped model of ethanol if none is named: dynamics needs one that holds the molecule together. One thread each, in
turns in one run, velocity Verlet with 0.5 fs from 300 K, steps per second of processor time. The bare call is what no
engine can be faster than. The dipole is of the call that gives the forces where the engine can; OpenMM's forces give
none (``no``), those of the engine "openmm" do.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import openmm
import torch
import torch_sim as ts
from ase import units
from ase.md.verlet import VelocityVerlet
from densnet_ase import DenSNetCalculator
from densnet_openmm import add_force
from densnet_openmm.engine import OpenMMEngine
from densnet_torchsim import DenSNetModel
from measuring import ROOT, head, interleave, table
from openmm import app, unit

from densnet_core.md.base import MDEngine, Recording
from densnet_core.md.batched import TorchEngine
from densnet_core.md.velocities import thermal_velocities
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.whole import bonds_of
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Structure, read_geometry
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOHR_TO_ANGSTROM, BOHR_TO_NANOMETER

OUTPUTS = ("energy", "forces", "dipole")
STEP_FS, EVERY, KELVIN, ENDLESS = 0.5, 2, 300.0, 10**8
Call = Callable[[], object]


def start_of(structure: Structure, replicas: int) -> MDState:
    positions = np.repeat(structure.positions[None], replicas, axis=0)
    return MDState(0, positions, thermal_velocities(structure.masses, positions, KELVIN, 0))


def bare(model: DenSNet, structure: Structure, replicas: int, steps: int) -> Call:
    bound = BoundPotential(model, [structure] * replicas, native=True)
    positions = start_of(structure, replicas).positions
    return lambda: [bound.evaluate(positions, OUTPUTS) for _ in range(steps)]


def engine(made: MDEngine, model: DenSNet, structure: Structure, replicas: int, steps: int) -> Call:
    """Frames with dipoles every second step, a block of them in each call."""
    stage = MDStage("nve", ENDLESS, STEP_FS / ATOMIC_TIME_TO_FEMTOSECOND, KELVIN, 0.0, EVERY, seed=0)
    recording = Recording(block_frames=steps // EVERY, outputs=("dipole",))
    blocks = made.run(model, [structure] * replicas, stage, start_of(structure, replicas), recording)
    return lambda: next(blocks)


def in_openmm(model: DenSNet, structure: Structure, route: str, steps: int) -> Call:
    topology, system = app.Topology(), openmm.System()
    residue = topology.addResidue("EOH", topology.addChain())
    for z, mass in zip(structure.numbers, structure.masses, strict=True):
        topology.addAtom(f"{z}", app.Element.getByAtomicNumber(int(z)), residue)
        system.addParticle(float(mass))
    atoms = list(topology.atoms())
    for first, second in bonds_of(structure):
        topology.addBond(atoms[first], atoms[second])
    positions = structure.positions * BOHR_TO_NANOMETER
    add_force(system, topology, model, route=route, positions=positions)
    processor = openmm.Platform.getPlatformByName("CPU")
    integrator = openmm.VerletIntegrator(STEP_FS * unit.femtosecond)
    simulation = app.Simulation(topology, system, integrator, processor, {"Threads": "1"})
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(KELVIN, 0)
    return lambda: simulation.step(steps)


def in_ase(model: DenSNet, structure: Structure, steps: int) -> Call:
    atoms = ase.Atoms(structure.numbers, structure.positions * BOHR_TO_ANGSTROM)
    atoms.calc = DenSNetCalculator(model, native=True)
    velocities = start_of(structure, 1).velocities[0] * BOHR_TO_ANGSTROM / (ATOMIC_TIME_TO_FEMTOSECOND * units.fs)
    atoms.set_velocities(velocities)
    dynamics = VelocityVerlet(atoms, STEP_FS * units.fs)
    dynamics.attach(atoms.get_dipole_moment, interval=EVERY)
    return lambda: dynamics.run(steps)


def in_torchsim(model: DenSNet, structure: Structure, replicas: int, steps: int) -> Call:
    """Its ``integrate`` as users call it, from where the last call ended."""
    made: Any = DenSNetModel(model, outputs=["dipole"], native=True)
    atoms = ase.Atoms(structure.numbers, structure.positions * BOHR_TO_ANGSTROM)
    state: Any = ts.initialize_state([atoms] * replicas, device=torch.device("cpu"), dtype=torch.float64)

    def call() -> None:
        nonlocal state
        state = ts.integrate(state, made, integrator=ts.nve, n_steps=steps, temperature=KELVIN, timestep=STEP_FS * 1e-3)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ethanol")
    parser.add_argument("--replicas", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    head(
        "densnet-openmm",
        "densnet-ase",
        "densnet-torchsim",
        "openmm",
        "openmmtorch",
        "ase",
        "torch-sim-atomistic",
        "torch",
    )
    structure = read_geometry(ROOT / "science" / "systems" / "ethanol" / "anti.xyz")
    model, rows = DenSNet.load(chosen.model), []
    for replicas in (1, chosen.replicas):
        steps = EVERY * max(2, 60 // replicas)
        sides: dict[str, Call] = {
            "bare call": bare(model, structure, replicas, steps),
            "batched engine": engine(TorchEngine(), model, structure, replicas, steps),
            "torch-sim, integrate": in_torchsim(model, structure, replicas, steps),
        }
        if replicas == 1:
            sides |= {
                "ASE, VelocityVerlet": in_ase(model, structure, steps),
                "OpenMM, engine of densnet md": engine(OpenMMEngine(), model, structure, 1, steps),
                "OpenMM, PythonForce": in_openmm(model, structure, "python", steps),
                "OpenMM, TorchForce": in_openmm(model, structure, "torchforce", steps),
            }
        timings = interleave(sides, chosen.rounds, clock=time.process_time)
        limit = timings["bare call"]
        for name, timing in timings.items():
            dipole = "no" if name.endswith("Force") else "yes"
            rates = [steps / timing.median, steps / timing.minimum]
            share = f"{limit.median / timing.median:.0%}"
            rows.append([name, replicas, dipole, *rates, replicas * rates[0], share])
        print(f"{replicas} molecules measured", file=sys.stderr, flush=True)
    table(["engine", "molecules", "dipole", "steps/s", "best", "molecule-steps/s", "of the bare call"], rows)


if __name__ == "__main__":
    main()
