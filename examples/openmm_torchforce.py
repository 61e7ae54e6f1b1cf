"""Molecular dynamics with an exported DenSNet model, in plain OpenMM: python openmm_torchforce.py MODEL.pt [SYSTEM.pdb]

Of a PDB file the particles that the model was exported for move in its potential, the others freely.
"""

# ruff: noqa: I001 - torch comes before openmm, which loads openmm-torch's kernels when it is imported
import json
import sys

import torch
import openmm
import openmm.app
import openmmtorch

extra = {"densnet.json": ""}
torch.jit.load(sys.argv[1], _extra_files=extra)
molecule = json.loads(extra["densnet.json"])
masses, positions = molecule["masses_dalton"], molecule["positions_nanometer"]
system = openmm.System()
if len(sys.argv) > 2:
    pdb = openmm.app.PDBFile(sys.argv[2])
    elements = [atom.element.atomic_number for atom in pdb.topology.atoms()]
    atoms = molecule["atoms"] or range(len(elements))
    # A TorchForce sees no elements: this is where atoms in another order are noticed.
    if [elements[index] for index in atoms] != molecule["numbers"] * molecule["n_replicas"]:
        sys.exit(f"{sys.argv[2]} has other elements in these places than the model was exported for.")
    masses, positions = [atom.element.mass for atom in pdb.topology.atoms()], pdb.positions
    if pdb.topology.getPeriodicBoxVectors() is not None:
        system.setDefaultPeriodicBoxVectors(*pdb.topology.getPeriodicBoxVectors())
for mass in masses:
    system.addParticle(mass)
force = openmmtorch.TorchForce(sys.argv[1])
force.setOutputsForces(True)
force.setUsesPeriodicBoundaryConditions(len(sys.argv) > 2 and pdb.topology.getPeriodicBoxVectors() is not None)
system.addForce(force)

integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0005)  # kelvin, 1/ps, ps
context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
context.setPositions(positions)
context.setVelocitiesToTemperature(300.0, 1)
print(f"{molecule['formula']}, {molecule['n_replicas']} replicas; step, potential and kinetic energy:")
for step in range(100, 1001, 100):
    integrator.step(100)
    state = context.getState(energy=True)
    print(step, state.getPotentialEnergy(), state.getKineticEnergy())
