"""A table of frames: columns in one Zarr group that grow together and are committed together.

A column has one row per frame, or is ragged: then its rows belong to another axis (atoms, orbital coefficients), and
``<axis>_offsets`` says that frame i owns the rows ``offsets[i]:offsets[i + 1]``. The attributes of the group hold the
committed length of every axis, and whether the table is tidy: nothing stands in the arrays beyond those lengths. Each
frame carries a checksum of all its rows in all columns.

An optional column is added when the first frame has it: its arrays are made, all frames before owning no rows of it,
and the commit of that frame records the column. One that a killed writer left without a record is removed.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from densnet_core.errors import DataError, InputError
from densnet_core.stores.arrays import (
    CHECKSUM,
    FRAME,
    AnyArray,
    Column,
    checksum,
    create_array,
    no_rows,
    open_array,
    stacked,
    with_bookkeeping,
)
from densnet_core.stores.chunks import Chunks
from densnet_core.stores.commit import WriterLock
from densnet_core.stores.durable import MAX_CHUNK_BYTES, DurableStore
from densnet_core.stores.records import read_group, refresh_twin, remove_group, write_group

RESTORE: Final = "restore the store from a copy."
REPAIR: Final = "'densnet data verify' names the frames, and with --repair keeps all others."
CACHED_COLUMN_BYTES: Final = 256 * 2**20
"""A column up to this size is kept in memory whole after its first use; of a larger one, the last chunks used."""
CACHED_CHUNKS: Final = 128
WRITERS: Final = 8
UNCHECKED_BYTES: Final = 64 * 2**20
"""A column that claims more must have at least half of its chunks on the disk before memory is taken for it."""

Frame = Mapping[str, AnyArray]


class Table:
    """Frames stored column by column under the commit protocol of ``densnet_core.stores.commit``.

    Parameters
    ----------
    store : DurableStore
    name : str
        Path of the group inside the store.
    columns : sequence of Column
        Without the offsets and the checksum, which the table adds, and the optional ones, which its record names.
    lock : WriterLock or None
        The store's lock; None opens for reading. With it, what a killed writer left beyond the commit is removed.
    sweep : callable or None
        Called with the attributes before the table is called tidy; removes what is left elsewhere.

    Raises
    ------
    DataError
        If the commit record is missing or damaged.
    """

    def __init__(
        self,
        store: DurableStore,
        name: str,
        columns: Sequence[Column],
        lock: WriterLock | None,
        sweep: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.name = name
        self.folder = Path(store.root) / name
        self._store = store
        self._lock = lock
        self._sweep = sweep
        self._fixed = tuple(columns)
        self.streams: dict[str, Chunks] = {}  # columns that are read straight from their files, no row being kept
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._whole: dict[str, AnyArray] = {}
        self._chunks: OrderedDict[tuple[str, int], AnyArray] = OrderedDict()
        self.attributes: dict[str, Any] = {}
        self.committed: dict[str, int] = {}
        self._reload()
        if lock is not None:
            refresh_twin(self.folder)
            self.trim()

    @classmethod
    def create(
        cls,
        store: DurableStore,
        name: str,
        columns: Sequence[Column],
        lock: WriterLock,
        attributes: Mapping[str, Any],
    ) -> Table:
        """Make an empty table; it exists once its group is written, which is the last step."""
        lock.check()

        def make(column: Column) -> None:
            array = create_array(store, f"{name}/{column.name}", column, rows=0)
            if column.name.endswith("_offsets"):
                array.resize((1,))
                array[:] = np.zeros(1, np.int64)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(make, with_bookkeeping(columns).values()))
        store.flush()
        axes = {column.axis for column in columns} | {FRAME}
        write_group(Path(store.root) / name, {**attributes, "committed": dict.fromkeys(sorted(axes), 0), "tidy": True})
        return cls(store, name, columns, lock)

    def __len__(self) -> int:
        return self.committed[FRAME]

    @property
    def data_columns(self) -> tuple[str, ...]:
        """Names of the columns without the offsets and the checksum."""
        return tuple(self._data)

    @property
    def ragged_axes(self) -> tuple[str, ...]:
        return tuple(sorted({column.axis for column in self._data.values()} - {FRAME}))

    @property
    def tidy(self) -> bool:
        """False while a writer works, or after it was killed: then rows may stand beyond the committed ones."""
        return bool(self.attributes.get("tidy", False))

    def rows_of(self, column: str) -> int:
        """Committed rows of a column."""
        leading = 1 if column.endswith("_offsets") else 0
        return self.committed[self.columns[column].axis] + leading

    def read(self, column: str, start: int, stop: int) -> AnyArray:
        """Rows ``start:stop`` of a column, not to be modified. Served from memory after the first use."""
        if column in self.streams:
            return self.streams[column].read(start, stop)
        if self.rows_of(column) * self.columns[column].row_bytes <= CACHED_COLUMN_BYTES:
            return self.whole(column)[start:stop]
        size = self.columns[column].chunk_rows
        parts = [
            self._chunk(column, index)[max(start - index * size, 0) : stop - index * size]
            for index in range(start // size, -(-stop // size))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else self.read_uncached(column, 0, 0)

    def whole(self, column: str) -> AnyArray:
        """All committed rows of a column, not to be modified; kept in memory."""
        if column not in self._whole:
            values = self.read_uncached(column, 0, self.rows_of(column))
            if column.endswith("_offsets"):
                self._check_offsets(column, values)
            values.setflags(write=False)
            self._whole[column] = values
        return self._whole[column]

    def read_uncached(self, column: str, start: int, stop: int) -> AnyArray:
        """Rows ``start:stop`` of a column straight from the disk; ``DataError`` if they cannot be read."""
        try:
            return np.asarray(self._array(column)[start : min(stop, self.rows_of(column))])
        except DataError:
            raise
        except Exception as error:  # Zarr and the file system raise many types for damaged chunks
            raise DataError(f"{self.folder / column}, rows {start} to {stop - 1}, cannot be read: {error}") from error

    def span(self, axis: str, index: int) -> tuple[int, int]:
        """Rows that frame ``index`` owns on an axis."""
        if axis == FRAME:
            return index, index + 1
        start, stop = map(int, self.read(f"{axis}_offsets", index, index + 2))
        if not 0 <= start <= stop <= self.committed[axis]:
            raise DataError(
                f"{self.folder / axis}_offsets gives frame {index} the rows {start} to {stop} of "
                f"{self.committed[axis]}; {REPAIR}"
            )
        return start, stop

    def value(self, column: str, index: int) -> AnyArray:
        """The rows of frame ``index``: the row itself for a column with one row per frame. Not to be modified."""
        axis = self.columns[column].axis
        rows = self.read(column, *self.span(axis, index))
        return np.asarray(rows[0]) if axis == FRAME else rows

    def block(self, start: int, stop: int) -> list[dict[str, AnyArray]]:
        """Rows of the frames ``start:stop`` by column, checksum included, straight from the chunk files.

        Nothing is kept in memory, and nothing is checked: see ``is_sound``. What is missing reads as fill values.

        Raises
        ------
        DataError
            If an array's metadata is damaged.
        """
        spans = {FRAME: np.arange(start, stop + 1)}
        for axis in self.ragged_axes:
            offsets = self.chunks(f"{axis}_offsets").read(start, stop + 1)
            # Damaged offsets must not ask for more than there is; the frames they harm have a wrong checksum.
            spans[axis] = np.clip(offsets, 0, self.committed[axis])
        frames: list[dict[str, AnyArray]] = [{} for _ in range(stop - start)]
        for name in (*self._data, CHECKSUM):
            column = self.columns[name]
            for frame, rows in zip(frames, self._pieces(name, spans[column.axis]), strict=True):
                frame[name] = rows[0] if column.axis == FRAME else rows
        return frames

    def is_sound(self, frame: Frame) -> bool:
        """Whether a frame of ``block`` is what was once appended."""
        return np.array_equal(checksum(self._data, frame), frame[CHECKSUM])

    def chunks(self, column: str) -> Chunks:
        """The chunk files of a column."""
        return Chunks(Path(self._store.root), f"{self.name}/{column}", self._array(column))

    def array_rows(self, column: str) -> int:
        """Rows that the array of a column has, committed or not."""
        return int(self._array(column).shape[0])

    def append(self, frames: Sequence[Frame], new: Sequence[Column] = (), **attributes: Any) -> None:
        """Append frames and replace attributes in one commit.

        Parameters
        ----------
        frames : sequence of mapping
            For every column the frame's rows: an array of the row's shape, or (rows, \\*shape) on a ragged axis.
            Optional columns may be left out.
        new : sequence of Column
            Optional columns that the table has not yet.
        **attributes
            Attributes of the group to replace in the same commit.
        """
        self.make_untidy()
        try:
            if new:
                self._add(new)
                attributes["columns"] = {name: c.record() for name, c in self._data.items() if c.optional}
            blocks, lengths = self._blocks(frames)
            with ThreadPoolExecutor(WRITERS) as pool:  # flushing files to a disk is faster side by side
                list(pool.map(self._extend, blocks.keys(), blocks.values()))
            self._commit(lengths, attributes)
        except BaseException:
            # The commit may or may not have happened (an interrupt between the rename and here): the disk decides.
            self._arrays.clear()
            self._reload()
            raise
        self._forget()

    def make_untidy(self) -> None:
        """Record that something is being written; ``append`` does it by itself."""
        self._check_writable()
        if self.tidy:
            self._commit(self.committed, {"tidy": False})

    def trim(self) -> None:
        """Cut the arrays to their committed rows (a killed writer, or growing by whole chunks, left more)."""
        self._check_writable()
        if self.tidy:
            return
        for name, column in self.columns.items():
            array, rows = self._array(name), self.rows_of(name)
            if array.shape[0] > rows:
                array.resize((rows, *column.shape))
            self.chunks(name).blank_tail(rows)
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink() and entry.name not in self.columns:
                remove_group(entry)
        if self._sweep is not None:
            self._sweep(self.attributes)
        self._commit(self.committed, {"tidy": True})

    def _blocks(self, frames: Sequence[Frame]) -> tuple[dict[str, AnyArray], dict[str, int]]:
        lengths = dict(self.committed)
        lengths[FRAME] += len(frames)
        nothing = {name: no_rows(column) for name, column in self._data.items() if column.optional}
        frames = [{**nothing, **frame} for frame in frames]
        blocks = {name: stacked(column, [frame[name] for frame in frames]) for name, column in self._data.items()}
        blocks[CHECKSUM] = stacked(self.columns[CHECKSUM], [checksum(self._data, frame) for frame in frames])
        for axis in self.ragged_axes:
            names = [name for name, column in self._data.items() if column.axis == axis]
            counts = np.array([[len(frame[name]) for name in names] for frame in frames]).reshape(-1, len(names))
            if (counts != counts[:, :1]).any():
                raise InputError(f"The columns {', '.join(names)} of a frame differ in length.")
            blocks[f"{axis}_offsets"] = self.committed[axis] + np.cumsum(counts[:, 0], dtype=np.int64)
            lengths[axis] += int(counts[:, 0].sum())
        return blocks, lengths

    def _add(self, new: Sequence[Column]) -> None:
        """Make the arrays of optional columns; they count from the next commit on."""
        for column in new:
            offsets = with_bookkeeping([column])[f"{column.name}_offsets"]
            for each, rows in ((column, 0), (offsets, len(self) + 1)):
                if (self.folder / each.name).is_dir():
                    remove_group(self.folder / each.name)  # of a commit that failed
                array = create_array(self._store, f"{self.name}/{each.name}", each, rows)
                if rows:
                    array[:] = np.zeros(rows, np.int64)
        self._set_columns([*self._data.values(), *new])
        self.committed |= {column.name: 0 for column in new}

    def _set_columns(self, columns: Sequence[Column]) -> None:
        self._data = {column.name: column for column in columns}
        self.columns = with_bookkeeping(columns)

    def _extend(self, name: str, block: AnyArray) -> None:
        if not len(block):
            return
        array, column, start = self._array(name), self.columns[name], self.rows_of(name)
        stop = start + len(block)
        if stop > array.shape[0]:
            # Growing by whole chunks spares most commits the rewriting of the array's metadata; close() trims.
            array.resize((-(-stop // column.chunk_rows) * column.chunk_rows, *column.shape))
        array[start:stop] = block

    def _commit(self, lengths: Mapping[str, int], attributes: Mapping[str, Any]) -> None:
        merged = {**self.attributes, **attributes, "committed": dict(lengths)}
        self._store.flush()
        write_group(self.folder, merged)
        self.attributes, self.committed = merged, dict(lengths)

    def _reload(self) -> None:
        self.attributes = read_group(self.folder)
        optional = self.attributes.get("columns", {})
        if not isinstance(optional, dict):
            raise DataError(f"{self.folder}: the columns must be a table, found {optional!r}.")
        self._set_columns([*self._fixed, *(Column.from_record(name, record) for name, record in optional.items())])
        committed = self.attributes.get("committed")
        wanted = {column.axis for column in self.columns.values()}
        if not isinstance(committed, dict) or set(committed) != wanted:
            raise DataError(f"{self.folder}: the committed lengths must name {sorted(wanted)}, found {committed!r}.")
        if not all(isinstance(length, int) and 0 <= length < 2**48 for length in committed.values()):
            raise DataError(f"{self.folder}: the committed lengths must be sensible, found {committed!r}.")
        self.committed = dict(committed)
        self._forget()

    def _check_writable(self) -> None:
        if self._lock is None:
            raise DataError(f"{self.folder} is open for reading only; open the store with writable=True.")
        self._lock.check()

    def _forget(self) -> None:
        self._whole.clear()
        self._chunks.clear()

    def _array(self, name: str) -> zarr.Array[Any]:
        if name not in self._arrays:
            column, rows = self.columns[name], self.rows_of(name)
            array = open_array(self._store, f"{self.name}/{name}", self._lock is not None, column)
            if array.shape[0] < rows:
                raise DataError(f"{self.folder / name} has {array.shape[0]} rows but {rows} are committed; {RESTORE}")
            if rows * column.row_bytes > UNCHECKED_BYTES:
                there = Chunks(Path(self._store.root), f"{self.name}/{name}", array).count() * array.chunks[0]
                if there < rows // 2:
                    raise DataError(
                        f"{self.folder / name} claims {rows} rows, but its files hold {there} at most; {RESTORE}"
                    )
            self._arrays[name] = array
        return self._arrays[name]

    def _check_offsets(self, name: str, offsets: AnyArray) -> None:
        wanted = self.committed[name.removesuffix("_offsets")]
        if offsets[0] != 0 or offsets[-1] != wanted or (np.diff(offsets) < 0).any():
            raise DataError(f"{self.folder / name} must ascend from 0 to the committed {wanted} and does not; {REPAIR}")

    def _pieces(self, name: str, edges: AnyArray) -> Iterator[AnyArray]:
        """The rows of a column between successive edges; none where damaged edges ask for an absurd number of them."""
        chunks, row_bytes = self.chunks(name), self.columns[name].row_bytes
        first, last = int(edges[0]), int(edges[-1])
        together = (np.diff(edges) >= 0).all() and (last - first) * row_bytes <= CACHED_COLUMN_BYTES
        rows = chunks.read(first, last) if together else None
        for begin, end in itertools.pairwise(edges.tolist()):
            if rows is not None:
                yield rows[begin - first : end - first]
            else:
                yield chunks.read(begin, end if (end - begin) * row_bytes <= MAX_CHUNK_BYTES else begin)

    def _chunk(self, column: str, index: int) -> AnyArray:
        key = (column, index)
        if key not in self._chunks:
            size = self.columns[column].chunk_rows
            self._chunks[key] = self.read_uncached(column, index * size, (index + 1) * size)
            if len(self._chunks) > CACHED_CHUNKS:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(key)
        return self._chunks[key]
