"""Run one stage of dynamics into a store, from its start or from where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from densnet_core.errors import DataError
from densnet_core.md.base import MDEngine, Recording
from densnet_core.potentials.base import Potential
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.structures import Structure

BLOCK_FRAMES: Final = 100
"""Recorded frames per block: what a killed run loses at most."""


def run_stage(
    engine: MDEngine,
    potential: Potential,
    structures: Sequence[Structure],
    stage: MDStage,
    start: MDState,
    append: Callable[[MDFrames], None],
    restart: MDState | None = None,
    progress: Callable[[int], None] | None = None,
    block_frames: int = BLOCK_FRAMES,
    outputs: tuple[str, ...] = (),
) -> MDState:
    """Integrate a stage to its end and hand every block of frames to ``append``.

    Parameters
    ----------
    engine : MDEngine
    potential : Potential
    structures : sequence of Structure
        The molecules; their positions are those of ``start``.
    stage : MDStage
    start : MDState
        Where the stage begins: the initial state, or the end of the stage before it (its step is not used).
    append : callable
        Writes a block and returns when it is safe, such as ``TrajectoryStore.append``.
    restart : MDState, optional
        The end of the last block written (``TrajectoryStore.restart()``); None if there is none. A stage that is
        already complete costs nothing.
    progress : callable, optional
        Called with the number of steps done.
    block_frames : int
        Frames per block.
    outputs : tuple of str
        Outputs of the potential to record with every frame; the engine ``records_outputs``.

    Returns
    -------
    MDState
        The state at the end of the stage.

    Raises
    ------
    DataError
        If ``restart`` is of another molecule or lies beyond the stage.
    DenSNetError
        If the dynamics fails; what was appended stays valid.
    """
    state = MDState(0, start.positions, start.velocities) if restart is None else restart
    if state.positions.shape != start.positions.shape:
        raise DataError(
            f"The trajectory holds replicas and atoms of shape {state.positions.shape}, the stage "
            f"{start.positions.shape}: it belongs to another run. Give another path, or remove it."
        )
    if state.step > stage.n_steps:
        raise DataError(
            f"The trajectory is {state.step} steps long, the stage only {stage.n_steps}: it belongs to another run. "
            "Give another path, or remove it."
        )
    for block in engine.run(potential, structures, stage, state, Recording(block_frames, progress, outputs)):
        append(block)
        state = block.end
    return state
