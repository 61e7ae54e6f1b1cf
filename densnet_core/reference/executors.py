"""Interface of an executor: where independent calculations run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of task number ``index``: its value, or the error that ended it.

    ``error`` is an instance of ``DenSNetError`` (``ResourceError`` if the process died or ran out of time), and
    ``value`` is None exactly then.
    """

    index: int
    value: Result | None
    error: Exception | None
    seconds: float


class Executor(ABC):
    """Runs a function over many independent tasks and yields outcomes as they come.

    Parameters
    ----------
    options : object or None
        Validated options of the component (number of workers, limits).
    """

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Outcome[Result], None, None]:
        """Outcomes in the order of completion.

        ``function`` and tasks are importable/picklable by the executor's own workers. An exception in one task never
        stops the others. Closing the iterator cancels what has not started.
        """
