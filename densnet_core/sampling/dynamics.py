"""Sampling by Langevin dynamics, whatever the forces come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import ceil
from typing import cast

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import ConvergenceError, DenSNetError, InputError
from densnet_core.md.rigid import is_linear
from densnet_core.md.velocities import thermal_velocities
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.checks import Defect, defect
from densnet_core.sampling.config import DynamicsOptions
from densnet_core.sampling.distinct import distinct, on_hash_grid
from densnet_core.sampling.integrator import Forces, HeatBath, Motion, propagate
from densnet_core.sampling.walkers import Walker, WalkerFile
from densnet_core.structures import Structure
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND

Array = NDArray[np.float64]

MAX_REFUSED_IN_A_ROW = 5


class DynamicsSampler(Sampler):
    """Geometries at regular intervals from independent trajectories, called walkers, at a temperature.

    A geometry that is broken, or at which there are no forces, is refused; its walker goes back to where it was last
    intact and leaves in another direction. The finished part is written to the context's folder at regular intervals,
    and a sampler that finds it there goes on from it to the same result.

    Parameters
    ----------
    options : DynamicsOptions
    """

    options: DynamicsOptions
    frames_per_task: int = 1
    """Geometries that a walker makes between two writes."""

    def __init__(self, options: DynamicsOptions) -> None:
        super().__init__(options)

    @abstractmethod
    def forces(self, structure: Structure, context: SamplingContext) -> Forces:
        """The forces; they travel to worker processes, so they must be importable and hold plain data only."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """``count`` geometries, of every walker the first one, then the second one and so on.

        The centre of mass stays that of ``structure``.

        Raises
        ------
        InputError
            If the molecule breaks again and again.
        """
        context = context or SamplingContext()
        options = self.options
        n_steps = max(1, round(options.interval_fs / options.time_step_fs))
        bath = HeatBath(
            options.temperature,
            options.friction_per_ps * ATOMIC_TIME_TO_FEMTOSECOND / 1000.0,
            options.time_step_fs / ATOMIC_TIME_TO_FEMTOSECOND,
        )
        warm_up = ceil(options.equilibration_fs / (n_steps * options.time_step_fs))
        per_walker = warm_up + ceil(options.count / options.walkers)
        seed = (options.seed, context.stream)
        walkers = [Walker(index, structure.positions, ()) for index in range(options.walkers)]
        file = None if context.folder is None else WalkerFile(context.folder / "walkers.npz")
        if file is not None:
            walkers = file.read() or walkers
        work = _Stretch(structure, self.forces(structure, context), bath, n_steps, seed, 0)
        advance = context.task("geometries", per_walker * options.walkers)
        while (done := min(len(walker.frames) for walker in walkers)) < per_walker:
            advance(done * options.walkers, "frames, warming up first" if done < warm_up else "frames")
            stretch = replace(work, n_frames=min(self.frames_per_task, per_walker - done))
            walkers = _advanced(walkers, stretch, context)
            if file is not None:
                file.write(walkers)
        advance(per_walker * options.walkers, "frames")
        for walker in walkers:
            for fault in walker.refused:
                context.refused.add(fault)
        frames = [walker.frames[step] for step in range(warm_up, per_walker) for walker in walkers]
        return distinct(on_hash_grid(structure.with_positions(frame)) for frame in frames)[: options.count]


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Takes a walker ``n_frames`` further; the work of one task."""

    structure: Structure
    forces: Forces
    bath: HeatBath
    n_steps: int
    seed: tuple[int, int]
    n_frames: int

    def __call__(self, walker: Walker) -> Walker:
        goal = len(walker.frames) + self.n_frames
        in_a_row = 0
        while len(walker.frames) < goal:
            motion, fault = self._try(walker)
            if motion is not None:
                walker = replace(walker, frames=(*walker.frames, motion.positions), motion=motion)
                in_a_row = 0
                continue
            in_a_row += 1
            if in_a_row == MAX_REFUSED_IN_A_ROW:
                raise InputError(
                    f"At {self.bath.temperature:g} K the dynamics broke the molecule {in_a_row} times in a row; the "
                    f"last time: {fault}. Lower the temperature or the time step."
                )
            walker = replace(walker, motion=None, refused=(*walker.refused, cast(Defect, fault)))
        return walker

    def _try(self, walker: Walker) -> tuple[Motion | None, Defect | None]:
        # Random numbers by place, not by history: a walker that is resumed draws what it would have drawn.
        place = (*self.seed, walker.index, len(walker.frames), len(walker.refused))
        try:
            start = walker.motion or self._at_rest(walker, place)
            end = propagate(
                start, self.structure, self.forces, self.bath, self.n_steps, np.random.default_rng((*place, 1))
            )
        except ConvergenceError as error:
            return None, Defect("no forces", str(error))
        masses = self.structure.masses
        drift = masses @ (end.positions - self.structure.positions) / masses.sum()
        end = replace(end, positions=end.positions - drift)
        fault = defect(self.structure.with_positions(end.positions), self.structure)
        return (end, None) if fault is None else (None, fault)

    def _at_rest(self, walker: Walker, place: tuple[int, ...]) -> Motion:
        """The walker where it was last intact, with fresh velocities."""
        positions = walker.frames[-1] if walker.frames else walker.start
        seed = int(np.random.SeedSequence((*place, 0)).generate_state(1)[0])
        masses, temperature = self.structure.masses, self.bath.temperature
        linear = is_linear(masses, self.structure.positions)
        velocities = thermal_velocities(masses, positions[None], temperature, seed, linear=linear)[0]
        return Motion(positions, velocities, self.forces(self.structure.with_positions(positions)))


def _advanced(walkers: Sequence[Walker], stretch: _Stretch, context: SamplingContext) -> list[Walker]:
    """All walkers one task further, in the processes of the executor if there is one."""
    if context.executor is None:
        return [stretch(walker) for walker in walkers]
    moved = list(walkers)
    with closing(context.executor.map(stretch, walkers)) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                raise outcome.error or DenSNetError(f"Walker {outcome.index} came back empty.")
            moved[outcome.index] = outcome.value
    return moved
