"""What engines that advance step by step have in common: checks of a run, frames in blocks, seeds of the noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DenSNetError, InputError
from densnet_core.md.base import MDEngine, Recording
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.threads import torch_threads
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.structures import Array, Structure


@dataclass(frozen=True, eq=False)
class Frame:
    """What is recorded at one step: the state, energies of all replicas together (hartree), and observables."""

    state: MDState
    potential: float
    kinetic: float
    observables: Mapping[str, Array] = field(default_factory=dict)


class Dynamics(Protocol):
    """A run that has begun: it goes from one recorded frame to the next."""

    def first(self) -> Frame:
        """The frame of the start itself; ``DenSNetError`` if a force or energy is not finite there."""

    def advance(self) -> Frame:
        """The next recorded frame; ``DenSNetError`` naming step and replica if anything is not finite before it."""


class SteppingEngine(MDEngine):
    """An engine that goes from one recorded frame to the next; subclasses say how a run begins.

    Parameters
    ----------
    options : object or None
        Attribute ``threads`` (of torch), default 1.
    """

    records_outputs: bool = True

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.threads: int = getattr(options, "threads", 1)

    def prepare(self, potential: Potential, structures: Sequence[Structure], stage: MDStage) -> None:
        """See ``MDEngine.prepare``."""
        self.bind(potential, structures, self.calls(stage))

    def run(
        self,
        potential: Potential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        recording: Recording | None = None,
    ) -> Iterator[MDFrames]:
        """See ``MDEngine.run``."""
        outputs = recording.outputs if recording else ()
        if outputs and not self.records_outputs:
            raise InputError(
                f"{type(self).__name__} records energies and no {', '.join(outputs)}; take the engine torch or ase, or "
                'openmm with force = "python".'
            )
        bound = self.bind(potential, structures, self.calls(stage))

        def begin() -> Dynamics:
            return self.begin(bound, structures, stage, start, outputs)

        # A generator of its own, so that it holds the potential while it runs.
        yield from recorded(begin, bound.shape, stage, start, recording, self.threads)

    def calls(self, stage: MDStage) -> int:
        """How often a stage calls the bound potential at least; many are worth compiling it."""
        return stage.n_steps

    @abstractmethod
    def begin(
        self,
        bound: BoundPotential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        outputs: tuple[str, ...],
    ) -> Dynamics:
        """The dynamics of a run that has been checked."""


def recorded(
    make: Callable[[], Dynamics],
    shape: tuple[int, int, int],
    stage: MDStage,
    start: MDState,
    recording: Recording | None,
    threads: int = 1,
) -> Iterator[MDFrames]:
    """What ``MDEngine.run`` yields, from dynamics that ``make`` begins after the checks.

    Parameters
    ----------
    make : callable
    shape : (n_replicas, n_atoms, 3)
        Of positions and velocities.
    stage, start, recording
        As ``MDEngine.run`` has them; ``progress`` gets the number of steps done at every recorded frame.
    threads : int
        Threads of torch while the dynamics runs.
    """
    recording = recording or Recording()
    check_run(shape, stage, start, recording.block_frames)
    if start.step == stage.n_steps:
        return
    with torch_threads(threads):
        dynamics = make()
        first = dynamics.first()  # also on a restart: the force works and the state is sound
    frames = [first] if start.step == 0 else []
    for step in range(start.step, stage.n_steps + 1, stage.record_every):
        if step > start.step:
            with torch_threads(threads):  # not across the yield: the caller has threads of its own
                frames.append(dynamics.advance())
        if recording.progress is not None:
            recording.progress(step)
        if len(frames) == recording.block_frames or (step == stage.n_steps and frames):
            yield _block(frames)
            frames = []


def _block(frames: list[Frame]) -> MDFrames:
    return MDFrames(
        steps=np.array([frame.state.step for frame in frames], dtype=np.int64),
        positions=np.stack([frame.state.positions for frame in frames]),
        potential_energy=np.array([frame.potential for frame in frames]),
        kinetic_energy=np.array([frame.kinetic for frame in frames]),
        end=frames[-1].state,
        observables={name: np.stack([frame.observables[name] for frame in frames]) for name in frames[0].observables},
    )


def noise_seed(seed: int, step: int) -> int:
    """A seed of 1 to 2^31 - 1 that differs for every step a run starts from, so that no noise comes twice."""
    return 1 + int(np.random.SeedSequence([seed % 2**63, step]).generate_state(1)[0]) % (2**31 - 1)


def not_finite(step: int, replicas: NDArray[np.int64]) -> DenSNetError:
    """The error of a run that broke down."""
    who = "replica " + ", ".join(map(str, replicas)) if len(replicas) else "an unknown replica (the sum of energies)"
    return DenSNetError(
        f"At step {step} the positions, forces or energy of {who} are not finite. Reduce the time step, or train the "
        "model on geometries like those before this step."
    )


@contextmanager
def at_step(step: int) -> Iterator[None]:
    """Let an error of the potential say at which step it came."""
    try:
        yield
    except InputError:
        raise  # of the request, not of the step
    except DenSNetError as error:
        raise DenSNetError(f"At step {step}: {error}") from error


def check_run(shape: tuple[int, ...], stage: MDStage, start: MDState, block_frames: int) -> None:
    """``InputError`` for a stage that cannot be run, or a start that does not belong to it."""
    if stage.ensemble not in ("nvt", "nve"):
        raise InputError(f'The ensemble is "nvt" or "nve", not {stage.ensemble!r}.')
    if stage.n_steps < 1 or stage.record_every < 1 or block_frames < 1:
        raise InputError(
            f"n_steps ({stage.n_steps}), record_every ({stage.record_every}) and block_frames ({block_frames}) must "
            "be at least 1."
        )
    if stage.n_steps % stage.record_every:
        raise InputError(
            f"n_steps ({stage.n_steps}) must be a multiple of record_every ({stage.record_every}), "
            "so that the last state is recorded."
        )
    if not (stage.time_step > 0 and np.isfinite(stage.time_step)):
        raise InputError(f"The time step must be positive, not {stage.time_step}.")
    if stage.ensemble == "nvt" and not (stage.temperature >= 0 and stage.friction > 0):
        raise InputError(
            f"NVT needs a temperature (found {stage.temperature} K) and a positive friction (found {stage.friction})."
        )
    if not 0 <= start.step <= stage.n_steps or start.step % stage.record_every:
        raise InputError(
            f"The start is at step {start.step}; a stage of {stage.n_steps} steps recorded every "
            f"{stage.record_every} can only continue at one of its recorded steps."
        )
    if start.positions.shape != shape or start.velocities.shape != shape:
        raise InputError(
            f"Positions and velocities must have shape {shape}, not {start.positions.shape} and "
            f"{start.velocities.shape}."
        )
    if not (np.isfinite(start.positions).all() and np.isfinite(start.velocities).all()):
        raise InputError("The positions or velocities to start from are not finite.")
