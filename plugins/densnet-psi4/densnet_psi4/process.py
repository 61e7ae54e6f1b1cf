"""Runs one job in a process of Psi4: files in, files out, limits kept, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError, ResourceError
from densnet_psi4.failures import error_of_death, error_of_psi4
from densnet_psi4.installation import Installation

PROGRAM: Final = Path(__file__).with_name("program") / "main.py"
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What a job may use; see ``Psi4Options``."""

    threads: int = 1
    max_memory_mb: int = 4000
    memory_limit_mb: int | None = None
    time_limit_s: float | None = None
    scratch: Path | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """Plain values and arrays that a job returned, and the version of Psi4 that made them."""

    values: dict[str, Any]
    arrays: dict[str, Any]
    version: str


def run_job(
    installation: Installation,
    task: str,
    request: Mapping[str, Any],
    arrays: Mapping[str, Any],
    limits: Limits,
    label: str,
) -> Answer:
    """Run ``task`` of ``program/tasks.py`` and wait for its answer.

    Parameters
    ----------
    installation : Installation
    task : str
    request : mapping
        Plain data.
    arrays : mapping from name to array
    limits : Limits
    label : str
        What is computed, for messages.

    Raises
    ------
    InputError, ConvergenceError, ResourceError, TransientError, PluginError
        As ``densnet_psi4.failures`` reads what Psi4 said; ``ResourceError`` also when the time is over.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="densnet-psi4-", dir=limits.scratch))
    except OSError as error:
        raise ResourceError(
            f"The folder for Psi4's temporary files cannot be made: {error}. Name another one: scratch in "
            "[reference.options]."
        ) from error
    try:
        content = {
            "task": task,
            "threads": limits.threads,
            "max_memory_mb": limits.max_memory_mb,
            "memory_limit_mb": limits.memory_limit_mb,
            **request,
        }
        (folder / "request.json").write_text(json.dumps(content), encoding="utf-8")
        np.savez(folder / "arrays.npz", **dict(arrays))
        code = _run(installation, folder, limits, label)
        return _answer(folder, code, label)
    except OSError as error:
        raise ResourceError(
            f"{label}: {error}. Make room for temporary files, or name another folder: scratch in [reference.options]."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(installation: Installation, folder: Path, limits: Limits, label: str) -> int:
    # Isolated (-I): what the user's environment puts on Python's path is made for another interpreter.
    command = [installation.python, "-I", str(PROGRAM), str(folder), *installation.paths]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= dict.fromkeys(_THREADS, str(limits.threads)) | {"PSI_SCRATCH": str(folder)}
    with (folder / "printed.txt").open("wb") as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # never written: its end tells the other side that we are gone
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    try:
        return process.wait(limits.time_limit_s)
    except subprocess.TimeoutExpired:
        raise ResourceError(
            f"{label}: Psi4 did not end within {limits.time_limit_s:g} s. Raise time_limit_s, or take a smaller basis."
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _answer(folder: Path, code: int, label: str) -> Answer:
    result = folder / "result.json"
    if not result.exists():
        printed = (folder / "printed.txt").read_text(encoding="utf-8", errors="replace")
        raise error_of_death(label, code, printed)
    answer = json.loads(result.read_text(encoding="utf-8"))
    if "error" in answer:
        raise error_of_psi4(label, answer["error"])
    try:
        with (folder / "result.npz").open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{label}: the answer of Psi4 cannot be read: {error}.") from error
    return Answer(answer["values"], arrays, answer["psi4"])
