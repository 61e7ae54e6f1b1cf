"""Zarr's local store made durable: every write flushed, every metadata file sealed, nothing read from elsewhere.

What Zarr does by itself (zarr 3.1.6, ``LocalStore._put``): a chunk or metadata file is written to ``*.partial`` and
renamed over the old one. So rewriting a half-filled chunk that already holds committed rows cannot tear them when the
process dies. It does not survive a power failure, because nothing is flushed before the rename; ``DurableStore`` adds
that.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Final

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from densnet_core.errors import DataError
from densnet_core.stores.commit import sync_folder, write_bytes
from densnet_core.stores.records import RECORD, sealed, write_record

MAX_CHUNK_BYTES: Final = 2**30


class DurableStore(LocalStore):
    """Zarr's local store with every write flushed to the disk; call ``flush`` before a commit."""

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._touched: set[Path] = set()
        self._real_root = os.path.realpath(root)

    def within(self, path: str) -> DurableStore:
        """The same store seen from a folder inside it; flushed together with this one."""
        self._make_folder(self.root / path)
        inner = DurableStore(self.root / path, read_only=self.read_only)
        inner._touched = self._touched
        return inner

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        check_inside(self._real_root, key)
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()
        await asyncio.to_thread(self._write, self.root / key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        # Safe without an exclusive rename: the store has a single writer.
        if not (self.root / key).exists():
            await self.set(key, value)

    def _write(self, path: Path, value: Buffer) -> None:
        self._make_folder(path.parent)
        if path.name == RECORD:
            write_record(path.parent, sealed(json.loads(value.to_bytes())))
        else:
            write_bytes(path, value.to_bytes())
        self._touched.add(path.parent)

    def _make_folder(self, folder: Path) -> None:
        parent = folder
        while not parent.exists():
            parent = parent.parent
            self._touched.add(parent)
        folder.mkdir(parents=True, exist_ok=True)

    def flush(self) -> None:
        """Flush the folders written to since the last flush; afterwards everything set is on the disk."""
        while self._touched:
            folder = self._touched.pop()
            if folder.is_dir():
                sync_folder(folder)


def check_inside(real_root: str, key: str) -> None:
    """Refuse a file that is not the store's own: a link to elsewhere, a pipe, or one of absurd size.

    Raises
    ------
    DataError
        If the file is there and is refused; one that is missing is for the reader to notice.
    """
    wanted = os.path.join(real_root, key)
    try:
        status = os.lstat(wanted)
    except OSError:
        return
    if stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode) or os.path.realpath(wanted) != os.path.normpath(wanted):
        raise DataError(f"{wanted} is a link or no plain file; a store is read from its own folder only.")
    if status.st_size > MAX_CHUNK_BYTES:
        raise DataError(f"{wanted} has {status.st_size} bytes; no chunk of a store is that large.")
