"""The core's own molecular dynamics: all replicas of a molecule in one call of the potential per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from densnet_core.md.base import MDEngine, Recording
from densnet_core.md.stepping import Frame, at_step, recorded
from densnet_core.md.velocities import kinetic_energy
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import ENERGY_AND_FORCES, BoundPotential
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.structures import Array, Structure
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS


class TorchEngine(MDEngine):
    """Integrates replicas of a molecule, of which isotopes may differ, in vacuum and without constraints.

    NVE is velocity Verlet, NVT its Langevin extension BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013,
    34), which samples the positions of harmonic motion exactly at any stable time step. Everything is in float64. The
    noise of a step depends on the seed and the number of the step alone, so that a restarted run of either ensemble
    continues the same trajectory.

    Parameters
    ----------
    options : object or None
        Attribute ``threads`` (of torch), default 1.
    """

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.threads: int = getattr(options, "threads", 1)

    def run(
        self,
        potential: Potential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        recording: Recording | None = None,
    ) -> Iterator[MDFrames]:
        """See ``MDEngine.run``."""
        bound = self.bind(potential, structures, stage.n_steps)

        def begin() -> _Dynamics:
            return _Dynamics(bound, structures, stage, start, recording.outputs if recording else ())

        # A generator of its own, so that it holds the potential while it runs.
        yield from recorded(begin, bound.shape, stage, start, recording, self.threads)


class _Dynamics:
    """A run that has begun, see ``densnet_core.md.stepping.Dynamics``; arrays (n_replicas, n_atoms, 3)."""

    def __init__(
        self,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        outputs: tuple[str, ...],
    ) -> None:
        self.bound, self.stage, self.step, self.outputs = bound, stage, start.step, outputs
        self.positions, self.velocities = start.positions.copy(), start.velocities.copy()
        self.masses = np.array([structure.masses for structure in structures])
        self.half_kick = 0.5 * stage.time_step / (self.masses[..., None] * DALTON_TO_ELECTRON_MASS)
        self.kept = float(np.exp(-stage.friction * stage.time_step)) if stage.ensemble == "nvt" else 1.0
        thermal = np.sqrt(BOLTZMANN * stage.temperature / (self.masses[..., None] * DALTON_TO_ELECTRON_MASS))
        self.noise: Array = np.sqrt(1.0 - self.kept**2) * thermal

    def first(self) -> Frame:
        with at_step(self.step):
            self._evaluate()
        return self._frame()

    def advance(self) -> Frame:
        half_step = 0.5 * self.stage.time_step
        for _ in range(self.stage.record_every):
            self.velocities += self.half_kick * self.forces
            self.positions += half_step * self.velocities
            if self.stage.ensemble == "nvt":
                random = np.random.Generator(np.random.Philox(key=self.stage.seed % 2**63, counter=self.step << 64))
                self.velocities *= self.kept
                self.velocities += self.noise * random.standard_normal(self.velocities.shape)
            self.positions += half_step * self.velocities
            self.step += 1
            with at_step(self.step):
                self._evaluate()
            self.velocities += self.half_kick * self.forces
        return self._frame()

    def _evaluate(self) -> None:
        self.found = self.bound.evaluate(self.positions, (*ENERGY_AND_FORCES, *self.outputs))
        self.forces = self.found["forces"].reshape(self.bound.shape)

    def _frame(self) -> Frame:
        state = MDState(self.step, self.positions.copy(), self.velocities.copy())
        kinetic = float(kinetic_energy(state.velocities, self.masses).sum())
        observables = {name: self.found[name] for name in self.outputs}
        return Frame(state, float(self.found["energy"].sum()), kinetic, observables)
