"""Finds an installed Psi4: as told, on the PATH, or where Debian puts it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from shutil import which
from typing import Final

from densnet_core.errors import PluginError

INSTALL: Final = (
    "Install it with 'apt-get install psi4' (Debian, Ubuntu) or 'conda create -n psi4 -c conda-forge psi4', and put "
    "the program psi4 on the PATH or name it: command = '/path/to/psi4' in [reference.options]."
)
_DEBIAN: Final = (Path("/usr/bin/python3"), "/usr/lib/*-linux-gnu/psi4/__init__.py")


@dataclass(frozen=True)
class Installation:
    """How to run Psi4.

    Parameters
    ----------
    python : str
        The interpreter that Psi4 was built for.
    paths : tuple of str
        Folders in which that interpreter finds the module ``psi4``; empty if it knows them itself.
    """

    python: str
    paths: tuple[str, ...] = ()


def find_installation(command: Path | None = None, python: Path | None = None) -> Installation:
    """The installation named, else the one on the PATH, else Debian's.

    Raises
    ------
    PluginError
        There is none, or what is named cannot be run; the message says how to install Psi4.
    """
    if python is not None:
        if which(str(python)) is None:
            raise PluginError(f"[reference.options] python = '{python}' is not a program that can be run. {INSTALL}")
        return Installation(str(python))
    if command is not None:
        if which(str(command)) is None:
            raise PluginError(f"[reference.options] command = '{command}' is not a program that can be run. {INSTALL}")
        return _of_program(str(command))
    program = which("psi4")
    if program is not None:
        return _of_program(program)
    interpreter, pattern = _DEBIAN
    modules = sorted(Path("/").glob(pattern.lstrip("/")))
    if modules and interpreter.exists():
        return Installation(str(interpreter), (str(modules[0].parents[1]),))
    raise PluginError(f"The reference backend psi4 needs the program Psi4, and there is none. {INSTALL}")


@lru_cache(maxsize=8)
def _of_program(program: str) -> Installation:
    """What ``psi4 --psiapi-path`` says: the folders of its interpreter and of its module."""
    try:
        done = subprocess.run([program, "--psiapi-path"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PluginError(f"{program} --psiapi-path cannot be run: {error}. {INSTALL}") from error
    said = dict(re.findall(r"export (\w+)=(.*?):\$", done.stdout))
    folder, module = said.get("PATH"), said.get("PYTHONPATH")
    interpreters = [Path(folder or "", name) for name in ("python3", "python")]
    found = [path for path in interpreters if folder and path.exists()]
    if not found or not module:
        raise PluginError(
            f"{program} --psiapi-path does not say where its interpreter and its module are, but: "
            f"{(done.stdout + done.stderr).strip()[:300]!r}. Name the interpreter that imports psi4 instead: "
            "python = '/path/to/python' in [reference.options]."
        )
    return Installation(str(found[0]), (str(Path(module)),))
