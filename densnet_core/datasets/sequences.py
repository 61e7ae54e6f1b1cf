"""Values of frames that are made or read when they are asked for, behind the interface of a list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", covariant=True)


class Lazy(Sequence[Value], ABC):
    """One value for each frame, None where a frame has none."""

    @abstractmethod
    def one(self, index: int) -> Value:
        """The value of frame ``index``, which is neither negative nor too large."""

    def has(self, index: int) -> bool:
        """Whether a frame has a value; cheaper than the value where that is on a disk."""
        return self.one(index) is not None

    @overload
    def __getitem__(self, index: int) -> Value: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Value]: ...

    def __getitem__(self, index: int | slice) -> Value | Sequence[Value]:
        place = range(len(self))[index]
        return Selected(self, np.array(place)) if isinstance(place, range) else self.one(place)


class Selected(Lazy[Value]):
    """The values of some frames of a sequence.

    Parameters
    ----------
    values : sequence
    indices : (n,) int
    """

    def __init__(self, values: Sequence[Value], indices: NDArray[np.int64]) -> None:
        self.values, self.indices = values, indices
        if isinstance(values, Selected):  # a part of a part does not become slower
            self.values, self.indices = values.values, values.indices[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def one(self, index: int) -> Value:
        return self.values[int(self.indices[index])]

    def has(self, index: int) -> bool:
        return has_value(self.values, int(self.indices[index]))


class Joined(Lazy[Value]):
    """Several sequences one after the other."""

    def __init__(self, parts: Sequence[Sequence[Value]]) -> None:
        self.parts = list(parts)
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def one(self, index: int) -> Value:
        part, place = self._where(index)
        return part[place]

    def has(self, index: int) -> bool:
        return has_value(*self._where(index))

    def _where(self, index: int) -> tuple[Sequence[Value], int]:
        number = bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number] - len(self.parts[number]))


class Missing(Lazy[None]):
    """A label that none of so many frames has."""

    def __init__(self, n_frames: int) -> None:
        self.n_frames = n_frames

    def __len__(self) -> int:
        return self.n_frames

    def one(self, index: int) -> None:
        return None


def has_value(values: Sequence[Any], index: int) -> bool:
    """Whether a frame has a value in a sequence of any kind."""
    return values.has(index) if isinstance(values, Lazy) else values[index] is not None
