"""What the suite for executors has carried out: worker processes import this module, so it holds little."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from densnet_core.errors import InputError

_PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class Task:
    """Something to do: wait, then raise, die or answer.

    Parameters
    ----------
    value : any
        The answer.
    seconds : float
        Before that.
    file : str
        If given, what has to be there before it goes on; it waits half a minute at most.
    fault : {"", "refusal", "defect", "death"}
        Raises ``InputError``, raises ``ZeroDivisionError``, kills its process.
    parent : int
        Process id of whoever gave the task, which it does not kill.
    """

    value: Any = None
    seconds: float = 0.0
    file: str = ""
    fault: str = ""
    parent: int = 0


def carry_out(task: Task) -> tuple[Any, int]:
    """The value of a task and the id of the process that carried it out."""
    time.sleep(task.seconds)
    end = time.monotonic() + _PATIENCE
    while task.file and not os.path.exists(task.file):
        if time.monotonic() > end:
            raise InputError(f"{task.file} did not come")
        time.sleep(0.02)
    if task.fault == "refusal":
        raise InputError("this task is refused")
    if task.fault == "defect":
        raise ZeroDivisionError("this task has a defect")
    if task.fault == "death" and os.getpid() != task.parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return task.value, os.getpid()
