"""The OpenMM objects behind a run: particles, the force by either route, the integrator, the platform.

Units change here, and only here, between the core's atomic units and OpenMM's nm, ps, dalton and kJ/mol.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import openmm

from densnet_core.errors import InputError, PluginError
from densnet_core.potentials.bound import ENERGY_AND_FORCES, BoundPotential
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Array, Structure
from densnet_core.units import (
    ATOMIC_TIME_TO_FEMTOSECOND,
    BOHR_TO_NANOMETER,
    HARTREE_TO_KJ_PER_MOL,
    KJ_PER_MOL_NANOMETER,
)

ATOMIC_TIME_TO_PICOSECOND: Final = ATOMIC_TIME_TO_FEMTOSECOND * 1e-3
NM_PER_PS: Final = BOHR_TO_NANOMETER / ATOMIC_TIME_TO_PICOSECOND
"""Bohr per atomic unit of time to nanometer per picosecond."""
LENGTH_UNIT: Final = openmm.unit.nanometer
VELOCITY_UNIT: Final = openmm.unit.nanometer / openmm.unit.picosecond
ENERGY_UNIT: Final = openmm.unit.kilojoule_per_mole
FORCE_UNIT: Final = openmm.unit.kilojoule_per_mole / openmm.unit.nanometer
POTENTIAL_ENERGY: Final = "potential_energy"

# openmmtorch is compiled against one minor version of torch: what was found to work together.
TORCH_OF_OPENMMTORCH: Final = {"1.5": "2.9"}
PYTHON_ROUTE: Final = 'or set force = "python", which works with every torch'


def make_system(structures: Sequence[Structure], force: Any) -> Any:
    """A System of free particles, molecule by molecule, with one force and nothing else."""
    system = openmm.System()
    for mass in np.concatenate([structure.masses for structure in structures]):
        system.addParticle(float(mass))
    system.addForce(force)
    return system


def require_python_force() -> None:
    """``PluginError`` where OpenMM has no ``PythonForce``."""
    if not hasattr(openmm, "PythonForce"):
        raise PluginError(
            f"OpenMM {openmm.version.version} has no PythonForce; install openmm 8.4 or later, "
            "or take the route torchforce."
        )


@dataclass
class LastCall:
    """The positions (n_replicas, n_atoms, 3) in bohr of the last call of a potential, and all that it gave."""

    positions: Array | None = None
    found: Mapping[str, Array] = field(default_factory=dict)


def python_force(
    bound: BoundPotential, caught: list[BaseException], outputs: tuple[str, ...] = (), last: LastCall | None = None
) -> Any:
    """``openmm.PythonForce`` that calls the bound potential, for energy, forces and these outputs.

    OpenMM passes on only the text of an exception, so the exception itself is put in ``caught``.
    """
    require_python_force()
    shape, wanted, call = bound.shape, (*ENERGY_AND_FORCES, *outputs), last or LastCall()

    def compute(state: Any) -> tuple[float, Array]:
        try:
            positions = state.getPositions(asNumpy=True).value_in_unit(LENGTH_UNIT)
            call.positions = positions.reshape(shape) / BOHR_TO_NANOMETER
            call.found = bound.evaluate(call.positions, wanted)
        except BaseException as error:
            caught.append(error)
            raise
        energies, forces = call.found["energy"], call.found["forces"]
        return float(energies.sum()) * HARTREE_TO_KJ_PER_MOL, forces.reshape(-1, 3) * KJ_PER_MOL_NANOMETER

    force = openmm.PythonForce(compute)
    force.setUsesPeriodicBoundaryConditions(False)
    return force


def torch_force(path: Path) -> Any:
    """``openmmtorch.TorchForce`` on a file of ``BoundPotential.save_torchscript``."""
    torch_force_class = import_torch_force()
    force = torch_force_class(str(path))
    force.setOutputsForces(True)
    force.setUsesPeriodicBoundaryConditions(False)
    return force


def import_torch_force() -> Any:
    """The class ``openmmtorch.TorchForce``; ``PluginError`` with what to install if it cannot be had."""
    import torch  # noqa: F401 - first, or openmmtorch does not find the libraries that torch brings

    if importlib.util.find_spec("openmmtorch") is None:
        raise PluginError(
            f"The TorchForce route needs openmmtorch: pip install 'densnet-openmm[torchforce]', {PYTHON_ROUTE}."
        )
    try:
        with _without_the_simtk_warning():
            import openmmtorch
    except ImportError as error:
        raise PluginError(f"openmmtorch cannot be imported ({error}). {pairing_advice()}") from error
    _load_torch_kernels()
    return openmmtorch.TorchForce


def _load_torch_kernels() -> None:
    """Load openmm-torch's kernels if OpenMM could not: it tries when imported, and fails where torch comes later."""
    reference = openmm.Platform.getPlatformByName("Reference")
    problems = []
    for library in sorted(Path(openmm.version.openmm_library_path, "plugins").glob("*OpenMMTorch*")):
        if not reference.supportsKernels(["CalcTorchForce"]):
            try:
                openmm.Platform.loadPluginLibrary(str(library))
            except openmm.OpenMMException as error:
                problems.append(str(error))
    if not reference.supportsKernels(["CalcTorchForce"]):
        raise PluginError(f"OpenMM cannot load openmm-torch ({'; '.join(problems)}). {pairing_advice()}")


def pairing_advice() -> str:
    """The installed versions of torch and openmmtorch and what to do if they do not fit."""
    have = {name: _version(name) for name in ("openmmtorch", "torch")}
    wanted = TORCH_OF_OPENMMTORCH.get(have["openmmtorch"])
    found = f"Found openmmtorch {have['openmmtorch']} and torch {have['torch']}"
    if wanted and not have["torch"].startswith(wanted + "."):
        return (
            f"{found}; these work together with torch {wanted} only: pip install 'torch=={wanted}.*', {PYTHON_ROUTE}."
        )
    return f"{found}; openmmtorch must be the one built for this torch. Reinstall both, {PYTHON_ROUTE}."


def make_integrator(stage: MDStage, seed: int) -> Any:
    """Langevin middle integrator for NVT; for NVE velocity Verlet, which also keeps the potential energy."""
    time_step = stage.time_step * ATOMIC_TIME_TO_PICOSECOND
    if stage.ensemble == "nvt":
        friction = stage.friction / ATOMIC_TIME_TO_PICOSECOND
        integrator = openmm.LangevinMiddleIntegrator(stage.temperature, friction, time_step)
        integrator.setRandomNumberSeed(seed)
        return integrator
    # Not OpenMM's VerletIntegrator: it is a leapfrog, whose velocities are half a step behind the positions, and it
    # needs a second evaluation of the potential to report an energy.
    integrator = openmm.CustomIntegrator(time_step)
    integrator.addGlobalVariable(POTENTIAL_ENERGY, 0.0)
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputeGlobal(POTENTIAL_ENERGY, "energy")
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    return integrator


def find_platform(name: str, threads: int, precision: str) -> tuple[Any, dict[str, str]]:
    """An OpenMM platform and the properties to use it with.

    Raises
    ------
    InputError
        If there is no such platform; the message lists those there are.
    """
    names = [openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        raise InputError(f"OpenMM has no platform {name!r} here; available: {', '.join(names)}.")
    platform = openmm.Platform.getPlatformByName(name)
    wanted = {"Threads": str(threads), "Precision": precision}
    known = platform.getPropertyNames()
    return platform, {key: value for key, value in wanted.items() if key in known}


def make_context(system: Any, integrator: Any, platform: tuple[Any, dict[str, str]], start: MDState) -> Any:
    """A Context with positions and velocities set."""
    context = openmm.Context(system, integrator, *platform)
    context.setPositions(start.positions.reshape(-1, 3) * BOHR_TO_NANOMETER)
    context.setVelocities(start.velocities.reshape(-1, 3) * NM_PER_PS)
    return context


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


@contextmanager
def _without_the_simtk_warning() -> Iterator[None]:
    # openmmtorch 1.5 imports OpenMM under its old name, which logs a warning that our users can do nothing about.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
