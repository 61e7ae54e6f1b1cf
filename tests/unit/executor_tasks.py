"""What the tests of executors run in worker processes: they import this file, so it must be a module of its own."""

import os
import signal
import subprocess
import time
import weakref
from pathlib import Path

import numpy as np

from densnet_core.errors import InputError, TransientError


def square(value: float) -> float:
    return value * value


def fail_on_three(value: int) -> int:
    if value == 3:
        raise InputError("three is refused")
    if value == 4:
        raise ZeroDivisionError("four is a bug")
    return value


def process_id(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def threads(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_for_file(path: Path | None) -> str:
    while path is not None and not path.exists():
        time.sleep(0.01)
    return "free" if path is None else "released"


def kill_itself(value: int) -> int:
    if value == 1:
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def allocate(megabytes: int) -> float:
    return float(np.ones((megabytes, 2**17)).sum())


def fail_the_first_time(path: Path) -> str:
    count = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (count + 1))
    if count < 1:
        raise TransientError("come back later")
    return "done"


def always_transient(path: Path) -> None:
    path.write_text((path.read_text() if path.exists() else "") + "x")
    raise TransientError("never works")


def start_a_program_and_wait(path: Path) -> None:
    """Write the ids of this process and of a child program, then sleep for longer than any test."""
    child = subprocess.Popen(["sleep", "300"])
    path.with_suffix(".part").write_text(f"{os.getpid()} {child.pid}")
    path.with_suffix(".part").rename(path)
    time.sleep(300)


def return_or_start_a_program(path: Path | None) -> str:
    """For None return at once, else as ``start_a_program_and_wait``."""
    if path is not None:
        start_a_program_and_wait(path)
    return "free"


class ErrorWithTwoArguments(InputError):
    """An exception that cannot be read back from its pickle, as in much third-party code."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


def raise_unpicklable(value: int) -> int:
    raise ErrorWithTwoArguments("trouble", "paradise")


_alive: list[weakref.ref[object]] = []


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


def objects_left(_: int) -> int:
    """How many of what earlier calls left in cycles of references is still there."""
    left = sum(one() is not None for one in _alive)
    _alive.append(weakref.ref(_Cycle()))
    return left
