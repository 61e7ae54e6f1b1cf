"""Models as forces of a System that OpenMM's users have already."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from densnet_core.errors import InputError
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.structures import Array
from densnet_core.units import BOHR_TO_NANOMETER, HARTREE_TO_KJ_PER_MOL, KJ_PER_MOL_NANOMETER
from densnet_openmm.solute import Solute
from densnet_openmm.system import LENGTH_UNIT, import_torch_force, require_python_force

ROUTES = ("python", "torchforce")


def add_force(
    system: Any,
    topology: Any,
    model: Potential | str | Path,
    atoms: Iterable[int] | None = None,
    *,
    group: int = 0,
    charge: int = 0,
    multiplicity: int = 1,
    route: str = "python",
    positions: Any = None,
) -> Any:
    """Add a model to a System as one force, and return that force.

    The force adds the model's total energy of these atoms as an isolated molecule, and nothing else: interactions with
    other particles stay those of the other forces (mechanical embedding). A periodic System is no obstacle: the
    molecule is put together along the bonds of the topology, and its own images are not seen by the model. To replace
    the terms of a force field by a model take OpenMM-ML, ``MLPotential("densnet", model=...).createMixedSystem``.

    With the route "python" the model is compiled at the first force: half a minute once for each molecule and machine
    (``DENSNET_COMPILE=never`` leaves it out).

    Parameters
    ----------
    system : openmm.System
    topology : openmm.app.Topology
        Of all particles of the System, in their order.
    model : Potential or path
        A model, or the folder or zip file of its package.
    atoms : iterable of int or None
        Indices of the particles that the model computes; None means all.
    group : int
        Force group.
    charge, multiplicity : int
        Of the atoms together.
    route : {"python", "torchforce"}
        ``openmm.PythonForce``, or openmm-torch's ``TorchForce`` with all pairs of atoms, which needs ``positions``.
        A System with either serialises; reading such XML runs what is in it, so read your own only.
    positions : Quantity or (n_particles, 3) in nm, optional
        Where the particles are. With them the model refuses at once what it does not know, instead of at the first
        force.

    Raises
    ------
    InputError
        Topology and System do not belong together; the model does not know these atoms; constraints or bonds of a force
        field act on them; in a periodic System their bonds do not connect them.
    """
    if route not in ROUTES:
        raise InputError(f'route is "python" or "torchforce", not {route!r}.')
    if system.getNumParticles() != topology.getNumAtoms():
        raise InputError(
            f"The System has {system.getNumParticles()} particles and the topology {topology.getNumAtoms()} atoms; "
            "give the topology that the System was made from."
        )
    solute = make_solute(system, topology, model, atoms, charge, multiplicity)
    _refuse_constraints(system, solute)
    _refuse_bonds(system, solute)
    return add_solute(system, topology, solute, group, route, positions)


def make_solute(
    system: Any,
    topology: Any,
    model: Potential | str | Path,
    atoms: Iterable[int] | None,
    charge: int,
    multiplicity: int,
) -> Solute:
    """The atoms of a System as a molecule; virtual sites that have an element, such as link atoms, count as bonded."""
    sites = [index for index in range(system.getNumParticles()) if system.isVirtualSite(index)]
    bonds = [(index, system.getVirtualSite(index).getParticle(0)) for index in sites]
    return Solute(topology, model, atoms, charge, multiplicity, bonds)


def add_solute(
    system: Any, topology: Any, solute: Solute, group: int, route: str = "python", positions: Any = None
) -> Any:
    """Add the force of a solute, see ``add_force``, whatever else acts on its atoms."""
    periodic = topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
    if periodic:
        solute.check_periodic()
    example = None
    if positions is not None:
        box = system.getDefaultPeriodicBoxVectors() if periodic else None
        example = solute.structure(_nanometers(positions)[solute.atoms], None if box is None else _nanometers(box))
        solute.potential.check([example])
    if route == "python":
        require_python_force()
        force = openmm.PythonForce(SoluteForce(solute, periodic))
        force.setParticles(solute.atoms.tolist())
    elif example is None:
        raise InputError('route "torchforce" needs positions=: the model is traced at a geometry.')
    else:
        force = _torch_force(BoundPotential(solute.potential, [example]), solute)
    force.setName("DenSNet")
    force.setForceGroup(group)
    force.setUsesPeriodicBoundaryConditions(periodic)
    system.addForce(force)
    return force


class SoluteForce:
    """What ``openmm.PythonForce`` calls: energy and forces of a solute from the state of its particles.

    It can be pickled, and serves several Contexts.
    """

    def __init__(self, solute: Solute, periodic: bool) -> None:
        self.solute, self.periodic = solute, periodic
        self._bound: BoundPotential | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bound": None}

    def __call__(self, state: Any) -> tuple[float, Array]:
        """KJ/mol and kJ/(mol nm)."""
        positions = state.getPositions(asNumpy=True).value_in_unit(LENGTH_UNIT)
        box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(LENGTH_UNIT) if self.periodic else None
        if self._bound is None:
            structure = self.solute.structure(positions, box)
            self._bound = BoundPotential(self.solute.potential, [structure], native=True)
            whole = structure.positions
        else:
            whole = (positions if box is None else self.solute.tree.whole(positions, box)) / BOHR_TO_NANOMETER
        energies, forces = self._bound.energy_and_forces(whole[None])
        return float(energies[0]) * HARTREE_TO_KJ_PER_MOL, forces[0] * KJ_PER_MOL_NANOMETER


def _torch_force(bound: BoundPotential, solute: Solute) -> Any:
    torch_force = import_torch_force()
    import torch

    with tempfile.TemporaryDirectory(prefix="densnet-openmm-") as folder:
        path = Path(folder) / "solute.pt"
        bound.save_torchscript(path, solute.atoms.tolist(), solute.tree)
        force = torch_force(torch.jit.load(str(path)))  # type: ignore[no-untyped-call]
    force.setOutputsForces(True)
    return force


def _nanometers(vectors: Any) -> Array:
    """Vectors with or without OpenMM's units, all together or each of them, as an array in nm."""
    plain = [_plain(vector) for vector in _plain(vectors)]
    return np.array([[float(component) for component in vector] for vector in plain])


def _plain(value: Any) -> Any:
    return value.value_in_unit(LENGTH_UNIT) if openmm.unit.is_quantity(value) else value


def _refuse_constraints(system: Any, solute: Solute) -> None:
    own = set(solute.atoms.tolist())
    for index in range(system.getNumConstraints()):
        first, second, _ = system.getConstraintParameters(index)
        if first in own or second in own:
            raise InputError(
                f"The System constrains the distance of particles {first} and {second}, and the model computes how it "
                "vibrates. Make the System with constraints=None and rigidWater=False, or remove the constraints of "
                "the model's atoms (system.removeConstraint)."
            )


def _refuse_bonds(system: Any, solute: Solute) -> None:
    own = set(solute.atoms.tolist())
    for force in system.getForces():
        if not isinstance(force, openmm.HarmonicBondForce):
            continue
        for index in range(force.getNumBonds()):
            first, second, _, stiffness = force.getBondParameters(index)
            if first in own and second in own and stiffness != 0.0 * stiffness:
                raise InputError(
                    f"A force field's bond between particles {first} and {second} still acts, and the model has it "
                    'too. Take MLPotential("densnet", model=...).createMixedSystem of OpenMM-ML, which removes what '
                    "the model replaces."
                )
