"""The folder of a store: how it is created, opened and closed, and the small JSON records inside it."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from densnet_core.errors import DataError, InputError
from densnet_core.stores.commit import LOCK_NAME, WriterLock, remove_partial, sync_folder
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.records import RECORD, read_group, write_group
from densnet_core.stores.table import Table

FRAMES: Final = "frames"
REMOVED: Final = "removed"
"""Group of what a repair took out: for each broken frame or part what was wrong and what could still be read."""
UNFINISHED: Final = ".unfinished.partial"
"""Marks a folder whose creation was interrupted: only then may a new creation empty it."""
_IDENTITY: Final = ("densnet_store", "format_version", "sealed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


class StoreFolder(ABC):
    """Base of the stores: a Zarr v3 folder of one kind, open for reading or by the one writer.

    Use ``create`` of the concrete store and ``open``, best in a ``with`` statement. The root group's attributes are
    ``attributes``; they are written last on creation, so an interrupted creation leaves no store.
    """

    kind: str
    format_versions: ClassVar[tuple[int, ...]] = (1,)
    """Format versions that can be opened; the last is what is written."""
    frame_table: Table

    def __init__(self, path: Path, lock: WriterLock | None) -> None:
        self.path = path
        self._lock = lock
        self.attributes = read_group(path)
        found = self.attributes.get("densnet_store")
        if found != self.kind:
            raise DataError(f"{path} is not a {self.kind} store (its root says {found!r}).")
        version = self.attributes.get("format_version")
        if version not in self.format_versions:
            raise DataError(
                f"{path} has format version {version!r}; this DenSNet reads version "
                f"{' and '.join(map(str, self.format_versions))}. Use the DenSNet that wrote it, or import the data "
                "again."
            )
        self.zarr = DurableStore(path, read_only=lock is None)
        self._tables: list[Table] = []

    @classmethod
    def open(cls, path: str | Path, writable: bool = False) -> Self:
        """Open an existing store.

        Parameters
        ----------
        path : path
        writable : bool

        Raises
        ------
        DataError
            If there is no store, it is of another kind or format version, damaged, or (to write) in use or of an older
            format.
        """
        folder = Path(path)
        if not (folder / RECORD).is_file():
            raise DataError(f"There is no store at {folder}.")
        if not writable:
            return cls(folder, None)
        lock = WriterLock(folder).acquire()
        try:
            store = cls.open_to_rewrite(folder, lock)
            if not store.is_current:
                raise DataError(
                    f"{folder} has format version {store.attributes['format_version']}, which is only read; "
                    f"'densnet data upgrade {folder}' makes version {cls.format_versions[-1]} of it, with all it holds."
                )
            return store
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open_to_rewrite(cls, path: Path, lock: WriterLock) -> Self:
        """Open for writing, although of an older format, under a lock that the caller has and gives back.

        For what puts a new store in the place of this one: no other writer may come before it has done so.
        """
        remove_partial(path)
        return cls(path, lock)

    @classmethod
    def _create(cls, path: str | Path, build: Callable[[DurableStore, WriterLock], Mapping[str, Any]]) -> Self:
        """Create a store and open it for writing.

        Parameters
        ----------
        path : path
        build : callable
            Given the Zarr store and the lock, makes all the parts and returns the attributes of the root, which is
            written after it: from then on the folder is a store.

        Raises
        ------
        DataError
            If a store is there already, the folder holds other things, or another process is creating it.
        """
        folder, lock = _begin(path)
        try:
            attributes = build(DurableStore(folder), lock)
            identity = dict(zip(_IDENTITY, (cls.kind, cls.format_versions[-1], True), strict=True))
            write_group(folder, {**identity, **attributes})
            (folder / UNFINISHED).unlink()
            return cls(folder, lock)
        except BaseException:
            lock.release()
            raise

    def empty_copy(self, path: str | Path) -> Self:
        """Create a store without frames that is otherwise like this one, and open it for writing."""

        def build(zarr_store: DurableStore, lock: WriterLock) -> Mapping[str, Any]:
            self._make_parts_again(zarr_store, lock)
            return {key: value for key, value in self.attributes.items() if key not in _IDENTITY}

        return self._create(path, build)

    @abstractmethod
    def _make_parts_again(self, zarr_store: DurableStore, lock: WriterLock) -> None:
        """Make the groups and arrays of an empty store like this one."""

    @property
    def is_current(self) -> bool:
        """Whether the store is of the format that is written."""
        return bool(self.attributes["format_version"] == self.format_versions[-1])

    @property
    def writable(self) -> bool:
        return self._lock is not None

    def __len__(self) -> int:
        return len(self.frame_table)

    def close(self) -> None:
        """Give back the right to write; everything appended is already on the disk."""
        if self._lock is None or not self._lock.held:
            return
        try:
            for table in self._tables:
                table.trim()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Write or replace a small JSON document, atomically (a split, for example).

        Raises
        ------
        InputError
            If the name is not a plain file name or the document is not plain JSON.
        """
        self._writer()
        folder = self.path / "documents"
        if not folder.is_dir():
            write_group(folder, {})
        write_group(folder / checked_name(name), document)

    def read_document(self, name: str) -> dict[str, Any]:
        """A document written by ``write_document``; ``DataError`` listing what there is if it does not exist."""
        if checked_name(name) not in self.document_names():
            known = ", ".join(self.document_names()) or "none"
            raise DataError(f"{self.path} has no document {name!r}; it has: {known}.")
        return read_group(self.path / "documents" / name)

    def document_names(self) -> list[str]:
        return groups_in(self.path / "documents")

    def removed_names(self) -> list[str]:
        """Names of the records of what a repair took out."""
        return groups_in(self.path / REMOVED)

    def _writer(self) -> WriterLock:
        if self._lock is None:
            raise DataError(f"{self.path} is open for reading only; open it with writable=True.")
        self._lock.check()
        return self._lock

    def _update_root(self, **attributes: Any) -> None:
        self._writer()
        merged = {**self.attributes, **attributes}
        write_group(self.path, merged)
        self.attributes = merged


def _begin(path: str | Path) -> tuple[Path, WriterLock]:
    """Take the lock of a store to be created and clear what an interrupted creation left."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; choose another name for the store.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be created: {error.strerror}.") from error
    _refuse_used(folder)
    lock = WriterLock(folder).acquire()
    try:
        _refuse_used(folder)  # again: another process may have finished it before we got the lock
        (folder / UNFINISHED).touch()
        sync_folder(folder)
        sync_folder(folder.parent)
        for entry in folder.iterdir():
            if entry.name not in (LOCK_NAME, UNFINISHED):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    except BaseException:
        lock.release()
        raise
    return folder, lock


def _refuse_used(folder: Path) -> None:
    names = {entry.name for entry in folder.iterdir()}
    if RECORD in names:
        raise DataError(f"{folder} is a store already; open it, or choose another name.")
    if UNFINISHED not in names and names - {LOCK_NAME}:
        raise DataError(f"{folder} is not empty; a new store needs a new or an empty folder.")


def checked_name(name: str) -> str:
    """``name`` if it can be a folder's name inside a store; ``InputError`` otherwise."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a part of a store: use letters, digits and . _ + -, starting with a letter or "
            "digit, at most 128."
        )
    return name


def groups_in(folder: Path) -> list[str]:
    """Names of the finished groups in ``folder``, sorted."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / RECORD).is_file())
