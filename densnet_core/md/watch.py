"""Dynamics that leaves the region its potential was made for says so, or stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from densnet_core.errors import DenSNetError
from densnet_core.potentials.base import Potential
from densnet_core.stores.dynamics import MDFrames
from densnet_core.structures import Structure


class Watch:
    """Looks at the last frame of every block of a dynamics; hands the block on to ``append``.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
        The replicas.
    append : callable
        Writes a block.
    tell : callable
        Told in a sentence of the first frame that is unlike those the potential was made from, and by ``end`` of how
        many there were.
    strict : bool
        Stop there instead, before the block is written.
    """

    def __init__(
        self,
        potential: Potential,
        structures: Sequence[Structure],
        append: Callable[[MDFrames], None],
        tell: Callable[[str], None],
        strict: bool = False,
    ) -> None:
        self.potential, self.structures, self.append = potential, structures, append
        self.tell, self.strict = tell, strict
        self.seen = self.unlike = 0

    def __call__(self, block: MDFrames) -> None:
        """Look at a block and hand it on; ``DenSNetError`` naming step and replica if it is strict."""
        frames = [s.with_positions(p) for s, p in zip(self.structures, block.positions[-1], strict=True)]
        found = self.potential.extrapolation(frames)
        far = [replica for replica, one in enumerate(found) if one.reasons]
        if far:
            what = (
                f"At step {int(block.steps[-1])} replica {far[0]} is unlike the frames that the model was trained on: "
                f"{'; '.join(found[far[0]].reasons)}."
            )
            if self.strict:
                raise DenSNetError(
                    f"{what} Train on such frames, lower the temperature, or set strict = false in [md]."
                )
            if not self.unlike:
                self.tell(what)
        self.seen, self.unlike = self.seen + len(found), self.unlike + len(far)
        self.append(block)

    def end(self) -> None:
        """Say how many of the frames looked at were unlike, if any was."""
        if self.unlike:
            self.tell(
                f"{self.unlike} of {self.seen} frames that were looked at are unlike those the model was trained on."
            )
