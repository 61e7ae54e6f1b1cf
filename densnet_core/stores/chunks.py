"""The chunk files of an array, read without Zarr: what a damaged array still holds, and what is wrong with its files.

Zarr refuses a chunk of the wrong size and takes a missing one for fill values; to keep every sound frame and to name
the broken ones, verification, repair and everything that copies frames read the bytes here and judge them by checksum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from densnet_core.errors import DataError
from densnet_core.stores.arrays import AnyArray, fill_value
from densnet_core.stores.commit import write_bytes
from densnet_core.stores.durable import check_inside


class Chunks:
    """Chunk files of one array of rows.

    Parameters
    ----------
    root : Path
        The store's folder.
    path : str
        Of the array, inside the store.
    array : zarr.Array
    """

    def __init__(self, root: Path, path: str, array: zarr.Array[Any]) -> None:
        self.folder = root / path
        self._real_root, self._path = os.path.realpath(root), path
        self.dtype = np.dtype(array.dtype).newbyteorder("<")
        self.shape = tuple(array.shape[1:])
        self.chunk_rows = int(array.chunks[0])
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))
        self._inner = "/0" * len(self.shape)

    def file(self, index: int) -> Path:
        return self.folder / f"c/{index}{self._inner}"

    def count(self) -> int:
        """Number of chunks there are on the disk."""
        try:
            return sum(1 for _ in os.scandir(self.folder / "c"))
        except OSError:
            return 0

    def read(self, start: int, stop: int) -> AnyArray:
        """Rows ``start:stop``; what is missing on the disk reads as the fill value.

        Raises
        ------
        DataError
            If a chunk is a link, no plain file or of absurd size.
        """
        rows = np.full((max(stop - start, 0), *self.shape), fill_value(self.dtype), self.dtype)
        if not rows.size:
            return rows
        target = rows.reshape(len(rows), -1).view(np.uint8)
        for index in range(start // self.chunk_rows, -(-stop // self.chunk_rows)):
            first = index * self.chunk_rows
            begin, end = max(start, first), min(stop, first + self.chunk_rows)
            data = self._bytes(index, (begin - first) * self.row_bytes, (end - begin) * self.row_bytes)
            part = target[begin - start : end - start].reshape(-1)
            part[: len(data)] = np.frombuffer(data, np.uint8)
        return rows

    def problems(self, rows: int, tidy: bool) -> Iterator[tuple[str, int, int]]:
        """What is wrong with the files of the first ``rows`` rows, and which rows each problem concerns.

        Parameters
        ----------
        tidy : bool
            The rest of the last chunk must hold fill values: nothing was being written.
        """
        whole = self.chunk_rows * self.row_bytes
        for index in range(-(-rows // self.chunk_rows) if whole else 0):
            start, stop = index * self.chunk_rows, min((index + 1) * self.chunk_rows, rows)
            file = self.file(index)
            try:
                size = file.lstat().st_size
            except OSError:
                yield f"the chunk {file} is missing", start, stop
                continue
            if size != whole:
                yield f"the chunk {file} has {size} bytes instead of {whole}", start, stop
            elif tidy and stop - start < self.chunk_rows and self._tail(index, stop - start) is not None:
                yield f"the chunk {file} was changed beyond its last row, which harms no frame", stop, stop

    def blank_tail(self, rows: int) -> None:
        """Overwrite what a writer left beyond the first ``rows`` rows in their last chunk."""
        index, used = divmod(rows, self.chunk_rows)
        file = self.file(index)
        if not used or not file.is_file() or file.stat().st_size != self.chunk_rows * self.row_bytes:
            return
        blank = self._tail(index, used)
        if blank is not None:
            write_bytes(file, self._bytes(index, 0, used * self.row_bytes) + blank)

    def _tail(self, index: int, used: int) -> bytes | None:
        """What should follow the first ``used`` rows of a chunk, if something else does."""
        blank = np.full((self.chunk_rows - used, *self.shape), fill_value(self.dtype), self.dtype).tobytes()
        return None if self._bytes(index, used * self.row_bytes, len(blank)) == blank else blank

    def _bytes(self, index: int, offset: int, size: int) -> bytes:
        check_inside(self._real_root, f"{self._path}/c/{index}{self._inner}")
        try:
            with self.file(index).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return b""
        except OSError as error:
            raise DataError(f"{self.file(index)} cannot be read: {error.strerror}.") from error
