"""Values that are kept in memory while there is room."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """What is made when it is first asked for; once there is no room, what is not kept is made at each visit.

    It may be asked by several threads. What it gives must not depend on whether it was kept.

    Parameters
    ----------
    bytes_at_most : int
    size : callable
        Bytes of a value.
    """

    def __init__(self, bytes_at_most: int, size: Callable[[Value], int]) -> None:
        self.bytes_at_most, self.bytes = bytes_at_most, 0
        self._size = size
        self._values: dict[Any, Value] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made by ``make`` if it is not there."""
        if key in self._values:
            return self._values[key]
        value = make()
        size = self._size(value)
        with self._lock:
            if key not in self._values and self.bytes + size <= self.bytes_at_most:
                self._values[key] = value
                self.bytes += size
        return value
