"""Worker processes that share a stream of tasks, and a single one that stays.

``LocalExecutor`` is a ``Pool``; other executors keep a ``ResidentWorker`` where they run, so that a calculation that
crashes, hangs or eats the memory ends alike everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from multiprocessing.connection import wait
from typing import Any, Final, Generic, TypeVar

from densnet_core.errors import DenSNetError, InputError, ResourceError, TransientError
from densnet_core.reference.executors import Outcome
from densnet_core.reference.process import NOT_IMPORTABLE, Job, Limits, Worker, packed_task

Task = TypeVar("Task")
Result = TypeVar("Result")

POLL_SECONDS: Final = 1.0
"""How often a worker that went silent without closing its connection is looked for."""
MAX_FAILED_STARTS: Final = 3
MAX_ATTEMPTS: Final = 2


class Pool(Generic[Task, Result]):
    """Workers that share a stream of tasks: those, the tasks to be tried again and the outcomes not yet collected.

    Parameters
    ----------
    function : bytes
        From ``packed_function``.
    tasks : iterator of (int, task)
        Numbered tasks, read as workers become free.
    n_workers : int
    limits : Limits
    """

    def __init__(self, function: bytes, tasks: Iterator[tuple[int, Task]], n_workers: int, limits: Limits) -> None:
        self._function = function
        self._tasks = tasks
        self._n_workers = n_workers
        self._limits = limits
        self._workers: list[Worker] = []
        self._again: deque[Job] = deque()
        self._failed_starts = 0
        self._finished: deque[Outcome[Result]] = deque()

    def outcomes(self) -> Generator[Outcome[Result], None, None]:
        """Outcomes of all tasks in the order of completion; the workers end with it."""
        try:
            while True:
                self._hand_out()
                while self._finished:
                    yield self._finished.popleft()
                if not self._workers:
                    return
                self._wait()
        finally:
            self.close()

    def outcome_of(self, job: Job) -> Outcome[Result]:
        """Outcome of one task; its worker stays for the next."""
        self._again.append(job)
        while not self._finished:
            if self._again:
                self._hand_out()
            else:
                self._wait()
        return self._finished.popleft()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _hand_out(self) -> None:
        """Give every free worker a task or let it go, then start workers for the tasks that are left."""
        for worker in [w for w in self._workers if w.job is None]:
            job = self._next_job()
            if job is None:
                self._remove(worker)
            else:
                worker.give(job)
        while len(self._workers) < self._n_workers and (job := self._next_job()) is not None:
            self._workers.append(Worker.start(self._function, job, self._limits))

    def _next_job(self) -> Job | None:
        if self._again:
            return self._again.popleft()
        for index, task in self._tasks:
            try:
                return Job(index, packed_task(index, task))
            except InputError as refusal:
                self._finish(index, refusal, 0.0, failed=True)
        return None

    def _wait(self) -> None:
        """Sleep until a worker answers, dies or runs out of time, and act on all that did."""
        limit = self._limits.seconds
        pause = POLL_SECONDS
        if limit is not None:
            pause = min([pause, *(max(0.0, limit - w.seconds) for w in self._workers if w.ready)])
        answering = wait([w.connection for w in self._workers], timeout=pause)
        for worker in list(self._workers):
            if worker.connection in answering or worker.connection.poll():
                self._hear(worker)
            elif worker.process.poll() is not None:
                self._bury(worker)
            elif limit is not None and worker.ready and worker.seconds > limit:
                self._give_up(worker, f"The calculation did not end within {limit:g} s. Raise time_limit_s.")

    def _hear(self, worker: Worker) -> None:
        message = worker.receive()
        if message is None:
            self._bury(worker)
            return
        kind, content, seconds = message
        if kind == "broken" and isinstance(content, DenSNetError):
            raise content
        if kind == "broken":
            raise InputError(f"{NOT_IMPORTABLE}. The worker says: {content}.")
        if kind == "ready":
            self._failed_starts = 0
            worker.begin()
            return
        job, worker.job = worker.job, None
        if job is None:
            raise DenSNetError("A worker answered without having been asked; please report this.")
        if isinstance(content, TransientError) and job.attempts < MAX_ATTEMPTS:
            self._again.append(job)
        else:
            self._finish(job.index, content, seconds, failed=kind == "error")

    def _bury(self, worker: Worker) -> None:
        report = worker.autopsy()
        if worker.ready:
            self._give_up(worker, f"The process of the calculation died, perhaps for lack of memory: {report}")
            return
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ResourceError(f"Worker processes die before they can work: {report}")
        if worker.job is not None:
            self._again.append(worker.job)
        self._remove(worker)

    def _give_up(self, worker: Worker, reason: str) -> None:
        self._remove(worker)
        if worker.job is not None:
            self._finish(worker.job.index, ResourceError(reason), worker.seconds, failed=True)

    def _remove(self, worker: Worker) -> None:
        worker.kill()
        self._workers.remove(worker)

    def _finish(self, index: int, content: Any, seconds: float, *, failed: bool) -> None:
        self._finished.append(Outcome(index, None if failed else content, content if failed else None, seconds))


class ResidentWorker(Generic[Task, Result]):
    """One worker that stays between tasks, so that what it imports and caches is paid for once.

    Parameters
    ----------
    function : bytes
        From ``packed_function``.
    limits : Limits
    """

    def __init__(self, function: bytes, limits: Limits) -> None:
        self._pool = Pool[Task, Result](function, iter(()), 1, limits)

    def answer(self, packed: bytes) -> Outcome[Result]:
        """Outcome of a task from ``packed_task``; a worker that died is replaced at the next one.

        Raises
        ------
        InputError
            The function cannot be loaded.
        ResourceError
            The process cannot be started.
        """
        return self._pool.outcome_of(Job(0, packed))

    def close(self) -> None:
        """End the process and everything that it started."""
        self._pool.close()
