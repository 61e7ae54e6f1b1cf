"""The core's own molecular dynamics: all molecules in one call of the potential per step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from densnet_core.errors import InputError
from densnet_core.md.stepping import Dynamics, Frame, SteppingEngine, at_step, check_run
from densnet_core.md.velocities import kinetic_energy
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import ENERGY_AND_FORCES, BoundPotential
from densnet_core.potentials.together import Together
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Array, Structure
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS


class TorchEngine(SteppingEngine):
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
        self.shape, self.every, self.outputs = bound.shape, stage.record_every, outputs
        wanted = (*ENERGY_AND_FORCES, *outputs)
        self.atoms = _Atoms(
            lambda positions: bound.evaluate(positions.reshape(bound.shape), wanted),
            np.concatenate([structure.masses for structure in structures]),
            stage,
            MDState(start.step, start.positions.reshape(-1, 3), start.velocities.reshape(-1, 3)),
        )

    def first(self) -> Frame:
        self.atoms.evaluate()
        return self._frame()

    def advance(self) -> Frame:
        self.atoms.advance(self.every)
        return self._frame()

    def _frame(self) -> Frame:
        atoms = self.atoms
        state = MDState(
            atoms.step, atoms.positions.reshape(self.shape).copy(), atoms.velocities.reshape(self.shape).copy()
        )
        kinetic = float(kinetic_energy(atoms.velocities, atoms.masses))
        observables = {name: atoms.found[name] for name in self.outputs}
        return Frame(state, float(atoms.found["energy"].sum()), kinetic, observables)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Different molecules at one step of a dynamics, atomic units.

    Parameters
    ----------
    step : int
    positions, velocities : list of (n_atoms, 3)
        Of each molecule.
    outputs : mapping
        "energy", "forces" and what was asked for, as ``Potential.evaluate`` gives them, from the call of this step.
    """

    step: int
    positions: list[Array]
    velocities: list[Array]
    outputs: Mapping[str, Array]


def run_together(
    potential: Potential,
    structures: Sequence[Structure],
    velocities: Sequence[Array],
    stage: MDStage,
    outputs: Sequence[str] = (),
) -> Iterator[Snapshot]:
    """Dynamics of different molecules that never interact, in one call of the potential per step.

    Yields the start and every ``stage.record_every``-th step.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
        Molecules of any composition, replicas as often as they are wanted.
    velocities : sequence of (n_atoms, 3)
        Bohr per atomic unit of time.
    stage : MDStage
    outputs : sequence of str
        Further outputs of the potential.

    Raises
    ------
    InputError
        The stage cannot be run, velocities do not belong to the molecules, or the potential does not know them.
    DenSNetError
        Naming the step and the molecule, if energy or forces are not finite.
    """
    together = Together(potential, structures)
    if [one.shape for one in velocities] != [structure.positions.shape for structure in structures]:
        raise InputError("There must be velocities (n_atoms, 3) for each molecule.")
    wanted = (*ENERGY_AND_FORCES, *outputs)
    start = MDState(0, np.concatenate([one.positions for one in structures]), np.concatenate(velocities))
    check_run(start.positions.shape, stage, start, 1)

    def evaluate(positions: Array) -> dict[str, Array]:
        return together.evaluate(positions, wanted)

    atoms = _Atoms(evaluate, np.concatenate([structure.masses for structure in structures]), stage, start)
    atoms.evaluate()
    for step in range(0, stage.n_steps + 1, stage.record_every):
        if step:
            atoms.advance(stage.record_every)
        positions, moving = (np.split(values.copy(), together.ends) for values in (atoms.positions, atoms.velocities))
        yield Snapshot(step, positions, moving, atoms.found)


class _Atoms:
    """Atoms that move: arrays (n_atoms, 3) and the outputs of the potential at their present positions."""

    def __init__(
        self, outputs: Callable[[Array], dict[str, Array]], masses: Array, stage: MDStage, start: MDState
    ) -> None:
        self.outputs, self.masses, self.stage, self.step = outputs, masses, stage, start.step
        self.positions, self.velocities = start.positions.copy(), start.velocities.copy()
        inverse = 1.0 / (masses[:, None] * DALTON_TO_ELECTRON_MASS)
        self.half_kick = 0.5 * stage.time_step * inverse
        self.kept = float(np.exp(-stage.friction * stage.time_step))
        self.noise = np.sqrt((1.0 - self.kept**2) * BOLTZMANN * stage.temperature * inverse)
        self.found: dict[str, Array] = {}

    def evaluate(self) -> None:
        """Call the potential at the present positions."""
        with at_step(self.step):
            self.found = self.outputs(self.positions)

    def advance(self, n_steps: int) -> None:
        half_step = 0.5 * self.stage.time_step
        for _ in range(n_steps):
            self.velocities += self.half_kick * self.found["forces"]
            self.positions += half_step * self.velocities
            if self.stage.ensemble == "nvt":
                random = np.random.Generator(np.random.Philox(key=self.stage.seed % 2**63, counter=self.step << 64))
                self.velocities *= self.kept
                self.velocities += self.noise * random.standard_normal(self.velocities.shape)
            self.positions += half_step * self.velocities
            self.step += 1
            self.evaluate()
            self.velocities += self.half_kick * self.found["forces"]
