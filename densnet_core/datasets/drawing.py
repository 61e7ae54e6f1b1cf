"""Which frames the steps of a training learn from, as a function of seed and step only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError


@dataclass(frozen=True, eq=False)
class Shares:
    """How often the frames of each part of a data set are drawn, relative to those of the others.

    Parameters
    ----------
    part : (n_frames,) int64
        The part that each frame belongs to.
    weights : tuple of float
        Of each part. A part of weight 2 is drawn from twice as often as one of weight 1, whatever their sizes.

    Raises
    ------
    InputError
        A weight is not positive.
    """

    part: NDArray[np.int64]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if wrong := [weight for weight in self.weights if not 0.0 < weight < float("inf")]:
            raise InputError(f"A weight is a positive number, not {wrong[0]:g}; leave out what is not to be drawn.")

    def of(self, indices: NDArray[np.int64]) -> Shares:
        """Those of some of the frames."""
        return Shares(self.part[indices], self.weights)


class Draws:
    """The frames of each step.

    Without shares every epoch is a permutation of all frames; what does not fill a batch is left out. With shares the
    draws go to the parts in turn, the next one always to the part that is the furthest behind its share (the divisor
    method of Webster), and every part has epochs of its own. After any number of draws each part has had its share of
    them to within one or two. A run that resumes at any step sees the same batches as one that never stopped.

    Parameters
    ----------
    frames : (n,) int64
        Indices of the frames that may be drawn, ascending.
    batch_size, seed : int
    shares : Shares or None
        Of all frames of the data set; parts without a frame here have no share.
    """

    def __init__(self, frames: NDArray[np.int64], batch_size: int, seed: int, shares: Shares | None = None) -> None:
        self.frames, self.batch_size, self.seed = frames, batch_size, seed
        self._parts: list[tuple[int, NDArray[np.int64]]] = []
        self._weights = np.zeros(0)
        if shares is not None:
            found = shares.part[frames]
            names = [int(name) for name in np.unique(found)]
            self._parts = [(name, frames[found == name]) for name in names]
            self._weights = np.array([shares.weights[name] for name in names])

    def of_step(self, step: int) -> list[int]:
        """Indices of the frames of a step."""
        if not self._parts:
            chosen = self.frames[batches(len(self.frames), self.batch_size, step, self.seed)]
            return [int(index) for index in chosen]
        size = min(self.batch_size, len(self.frames))
        return [self._frame(place, number) for place, number in self._draws(step * size, size)]

    def _frame(self, place: int, number: int) -> int:
        """The frame of a draw from one part."""
        name, own = self._parts[place]
        epoch, position = divmod(number, len(own))
        return int(own[_order(len(own), (self.seed, epoch, name))[position]])

    def _draws(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """Part, and how many draws it had before, of some consecutive draws.

        Draw number j of a part of weight w is at the time (j + 1/2) / w; draws are in the order of their times. The
        first loop starts from a number of draws that every part has certainly had by then.
        """
        weights = self._weights
        bound = (first - 0.5 * len(weights)) * weights / weights.sum() - 0.5
        taken = np.maximum(np.floor(bound), 0.0)
        for _ in range(int(taken.sum()), first + count):
            place = int(np.argmin((taken + 0.5) / weights))
            if taken.sum() >= first:
                yield place, int(taken[place])
            taken[place] += 1.0


def batches(n_frames: int, batch_size: int, step: int, seed: int) -> NDArray[np.int64]:
    """Indices of the batch of a step: every epoch is a permutation that depends on seed and epoch only."""
    size = min(batch_size, n_frames)
    epoch, position = divmod(step, n_frames // size)
    return _order(n_frames, (seed, epoch))[position * size : (position + 1) * size]


@lru_cache(maxsize=16)
def _order(n_frames: int, seed: Sequence[int]) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(n_frames)
