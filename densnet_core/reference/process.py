"""A worker process on this machine: one thread, limits on memory and imports, and nothing that outlives it."""

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Final

from densnet_core.errors import InputError, ResourceError
from densnet_core.reference.worker import Message

ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_BOOTSTRAP: Final = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
    "from densnet_core.reference.worker import main; main(given['descriptor'], given['memory_limit_mb'])"
)
NOT_IMPORTABLE: Final = (
    "The function cannot be given to worker processes: it and all it holds must be defined in importable modules, "
    "not in a script or inside another function"
)


@dataclass(frozen=True)
class Limits:
    """What one worker may use.

    Parameters
    ----------
    seconds : float or None
        Wall time of one task.
    memory_mb : int or None
        Private memory of the process, MiB.
    path : sequence of str or None
        Where it imports from; None: as this process.
    """

    seconds: float | None = None
    memory_mb: int | None = None
    path: Sequence[str] | None = None


def packed_function(function: Callable[[Any], Any]) -> bytes:
    """A function as worker processes take it.

    Raises
    ------
    InputError
        It cannot be imported there.
    """
    try:
        return pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"{NOT_IMPORTABLE} ({error}).") from error


def packed_task(index: int, task: Any) -> bytes:
    """A task as worker processes take it; ``InputError`` if it cannot be sent."""
    try:
        return pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"Task {index} cannot be sent to a worker process: {error}.") from error


@dataclass(eq=False)
class Job:
    """A task on its way: its number, its pickled form and how often it was tried."""

    index: int
    packed: bytes
    attempts: int = 0


@dataclass(eq=False)
class Worker:
    """A process, the connection to it and what it is doing."""

    process: subprocess.Popen[bytes]
    connection: Connection
    log: IO[bytes]
    job: Job | None
    ready: bool = False
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, function: bytes, job: Job, limits: Limits) -> Worker:
        """A new process; it gets ``job`` when it says that it is ready, so that imports are not timed as work."""
        ours, theirs = Pipe()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        path = list(sys.path if limits.path is None else limits.path)
        given = {"path": path, "descriptor": theirs.fileno(), "memory_limit_mb": limits.memory_mb}
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
            ours.send_bytes(function)
        return cls(process, ours, log, job)

    @property
    def seconds(self) -> float:
        """Since it was given its present task."""
        return time.monotonic() - self.started

    def begin(self) -> None:
        self.ready = True
        if self.job is not None:
            self.give(self.job)

    def give(self, job: Job) -> None:
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
