"""Executor on Parsl's HighThroughputExecutor."""

from __future__ import annotations

import pickle
import shutil
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from parsl.dataflow.dflow import DataFlowKernel
from parsl.errors import ParslError
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from densnet_core.errors import DenSNetError, InputError, ResourceError
from densnet_core.reference.executors import Executor, Outcome
from densnet_core.reference.pool import MAX_ATTEMPTS
from densnet_core.reference.process import Job, packed_function, packed_task
from densnet_parsl.cluster import LABEL, n_workers, parsl_config
from densnet_parsl.config import ParslOptions
from densnet_parsl.remote import carry_out

Task = TypeVar("Task")
Result = TypeVar("Result")


class ParslExecutor(Executor):
    """Tasks in workers on this machine or in the jobs of a batch system.

    Limits and failures are those of the executor ``local``, because its worker processes do the work. A task whose
    node or job ends is tried once more. Workers stay between calls of ``map``, so that a job is queued once; they end
    with ``close``, with this process, also when it is killed, and when an iterator is closed before its end.

    Parameters
    ----------
    options : ParslOptions or None
    """

    options: ParslOptions

    def __init__(self, options: ParslOptions | None = None) -> None:
        super().__init__(ParslOptions() if options is None else options)
        self._running: _Running | None = None

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Outcome[Result], None, None]:
        """Outcomes in the order of completion; ``tasks`` is read no further than two per worker ahead.

        Raises
        ------
        InputError
            The function cannot be sent to a worker, or not be loaded there.
        ResourceError
            Workers cannot be started.
        """
        return self._outcomes(packed_function(function), enumerate(tasks))

    def close(self) -> None:
        """End all workers and jobs; the next ``map`` starts new ones."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _outcomes(self, function: bytes, tasks: Iterator[tuple[int, Any]]) -> Generator[Outcome[Any], None, None]:
        stream = _Stream[Any](function, tasks, self.options)
        if not stream.has_more():
            yield from stream.refused()
            return
        if self._running is None:
            self._running = _Running(self.options)
        try:
            while True:
                stream.submit(self._running)
                yield from stream.refused()
                if not stream.waiting:
                    return
                yield from stream.collect()
        finally:
            if stream.waiting:  # closed before the end: what is under way would keep the workers busy
                self.close()


class _Running:
    """Parsl at work, from its start to ``close`` or the end of this process."""

    def __init__(self, options: ParslOptions) -> None:
        temporary = options.folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="densnet-parsl-")) if options.folder is None else options.folder
        try:
            self.kernel = DataFlowKernel(parsl_config(options, self.folder))
        except Exception as error:
            if temporary:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise ResourceError(f"Parsl cannot be started: {type(error).__name__}: {error}.") from error
        self.close = weakref.finalize(self, _end, self.kernel, self.folder if temporary else None)

    def submit(self, *arguments: Any) -> Future[bytes]:
        future: Future[bytes] = self.kernel.submit(
            carry_out, app_args=arguments, app_kwargs={}, executors=[LABEL], cache=False, ignore_for_cache=()
        )
        return future


def _end(kernel: DataFlowKernel, folder: Path | None) -> None:
    kernel.cleanup()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


class _Stream(Generic[Result]):
    """One call of ``map``: the tasks to come, those under way and those that could not be sent."""

    def __init__(self, function: bytes, tasks: Iterator[tuple[int, Any]], options: ParslOptions) -> None:
        self.waiting: dict[Future[bytes], Job] = {}
        self._function, self._tasks = function, tasks
        self._limits = (options.time_limit_s, options.memory_limit_mb, list(sys.path))
        self._window = 2 * n_workers(options)
        self._ready: deque[Job] = deque()
        self._refused: deque[Outcome[Result]] = deque()

    def has_more(self) -> bool:
        """True if there is a task to submit; reads one if none is at hand."""
        while not self._ready:
            try:
                index, task = next(self._tasks)
            except StopIteration:
                return False
            try:
                self._ready.append(Job(index, packed_task(index, task)))
            except InputError as error:
                self._refused.append(Outcome(index, None, error, 0.0))
        return True

    def submit(self, running: _Running) -> None:
        """Keep two tasks per worker under way."""
        while len(self.waiting) < self._window and self.has_more():
            job = self._ready.popleft()
            job.attempts += 1
            self.waiting[running.submit(self._function, job.packed, *self._limits)] = job

    def refused(self) -> Iterator[Outcome[Result]]:
        """Outcomes of tasks that could not be sent."""
        while self._refused:
            yield self._refused.popleft()

    def collect(self) -> Iterator[Outcome[Result]]:
        """Wait for at least one task and give the outcomes that are there."""
        finished, _ = wait(self.waiting, return_when=FIRST_COMPLETED)
        for future in sorted(finished, key=lambda one: self.waiting[one].index):
            job = self.waiting.pop(future)
            try:
                # Packed by carry_out in our own worker.
                answer = pickle.loads(future.result())  # noqa: S301
            except (WorkerLost, ManagerLost) as error:
                if job.attempts < MAX_ATTEMPTS:
                    self._ready.append(job)
                    continue
                reason = (
                    f"The worker died {job.attempts} times, or its job ended: {error}. Give jobs a longer walltime."
                )
                yield Outcome(job.index, None, ResourceError(reason), 0.0)
                continue
            except ParslError as error:
                raise ResourceError(f"Parsl's workers cannot go on: {error}") from error
            if isinstance(answer, DenSNetError):
                raise answer
            yield Outcome(job.index, answer.value, answer.error, answer.seconds)
