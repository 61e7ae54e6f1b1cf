"""Molecular dynamics with OpenMM."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from densnet_core.errors import DenSNetError, InputError, PluginError
from densnet_core.md.stepping import Dynamics, Frame, SteppingEngine, noise_seed, not_finite
from densnet_core.potentials.bound import ENERGY_AND_FORCES, BoundPotential
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_NANOMETER, DALTON_TO_ELECTRON_MASS, HARTREE_TO_KJ_PER_MOL
from densnet_openmm.system import (
    ENERGY_UNIT,
    FORCE_UNIT,
    LENGTH_UNIT,
    NM_PER_PS,
    POTENTIAL_ENERGY,
    VELOCITY_UNIT,
    LastCall,
    find_platform,
    make_context,
    make_integrator,
    make_system,
    pairing_advice,
    python_force,
    torch_force,
)


class OpenMMEngine(SteppingEngine):
    """Integrates replicas of a molecule, of which isotopes may differ, with OpenMM, in vacuum and without constraints.

    NVT is OpenMM's Langevin middle integrator, NVE velocity Verlet. Positions and velocities are double precision on
    the platforms Reference and CPU. A restarted NVE run continues the same trajectory; a restarted NVT run
    continues from the same state with other noise, decided by the seed and the step.

    Parameters
    ----------
    options : object or None
        Attributes ``force`` ("torchforce" or "python"), ``platform`` (name of an OpenMM platform), ``threads`` and
        ``precision`` (of the integrator on graphics cards); defaults "python", "CPU", 1, "mixed". The route "python"
        alone records observables, of the very call that gives the forces.
    """

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.force: str = getattr(options, "force", "python")
        self.platform: str = getattr(options, "platform", "CPU")
        self.precision: str = getattr(options, "precision", "mixed")
        if self.force not in ("torchforce", "python"):
            raise InputError(f'force is "torchforce" or "python", not {self.force!r}.')
        self.records_outputs = self.force == "python"
        self._files: weakref.WeakKeyDictionary[BoundPotential, tempfile.TemporaryDirectory[str]]
        self._files = weakref.WeakKeyDictionary()

    def calls(self, stage: MDStage) -> int:
        """The route "torchforce" calls what it has written, not the bound potential."""
        return stage.n_steps if self.force == "python" else 0

    def begin(
        self,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        outputs: tuple[str, ...],
    ) -> Dynamics:
        """See ``SteppingEngine.begin``."""
        return _Dynamics(self, bound, structures, stage, start, outputs)

    def context(
        self,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        caught: list[BaseException],
        outputs: tuple[str, ...] = (),
        last: LastCall | None = None,
    ) -> Any:
        """The OpenMM Context of a run, for those who want more of OpenMM than ``run`` gives.

        ``bound`` comes from ``bind``, the masses are those of ``structures``. What the Python route raises inside
        OpenMM is put in ``caught``, and what it computes, these outputs too, in ``last``. Never serialise its System to
        XML: a PythonForce is pickled there.
        """
        python = self.force == "python"
        force = python_force(bound, caught, outputs, last) if python else torch_force(self._torchscript(bound))
        integrator = make_integrator(stage, noise_seed(stage.seed, start.step))
        platform = find_platform(self.platform, self.threads, self.precision)
        return make_context(make_system(structures, force), integrator, platform, start)

    def _torchscript(self, bound: BoundPotential) -> Path:
        """The TorchScript file, written once and removed with the engine or the potential."""
        if bound not in self._files:
            folder = tempfile.TemporaryDirectory(prefix="densnet-openmm-")
            bound.save_torchscript(Path(folder.name) / "potential.pt")
            self._files[bound] = folder
        return Path(self._files[bound].name) / "potential.pt"


class _Dynamics:
    """A context that advances from one recorded frame to the next."""

    def __init__(
        self,
        engine: OpenMMEngine,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        outputs: tuple[str, ...],
    ) -> None:
        self.stage, self.bound, self.outputs, self.last = stage, bound, outputs, LastCall()
        self.step = start.step
        self.shape = start.positions.shape
        self.route = engine.force
        self.masses = np.array([structure.masses for structure in structures])[..., None] * DALTON_TO_ELECTRON_MASS
        self.caught: list[BaseException] = []
        try:
            self.context = engine.context(bound, structures, stage, start, self.caught, outputs, self.last)
        except openmm.OpenMMException as error:
            raise self._route_error(error) from error
        self.integrator = self.context.getIntegrator()

    def first(self) -> Frame:
        """The frame of the start itself; the first call of the force."""
        try:
            state = self.context.getState(energy=True, forces=True)
        except openmm.OpenMMException as error:
            if self.caught:
                raise self._python_error(self.step) from error
            raise self._route_error(error) from error
        energy = state.getPotentialEnergy().value_in_unit(ENERGY_UNIT)
        bad = self._broken_replicas(state.getForces(asNumpy=True).value_in_unit(FORCE_UNIT))
        if bad.size or not np.isfinite(energy):
            raise not_finite(self.step, bad)
        return self._frame(energy)

    def advance(self) -> Frame:
        """Integrate to the next recorded step."""
        before = self.context.createCheckpoint()
        until = self.step + self.stage.record_every
        try:
            self.integrator.step(self.stage.record_every)
            frame = self._frame(self._potential_energy(), until)
        except openmm.OpenMMException as error:
            if self.caught and not isinstance(self.caught[0], DenSNetError):
                raise self.caught[0] from None  # a defect, or Ctrl-C
            raise self._diagnosis(before, until, error) from error
        if not (
            np.isfinite(frame.potential) and np.isfinite(frame.kinetic) and np.isfinite(frame.state.positions).all()
        ):
            raise self._diagnosis(before, until, None)
        self.step = until
        return frame

    def _potential_energy(self) -> float:
        """KJ/mol, of the present positions."""
        if self.stage.ensemble == "nve":
            return float(self.integrator.getGlobalVariableByName(POTENTIAL_ENERGY))
        return float(self.context.getState(energy=True).getPotentialEnergy().value_in_unit(ENERGY_UNIT))

    def _frame(self, energy: float, step: int | None = None) -> Frame:
        state = self.context.getState(positions=True, velocities=True)
        positions = state.getPositions(asNumpy=True).value_in_unit(LENGTH_UNIT).reshape(self.shape) / BOHR_TO_NANOMETER
        velocities = state.getVelocities(asNumpy=True).value_in_unit(VELOCITY_UNIT).reshape(self.shape) / NM_PER_PS
        kinetic = 0.5 * float((self.masses * velocities * velocities).sum())
        end = MDState(self.step if step is None else step, positions, velocities)
        return Frame(end, energy / HARTREE_TO_KJ_PER_MOL, kinetic, self._observables(positions))

    def _observables(self, positions: Array) -> dict[str, Array]:
        """Outputs at recorded positions, which are those of the last call of the force."""
        found = self.last.found
        if self.outputs and not np.array_equal(positions, self.last.positions):  # type: ignore[arg-type]
            found = self.bound.evaluate(positions, (*ENERGY_AND_FORCES, *self.outputs))
        return {name: found[name] for name in self.outputs}

    def _diagnosis(self, before: bytes, until: int, error: Exception | None) -> DenSNetError:
        """Go back to the last good frame and take single steps to find the first that fails, and its replica."""
        self.caught.clear()
        self.context.loadCheckpoint(before)
        for step in range(self.step + 1, until + 1):
            try:
                self.integrator.step(1)
            except openmm.OpenMMException:
                if self.caught:
                    return self._python_error(step)
            bad = self._broken_now()
            if bad is not None:
                return not_finite(step, bad)
            if self.caught:
                return self._python_error(step)
        if error is not None:
            return DenSNetError(f"OpenMM stopped between step {self.step + 1} and step {until}: {error}")
        return not_finite(until, np.empty(0, dtype=np.int64))

    def _broken_now(self) -> Any:
        """Replicas with a position, velocity or force that is not finite; None if all is well."""
        state = self.context.getState(positions=True, velocities=True)
        for values in (
            state.getPositions(asNumpy=True).value_in_unit(LENGTH_UNIT),
            state.getVelocities(asNumpy=True).value_in_unit(VELOCITY_UNIT),
        ):
            bad = self._broken_replicas(values)
            if bad.size:
                return bad
        try:
            state = self.context.getState(energy=True, forces=True)
        except openmm.OpenMMException:
            return None  # the exception of the Python route is in self.caught
        bad = self._broken_replicas(state.getForces(asNumpy=True).value_in_unit(FORCE_UNIT))
        return bad if bad.size or not np.isfinite(state.getPotentialEnergy().value_in_unit(ENERGY_UNIT)) else None

    def _broken_replicas(self, values: Array) -> Any:
        return np.flatnonzero(~np.isfinite(values.reshape(self.shape)).all(axis=(1, 2)))

    def _python_error(self, step: int) -> DenSNetError:
        """What the potential raised inside OpenMM; a defect is raised as it is."""
        error = self.caught[0]
        if isinstance(error, DenSNetError):
            return DenSNetError(f"At step {step}: {error}")
        raise error

    def _route_error(self, error: Exception) -> DenSNetError:
        if self.route == "torchforce":
            return PluginError(f"TorchForce failed at its first call: {error}. {pairing_advice()}")
        return PluginError(f"OpenMM cannot start: {error}")
