"""Steps of a mixed system with an untrained MACE model, asked for by ``science/solvated.py``: FOLDER ATOMS STEPS.

It runs where mace-torch and OpenMM-ML are installed. FOLDER has the topology, the classical System and a State; the
first ATOMS atoms are the model's. Every line on stdin asks for STEPS steps and is answered by a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openmm
import torch
from mace.tools import AtomicNumberTable
from mace_calls import untrained
from openmm import app
from openmmml import MLPotential


def main() -> None:
    torch.set_num_threads(1)
    folder, n_atoms, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    topology = app.PDBxFile(str(folder / "box.cif")).topology
    numbers = {atom.element.atomic_number for atom in list(topology.atoms())[:n_atoms]}
    torch.save(untrained("128x0e", AtomicNumberTable(sorted(numbers))), folder / "mace.model")
    torch.set_default_dtype(torch.float32)
    potential = MLPotential("mace", modelPath=str(folder / "mace.model"))
    classical = openmm.XmlSerializer.deserialize((folder / "held.xml").read_text())
    system = potential.createMixedSystem(topology, classical, list(range(n_atoms)), mlLongRange=False)
    integrator = openmm.VerletIntegrator(0.0005)
    integrator.setConstraintTolerance(1e-8)
    processor = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(
        topology, system, integrator, processor, {"Threads": "1", "DeterministicForces": "true"}
    )
    simulation.context.setState(openmm.XmlSerializer.deserialize((folder / "start.xml").read_text()))
    for _ in sys.stdin:
        simulation.step(steps)
        print("done", flush=True)


if __name__ == "__main__":
    main()
