"""Molecular dynamics with an exported DenSNet model, in plain OpenMM: python openmm_torchforce.py MODEL.pt"""

# ruff: noqa: I001 - torch comes before openmm, which loads openmm-torch's kernels when it is imported
import json
import sys

import torch
import openmm
import openmmtorch

extra = {"densnet.json": ""}
torch.jit.load(sys.argv[1], _extra_files=extra)
molecule = json.loads(extra["densnet.json"])

system = openmm.System()
for mass in molecule["masses_dalton"]:
    system.addParticle(mass)
force = openmmtorch.TorchForce(sys.argv[1])
force.setOutputsForces(True)
system.addForce(force)

integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0005)  # kelvin, 1/ps, ps
context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
context.setPositions(molecule["positions_nanometer"])
context.setVelocitiesToTemperature(300.0, 1)
print(f"{molecule['formula']}, {molecule['n_replicas']} replicas; step, potential and kinetic energy:")
for step in range(100, 1001, 100):
    integrator.step(100)
    state = context.getState(energy=True)
    print(step, state.getPotentialEnergy(), state.getKineticEnergy())
