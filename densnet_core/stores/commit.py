"""How every store is written: one writer, durable files, and a commit that is a single atomic replacement.

A store is a Zarr v3 hierarchy in a local folder. Rows are appended to arrays first; then the attributes of the
arrays' group, which hold the committed lengths, are replaced in one rename. Rows beyond the committed lengths do not
exist for a reader, and a writer cuts them off when it opens the store.

The order on the disk is: data of the arrays, their folders, then the commit record and its folder. This module has the
atomic replacement of a file and the writer's lock; ``records`` the metadata, ``durable`` the chunks.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import ClassVar, Self

from densnet_core.errors import DataError, ResourceError

LOCK_NAME = ".lock"
PARTIAL_SUFFIX = ".partial"


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replace a file atomically, its data flushed to the disk before the rename (flush the folder yourself).

    Raises
    ------
    ResourceError
        If the disk is full or cannot be written; the old file is still there then.
    """
    partial = partial_name(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ResourceError(
            f"{path} cannot be written ({error.strerror}); free space on its disk or check the permissions. What was "
            "there before is unchanged."
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_name(path: Path) -> Path:
    """A new temporary name beside ``path`` that tells which process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")


def remove_stale(path: Path) -> None:
    """Remove what processes that no longer live left beside ``path`` under a ``partial_name``."""
    for entry in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        process = entry.name.split(".")[-3]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder (new names and renames) to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: Path) -> None:
    """Remove the temporary files that a killed writer left anywhere below ``folder``."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(PARTIAL_SUFFIX):
                Path(parent, name).unlink(missing_ok=True)


class WriterLock:
    """The right to write a store: an advisory lock on ``.lock`` in its folder.

    The kernel releases it when the process ends, however it ends. A POSIX record lock is used because, unlike
    ``flock``, a forked worker that outlives its killed parent does not inherit it. Such locks do not exclude a second
    writer of the same process, so a table of the folders held here does that.
    """

    _held: ClassVar[dict[str, int]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = os.path.realpath(folder)
        self._descriptor: int | None = None
        self._owner = 0

    def acquire(self) -> Self:
        """Take the lock.

        Raises
        ------
        DataError
            If another writer has it (the message names its process and host) or the folder cannot be written.
        """
        if self._held.get(self._key) == os.getpid():
            raise DataError(f"{self.folder} is already open for writing in this process; close that store first.")
        descriptor = self._locked_file()
        record = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        with contextlib.suppress(OSError):  # only for the message to the next one; a full disk is no obstacle
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, record, 0)
        self._descriptor, self._owner = descriptor, os.getpid()
        self._held[self._key] = self._owner
        return self

    def _locked_file(self) -> int:
        path = self.folder / LOCK_NAME
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                raise DataError(f"{self.folder} cannot be written: {error.strerror}.") from error
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = _describe_holder(os.pread(descriptor, 4096, 0))
                os.close(descriptor)
                if isinstance(error, (BlockingIOError, PermissionError)):
                    raise DataError(f"{self.folder} is being written by {holder}; wait for it or end it.") from error
                raise DataError(f"{self.folder} cannot be locked on this file system: {error.strerror}.") from error
            # A repair may have put another folder here since the file was opened; the lock must be on that one.
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)

    @property
    def held(self) -> bool:
        """True between ``acquire`` and ``release``, in the process that acquired it."""
        return self._descriptor is not None and self._owner == os.getpid()

    def check(self) -> None:
        """Raise ``DataError`` unless this process holds the lock (it is closed, or we are in a forked child)."""
        if self._descriptor is None:
            raise DataError(f"{self.folder} is closed or was opened for reading; open it with writable=True.")
        if self._owner != os.getpid():
            raise DataError(
                f"{self.folder} was opened for writing by process {self._owner}; this is {os.getpid()}. Let the "
                "process that opened a store append to it."
            )

    def release(self) -> None:
        """Give the lock back; calling it twice does no harm."""
        if self._descriptor is None:
            return
        if self._owner == os.getpid():
            self._held.pop(self._key, None)
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None


def _describe_holder(record: bytes) -> str:
    try:
        holder = json.loads(record)
        return f"process {int(holder['pid'])} on host {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
