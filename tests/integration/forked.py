"""Work in forked processes that can be killed at any moment: the program imports once, so many kills fit into the time.

A test file that uses ``Workers`` starts itself as a program, and that calls ``serve``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path


class Workers:
    """The program that forks workers, one at a time.

    Parameters
    ----------
    program : path
        Python file that calls ``serve`` when it is started.
    **environment
        Variables for it.
    """

    def __init__(self, program: str | Path, **environment: str) -> None:
        self._program = subprocess.Popen(
            [sys.executable, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        self._worker: int | None = None

    def start(self, task: str, *arguments: object) -> None:
        """Fork a worker that calls a task."""
        self.kill()  # one that a failed test left
        self._worker = self._ask(task, *arguments)

    def kill(self) -> int | None:
        """Kill the worker and return its exit status; None if there is no worker."""
        if self._worker is None:
            return None
        os.kill(self._worker, signal.SIGKILL)  # it is not reaped before we wait for it, so the number is its own
        return self.wait()

    def wait(self) -> int:
        """Wait for the worker; its exit status, minus the signal if one killed it."""
        self._worker = None
        return self._ask("wait")

    def close(self) -> int:
        self.kill()
        self._program.communicate()
        return self._program.returncode

    def _ask(self, task: str, *arguments: object) -> int:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps([task, *map(str, arguments)]) + "\n")
        return int(self._program.stdout.readline())


def serve(tasks: Mapping[str, Callable[..., object]]) -> None:
    """Answer a task with the number of a new worker's process, and ``wait`` with its exit status."""
    process = 0
    for line in sys.stdin:
        task, *arguments = json.loads(line)
        if task == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
            continue
        process = os.fork()
        if process == 0:
            status = 1
            try:
                os.dup2(2, 1)  # the answers are the server's alone
                status = int(tasks[task](*arguments) or 0)  # type: ignore[call-overload]
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(process, flush=True)
