"""Interfaces of molecular dynamics: the deployed potential and the engine that integrates it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.potentials.base import Potential
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState

Array = NDArray[np.float64]


class MDEngine(ABC):
    """Integrates the equations of motion of a potential.

    Parameters
    ----------
    options : object or None
        Validated options of the component (platform, route of the force).
    """

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def run(
        self,
        potential: Potential,
        stage: MDStage,
        start: MDState,
        block_frames: int,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[MDFrames]:
        """Continue from ``start`` (``start.step`` steps of the stage are done) to ``stage.n_steps``.

        Yields blocks of at most ``block_frames`` recorded frames (the frame at step 0 is recorded if
        ``start.step == 0``). Raises ``DenSNetError`` naming step and replica if a position, force or energy is not
        finite; everything yielded before stays valid.
        """
