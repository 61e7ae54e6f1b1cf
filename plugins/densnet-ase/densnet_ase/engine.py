"""Molecular dynamics with the integrators of ASE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from densnet_core.md.stepping import Dynamics, Frame, SteppingEngine, at_step, noise_seed, not_finite
from densnet_core.md.velocities import kinetic_energy
from densnet_core.potentials.bound import ENERGY_AND_FORCES, BoundPotential
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_ANGSTROM, DALTON_TO_ELECTRON_MASS, EV_PER_ANGSTROM, HARTREE_TO_EV

# ASE's dynamics is consistent in angstrom, eV and dalton; its unit of time is what follows from these.
TIME: Final = float(np.sqrt(DALTON_TO_ELECTRON_MASS / BOHR_TO_ANGSTROM**2 * HARTREE_TO_EV))
"""ASE's unit of time in atomic units of time."""


class ASEEngine(SteppingEngine):
    """Integrates replicas of a molecule, of which isotopes may differ, with ASE, in vacuum and without constraints.

    NVT is ``ase.md.langevin.Langevin`` with a free centre of mass, NVE ``VelocityVerlet``. All replicas are in one call
    of the potential. A restarted NVE run continues the same trajectory; a restarted NVT run continues from the same
    state with other noise, decided by the seed and the step.

    Parameters
    ----------
    options : object or None
        Attribute ``threads`` (of torch), default 1.
    """

    def begin(
        self,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        outputs: tuple[str, ...],
    ) -> Dynamics:
        """See ``SteppingEngine.begin``."""
        return _Dynamics(bound, structures, stage, start, outputs)


class _Replicas:
    """What ASE's integrators ask of a calculator, for the atoms of all replicas one after another."""

    def __init__(self, bound: BoundPotential, outputs: tuple[str, ...]) -> None:
        self.bound, self.outputs = bound, outputs
        self.found: dict[str, Array] = {}
        """Energy, forces and outputs at the positions of the last forces, atomic units."""

    def get_forces(self, atoms: Atoms) -> Array:
        positions = atoms.positions.reshape(self.bound.shape) / BOHR_TO_ANGSTROM
        self.found = self.bound.evaluate(positions, (*ENERGY_AND_FORCES, *self.outputs))
        return self.found["forces"] * EV_PER_ANGSTROM


class _Dynamics:
    """A run that has begun, see ``densnet_core.md.stepping.Dynamics``."""

    def __init__(
        self,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        outputs: tuple[str, ...],
    ) -> None:
        self.bound, self.stage, self.start, self.step = bound, stage, start, start.step
        self.masses = np.array([structure.masses for structure in structures])
        self.replicas = _Replicas(bound, outputs)
        self.atoms = Atoms(
            np.concatenate([structure.numbers for structure in structures]),
            start.positions.reshape(-1, 3) * BOHR_TO_ANGSTROM,
            masses=self.masses.ravel(),
            calculator=self.replicas,
        )
        self.atoms.set_velocities(start.velocities.reshape(-1, 3) * (BOHR_TO_ANGSTROM * TIME))
        self.integrator = self._integrator(noise_seed(stage.seed, start.step))

    def _integrator(self, seed: int) -> Any:
        time_step = self.stage.time_step / TIME
        if self.stage.ensemble == "nve":
            return VelocityVerlet(self.atoms, time_step)
        return Langevin(
            self.atoms,
            time_step,
            temperature_K=self.stage.temperature,
            friction=self.stage.friction * TIME,
            fixcm=False,
            rng=np.random.default_rng(seed),
        )

    def first(self) -> Frame:
        with at_step(self.step):
            self.forces = self.atoms.get_forces()
        return self._frame(self.start)

    def advance(self) -> Frame:
        for _ in range(self.stage.record_every):
            with at_step(self.step + 1):
                self.forces = self.integrator.step(self.forces)
            self.step += 1
        positions = self.atoms.positions.reshape(self.bound.shape) / BOHR_TO_ANGSTROM
        velocities = self.atoms.get_velocities().reshape(self.bound.shape) / (BOHR_TO_ANGSTROM * TIME)
        bad = np.flatnonzero(~np.isfinite(velocities).all(axis=(1, 2)))
        if bad.size:
            raise not_finite(self.step, bad)
        return self._frame(MDState(self.step, positions, velocities))

    def _frame(self, state: MDState) -> Frame:
        found, kinetic = self.replicas.found, float(kinetic_energy(state.velocities, self.masses).sum())
        observables = {name: found[name] for name in self.replicas.outputs}
        return Frame(state, float(found["energy"].sum()), kinetic, observables)
