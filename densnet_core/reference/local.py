"""Executor that runs tasks in processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.executors import Executor, Outcome
from densnet_core.reference.pool import Pool
from densnet_core.reference.process import Limits, packed_function

Task = TypeVar("Task")
Result = TypeVar("Result")


class LocalExecutor(Executor):
    """One worker process per core, each with one thread.

    A worker lives as long as the call of ``map``, so what the function imports or caches is paid for once per worker.
    A task that runs out of time, exhausts the memory allowed or kills its process ends as ``ResourceError``, and the
    worker is replaced; one that raises ``TransientError`` is tried once more. Workers, and every program they started,
    end with the iterator, and also when this process is killed.

    Parameters
    ----------
    options : LocalExecutorOptions or None

    Examples
    --------
    >>> for outcome in LocalExecutor().map(backend.compute, structures):
    ...     print(outcome.index, outcome.error or outcome.value.energy)
    """

    options: LocalExecutorOptions

    def __init__(self, options: LocalExecutorOptions | None = None) -> None:
        super().__init__(LocalExecutorOptions() if options is None else options)

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Outcome[Result], None, None]:
        """Outcomes in the order of completion; ``tasks`` is read no faster than workers become free.

        Raises
        ------
        InputError
            The function cannot be sent to a worker, or not be loaded there.
        ResourceError
            Worker processes cannot be started.
        """
        limits = Limits(self.options.time_limit_s, self.options.memory_limit_mb)
        n_workers = self.options.workers or available_cores()
        return Pool[Task, Result](packed_function(function), enumerate(tasks), n_workers, limits).outcomes()


def available_cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
