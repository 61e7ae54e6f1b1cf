"""Replacing a folder by another one, so that there is always one whole folder under the name."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import Final

from densnet_core.stores.commit import sync_folder

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2  # linux/fs.h


def previous_of(path: Path) -> Path:
    """Where the old folder waits for a moment on file systems that cannot exchange two names in one step."""
    return path.with_name(f".{path.name}.previous")


def replace_folder(fresh: Path, target: Path) -> None:
    """Put ``fresh`` in the place of ``target`` (which need not exist) and remove what was there.

    The two names are exchanged in one step by ``renameat2`` (Linux 3.15). Where that is not to be had, the old folder
    is first moved to ``previous_of(target)``; a kill in between leaves it whole there, and readers look there.
    """
    previous = previous_of(target)
    if not target.exists():
        fresh.rename(target)
        sync_folder(target.parent)
    elif exchange(fresh, target):
        sync_folder(target.parent)
        shutil.rmtree(fresh)
    else:
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
        fresh.rename(target)
        sync_folder(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False if the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    names = os.fsencode(first), os.fsencode(second)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)
