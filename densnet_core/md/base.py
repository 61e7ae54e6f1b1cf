"""Interface of molecular dynamics: the engine that integrates a potential."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.structures import Structure


@dataclass(frozen=True, eq=False)
class Recording:
    """How frames are handed over.

    Parameters
    ----------
    block_frames : int
        Recorded frames per block, at most.
    progress : callable or None
        Called with the number of steps done.
    outputs : tuple of str
        Outputs of the potential to record with every frame, such as "dipole", by the call that gives the forces.
    """

    block_frames: int = 100
    progress: Callable[[int], None] | None = None
    outputs: tuple[str, ...] = ()


class MDEngine(ABC):
    """Integrates the equations of motion of molecules in a potential.

    Parameters
    ----------
    options : object or None
        Validated options of the component (platform, route of the force).
    """

    records_outputs: bool = False
    """Whether it can record outputs of the potential by the call that gives the forces (``Recording.outputs``)."""

    def __init__(self, options: Any = None) -> None:
        self.options = options
        self._bound: weakref.WeakKeyDictionary[Potential, dict[tuple[Any, ...], BoundPotential]]
        self._bound = weakref.WeakKeyDictionary()

    def bind(self, potential: Potential, structures: Sequence[Structure], calls: int = 0) -> BoundPotential:
        """The potential bound to these molecules; made once, so that stages of one run share what is traced or written.

        ``calls`` is how often it will be asked at least: many are worth compiling it. It is valid as long as the caller
        holds the potential, and is forgotten with it.

        Raises
        ------
        InputError
            The molecules differ, or the potential does not know them.
        """
        known = self._bound.setdefault(potential, {})
        key = (len(structures), *((s.numbers.tobytes(), s.masses.tobytes(), s.parts) for s in structures))
        if key not in known:
            # A weak reference: what is bound would otherwise keep its own key alive, and never be forgotten.
            known[key] = BoundPotential(weakref.proxy(potential), structures)
        known[key].compile_for(calls)
        return known[key]

    def prepare(self, potential: Potential, structures: Sequence[Structure], stage: MDStage) -> None:  # noqa: B027
        """Told of a long stage to come, so that short ones before it share what is compiled for it."""

    @abstractmethod
    def run(
        self,
        potential: Potential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        recording: Recording | None = None,
    ) -> Iterator[MDFrames]:
        """Continue from ``start`` (``start.step`` steps of the stage are done) to ``stage.n_steps``.

        Yields blocks of recorded frames (the frame at step 0 is recorded if ``start.step == 0``).

        Parameters
        ----------
        potential : Potential
        structures : sequence of Structure
            The molecules, which never interact: their atoms, masses, charges. Positions are those of ``start``.
        stage : MDStage
        start : MDState
        recording : Recording or None

        Raises
        ------
        InputError
            Stage, start and molecules do not belong together, the engine cannot run these molecules together, or it
            or the potential does not give an output that is to be recorded.
        DenSNetError
            Naming step and molecule, if a position, force or energy is not finite; everything yielded before stays
            valid.
        """
