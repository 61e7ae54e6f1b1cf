"""Ethanol in TIP3P water: the molecule by a model, water and what is between them by a force field.

    python science/solvated.py FOLDER [MODEL] [--waters 343] [--ps 10] [--mace PYTHON]

A mixed system of OpenMM-ML (mechanical embedding); charges and Lennard-Jones parameters of ethanol are OPLS-AA's
(systems/ethanol/opls.xml; between different atoms OpenMM takes the mean of their sigmas where OPLS-AA takes the square
root of the product). Water is rigid, PME and Lennard-Jones within 0.9 nm (switched from 0.8), processor, one thread.

npt : 300 K (Langevin), 1 bar (Monte Carlo), 20 ps in steps of 1 fs; density and temperature of the second half.
nve : from its end, --ps in steps of 0.5 fs without a bath; drift of the total energy, temperature, and how many frames
    of ethanol are unlike the training data.
control : the same with ethanol's atoms held and without the model: what drifts there is not ours.
speed : 100 steps of each in turns: with the model, without, and with --mace with an untrained MACE (128x0e, two layers)
    in its place, from an interpreter with mace-torch and OpenMM-ML. Ethanol's atoms are held in all of them, because
    an untrained network would break it.

A killed run goes on after the last whole picosecond, and a longer --ps extends the pieces without a bath.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from mace_process import Mace
from measuring import interleave, table

from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.md.analysis import energy_conservation
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.shipped import model_path
from densnet_core.potentials.whole import bonds_of
from densnet_core.structures import read_geometry
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOHR_TO_NANOMETER, HARTREE_TO_KJ_PER_MOL
from densnet_core.workflow.keys import weights_digest

ETHANOL = Path(__file__).parent / "systems" / "ethanol"
KELVIN, BAR, NPT_PS = 300.0, 1.0, 20
COLUMNS = ("ps", "potential", "kinetic", "volume")
"""Picoseconds, kJ/mol of all atoms, nm^3."""
WITHOUT = "without a model"
EVERY_FS, SPEED_STEPS, SPEED_ROUNDS = 20.0, 100, 12


@dataclass(frozen=True)
class Box:
    """Ethanol in water: everything that the three systems are made of."""

    topology: Any
    positions: Any
    classical: Any
    solute: list[int]


def build(waters: int) -> Box:
    """Ethanol, anti, in a cube of water; the force field has nothing inside of ethanol."""
    structure = read_geometry(ETHANOL / "anti.xyz")
    topology = app.Topology()
    residue = topology.addResidue("EOH", topology.addChain())
    atoms = [
        topology.addAtom(f"{symbol(int(z))}{i}", app.Element.getByAtomicNumber(int(z)), residue)
        for i, z in enumerate(structure.numbers)
    ]
    for first, second in bonds_of(structure):
        topology.addBond(atoms[first], atoms[second])
    field = app.ForceField("tip3p.xml", str(ETHANOL / "opls.xml"))
    modeller = app.Modeller(topology, structure.positions * BOHR_TO_NANOMETER * unit.nanometer)
    modeller.addSolvent(field, model="tip3p", numAdded=waters)
    classical = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        switchDistance=0.8 * unit.nanometer,
        ewaldErrorTolerance=1e-5,
        removeCMMotion=False,
    )
    return Box(modeller.topology, modeller.positions, classical, list(range(structure.n_atoms)))


def mixed(box: Box, model: DenSNet) -> Any:
    return MLPotential("densnet", model=model).createMixedSystem(box.topology, box.classical, box.solute)


def held(system: Any, box: Box) -> Any:
    """The system with ethanol's atoms where they are."""
    system = deepcopy(system)
    for atom in box.solute:
        system.setParticleMass(atom, 0.0)
    return system


def without_model(box: Box) -> Any:
    """What OpenMM-ML leaves of the force field: ethanol's atoms do not feel each other."""
    system = held(box.classical, box)
    (nonbonded,) = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    for i in box.solute:
        for j in box.solute[:i]:
            nonbonded.addException(i, j, 0.0, 0.1, 0.0, True)
    return system


def simulation(box: Box, system: Any, integrator: Any) -> Any:
    integrator.setConstraintTolerance(1e-8)
    processor = openmm.Platform.getPlatformByName("CPU")
    made = app.Simulation(box.topology, system, integrator, processor, {"Threads": "1", "DeterministicForces": "true"})
    made.context.setPositions(box.positions)
    return made


def piece(path: Path, key: dict[str, Any], made: Any, start: str | None, ps: int, step_fs: float) -> dict[str, Any]:
    """Run a piece to its end, or on from the last whole picosecond; its rows, frames and last state."""
    done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"key": key, "rows": [], "frames": []}
    if done["key"] != key:
        raise InputError(f"{path} is of another model, box or version of this; take another folder.")
    state = done.get("state", start)
    if state is not None:
        made.context.setState(openmm.XmlSerializer.deserialize(state))
    every = round(EVERY_FS / step_fs)
    for whole in range(round(len(done["rows"]) * EVERY_FS / 1000.0), ps):
        begun = time.perf_counter()
        for _ in range(round(1000.0 / EVERY_FS)):
            made.step(every)
            found = made.context.getState(energy=True, positions=True)
            energies = [e.value_in_unit(unit.kilojoule_per_mole) for e in _energies(found)]
            volume = found.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
            done["rows"].append([(len(done["rows"]) + 1) * EVERY_FS / 1000.0, *energies, volume])
        positions = found.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        done["frames"].append(positions[: key["solute"]].tolist())
        last = made.context.getState(positions=True, velocities=True)
        done["state"] = openmm.XmlSerializer.serialize(last)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(done))
        os.replace(partial, path)
        taken = (time.perf_counter() - begun) * step_fs
        print(f"{path.stem}: {whole + 1} ps, {taken:.1f} ms a step", file=sys.stderr, flush=True)
    return done


def _energies(state: Any) -> tuple[Any, Any]:
    return state.getPotentialEnergy(), state.getKineticEnergy()


def columns(done: dict[str, Any]) -> dict[str, np.ndarray]:
    return dict(zip(COLUMNS, np.array(done["rows"]).T, strict=True))


def temperature(kinetic: np.ndarray, system: Any) -> float:
    """Kelvin, of all free motion, the overall translation included."""
    moving = sum(system.getParticleMass(i) > 0 * unit.dalton for i in range(system.getNumParticles()))
    freedom = 3 * moving - system.getNumConstraints()
    gas = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
    return float(2.0 * kinetic.mean() / (freedom * gas))


def report(name: str, done: dict[str, Any], system: Any) -> None:
    """Conservation and temperature of a piece without a bath."""
    found = columns(done)
    moving = sum(system.getParticleMass(i) > 0 * unit.dalton for i in range(system.getNumParticles()))
    times = found["ps"] * 1000.0 / ATOMIC_TIME_TO_FEMTOSECOND
    energies = (found["potential"] + found["kinetic"]) / HARTREE_TO_KJ_PER_MOL
    print(f"{name}: {energy_conservation(times, energies, moving)}")
    print(f"{name}: {temperature(found['kinetic'], system):.1f} K", flush=True)


def speed(box: Box, systems: dict[str, Any], state: str, folder: Path, mace: str | None) -> None:
    sides: dict[str, Callable[[], object]] = {}
    for name, system in systems.items():
        made = simulation(box, system, openmm.VerletIntegrator(0.0005))
        made.context.setState(openmm.XmlSerializer.deserialize(state))
        sides[name] = lambda made=made: made.step(SPEED_STEPS)
    if mace:
        with (folder / "box.cif").open("w") as file:
            app.PDBxFile.writeFile(box.topology, box.positions, file)
        (folder / "held.xml").write_text(openmm.XmlSerializer.serialize(held(box.classical, box)))
        (folder / "start.xml").write_text(state)
        arguments = (str(folder.resolve()), str(len(box.solute)), str(SPEED_STEPS))
        sides["MACE 128x0e, untrained"] = Mace(mace, "mace_solvated.py", *arguments)
    timings = interleave(sides, SPEED_ROUNDS)
    rows: list[list[object]] = []
    for name, timing in timings.items():
        each, bare = (np.array([t.median, t.minimum]) * 1e3 / SPEED_STEPS for t in (timing, timings[WITHOUT]))
        rows.append([name, *each.tolist(), *(each - bare).tolist(), f"{1.0 - bare[1] / each[1]:.0%}"])
    table(["system, ms a step", "median", "best", "molecule's", "molecule's, best", "share, best"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", nargs="?", default="ethanol")
    parser.add_argument("--waters", type=int, default=343)
    parser.add_argument("--ps", type=int, default=10)
    parser.add_argument("--mace", metavar="PYTHON", help="an interpreter that has mace-torch and openmmml")
    chosen = parser.parse_args()
    folder: Path = chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    model, box = DenSNet.load(chosen.model), build(chosen.waters)
    key = {
        "model": weights_digest(model_path(chosen.model)),
        "waters": chosen.waters,
        "solute": len(box.solute),
    }
    print(f"{chosen.waters} waters and ethanol, {box.topology.getNumAtoms()} atoms")
    system = mixed(box, model)

    with_bath = deepcopy(system)
    with_bath.addForce(openmm.MonteCarloBarostat(BAR, KELVIN, 25))
    made = simulation(box, with_bath, openmm.LangevinMiddleIntegrator(KELVIN, 2.0, 0.001))
    if not (folder / "npt.json").exists():
        made.minimizeEnergy(maxIterations=200)
        made.context.setVelocitiesToTemperature(KELVIN, 0)
    npt = piece(folder / "npt.json", key, made, None, NPT_PS, 1.0)
    half = {name: values[len(values) // 2 :] for name, values in columns(npt).items()}
    grams = sum(system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles()))
    densities = grams / (unit.AVOGADRO_CONSTANT_NA.value_in_unit(unit.mole**-1) * half["volume"] * 1e-21)
    print(f"npt: {densities.mean():.3f} g/ml (+- {densities.std():.3f}), {temperature(half['kinetic'], system):.1f} K")

    nve = piece(
        folder / "nve.json", key, simulation(box, system, openmm.VerletIntegrator(0.0005)), npt["state"], chosen.ps, 0.5
    )
    report("nve", nve, system)
    frames = [
        read_geometry(ETHANOL / "anti.xyz").with_positions(np.array(p) / BOHR_TO_NANOMETER) for p in nve["frames"]
    ]
    unlike = sum(bool(one.reasons) for one in model.extrapolation(frames))
    print(f"nve: {unlike} of {len(frames)} frames of ethanol are unlike those the model was trained on")
    bare = without_model(box)
    made = simulation(box, bare, openmm.VerletIntegrator(0.0005))
    report("control", piece(folder / "control.json", key, made, npt["state"], chosen.ps, 0.5), bare)

    speed(box, {WITHOUT: bare, f"model {chosen.model}": held(system, box)}, npt["state"], folder, chosen.mace)


if __name__ == "__main__":
    main()
