"""Executor that runs tasks in processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, Final, Generic, TypeVar

from densnet_core.errors import DenSNetError, InputError, ResourceError, TransientError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.executors import Executor, Outcome
from densnet_core.reference.worker import Message

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
POLL_SECONDS: Final = 1.0
"""How often a worker that went silent without closing its connection is looked for."""
MAX_FAILED_STARTS: Final = 3
MAX_ATTEMPTS: Final = 2
_BOOTSTRAP: Final = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
    "from densnet_core.reference.worker import main; main(given['descriptor'], given['memory_limit_mb'])"
)


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
        try:
            packed = pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(f"{_IMPORTABLE} ({error}).") from error
        return _Run[Task, Result](packed, enumerate(tasks), self.options).outcomes()


_IMPORTABLE: Final = (
    "The function cannot be given to worker processes: it and all it holds must be defined in importable modules, "
    "not in a script or inside another function"
)


@dataclass(eq=False)
class _Job:
    """A task on its way: its number, its pickled form and how often it was tried."""

    index: int
    packed: bytes
    attempts: int = 0


@dataclass(eq=False)
class _Worker:
    """A process, the connection to it and what it is doing."""

    process: subprocess.Popen[bytes]
    connection: Connection
    log: IO[bytes]
    job: _Job | None
    ready: bool = False
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, packed_function: bytes, job: _Job, memory_limit_mb: int | None) -> _Worker:
        """A new process; it gets ``job`` when it says that it is ready, so that imports are not timed as work."""
        ours, theirs = Pipe()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        given = {"path": sys.path, "descriptor": theirs.fileno(), "memory_limit_mb": memory_limit_mb}
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, json.dumps(given)],
                stdin=subprocess.PIPE,  # held open and never written: its end tells the worker that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            log.close()
            raise ResourceError(f"A worker process cannot be started: {error}.") from error
        finally:
            theirs.close()
        with contextlib.suppress(OSError):  # it died already; the first look at it finds out
            ours.send_bytes(packed_function)
        return cls(process, ours, log, job)

    @property
    def seconds(self) -> float:
        """Since it was given its present task."""
        return time.monotonic() - self.started

    def begin(self) -> None:
        self.ready = True
        if self.job is not None:
            self.give(self.job)

    def give(self, job: _Job) -> None:
        self.job, self.started = job, time.monotonic()
        job.attempts += 1
        with contextlib.suppress(OSError):
            self.connection.send_bytes(job.packed)

    def receive(self) -> Message | None:
        """The next message; None if the worker is dead."""
        try:
            message: Message = pickle.loads(self.connection.recv_bytes())  # noqa: S301 - from our own worker
        except (EOFError, OSError):
            return None
        return message

    def autopsy(self) -> str:
        """How a process ended that closed its connection or was found dead, and the last lines it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1.0)
        code = self.process.poll()
        if code is None:
            ended = "it closed its connection"
        else:
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 4096))
        lines = self.log.read().decode(errors="replace").strip().splitlines()[-8:]
        return "\n".join([ended, *lines])

    def kill(self) -> None:
        """End the process and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()
        self.log.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


class _Run(Generic[Task, Result]):
    """One call of ``map``: the workers, the tasks waiting and those under way."""

    def __init__(self, packed_function: bytes, tasks: Iterator[tuple[int, Task]], options: LocalExecutorOptions):
        self._packed_function = packed_function
        self._tasks = tasks
        self._options = options
        self._workers: list[_Worker] = []
        self._again: deque[_Job] = deque()
        self._failed_starts = 0
        self._finished: deque[Outcome[Result]] = deque()

    def outcomes(self) -> Generator[Outcome[Result], None, None]:
        try:
            while True:
                self._hand_out()
                while self._finished:
                    yield self._finished.popleft()
                if not self._workers:
                    return
                self._wait()
        finally:
            for worker in self._workers:
                worker.kill()

    def _hand_out(self) -> None:
        """Give every free worker a task or let it go, then start workers for the tasks that are left."""
        for worker in [w for w in self._workers if w.job is None]:
            job = self._next_job()
            if job is None:
                self._remove(worker)
            else:
                worker.give(job)
        limit = self._options.workers or available_cores()
        while len(self._workers) < limit and (job := self._next_job()) is not None:
            self._workers.append(_Worker.start(self._packed_function, job, self._options.memory_limit_mb))

    def _next_job(self) -> _Job | None:
        if self._again:
            return self._again.popleft()
        for index, task in self._tasks:
            try:
                return _Job(index, pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                refusal = InputError(f"Task {index} cannot be sent to a worker process: {error}.")
                self._finish(index, refusal, 0.0, failed=True)
        return None

    def _wait(self) -> None:
        """Sleep until a worker answers, dies or runs out of time, and act on all that did."""
        limit = self._options.time_limit_s
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

    def _hear(self, worker: _Worker) -> None:
        message = worker.receive()
        if message is None:
            self._bury(worker)
            return
        kind, content, seconds = message
        if kind == "broken":
            raise InputError(f"{_IMPORTABLE}. The worker says: {content}.")
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

    def _bury(self, worker: _Worker) -> None:
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

    def _give_up(self, worker: _Worker, reason: str) -> None:
        self._remove(worker)
        if worker.job is not None:
            self._finish(worker.job.index, ResourceError(reason), worker.seconds, failed=True)

    def _remove(self, worker: _Worker) -> None:
        worker.kill()
        self._workers.remove(worker)

    def _finish(self, index: int, content: Any, seconds: float, *, failed: bool) -> None:
        self._finished.append(Outcome(index, None if failed else content, content if failed else None, seconds))


def available_cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
