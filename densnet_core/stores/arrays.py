"""Zarr arrays as the stores use them: described by a column, uncompressed, every chunk written."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from densnet_core.errors import DataError
from densnet_core.stores.commit import DurableStore

FRAME: Final = "frame"
AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One array of a table.

    Parameters
    ----------
    name : str
    dtype : str
        Little-endian NumPy type, for example ``"<f8"``.
    unit, meaning : str
        Written to the array's attributes.
    shape : tuple of int
        Shape of one row.
    axis : str
        ``"frame"`` for one row per frame, otherwise the ragged axis the rows belong to.
    chunk_rows : int
        Rows per chunk. A commit rewrites the last chunk, so chunks of small columns are small.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    shape: tuple[int, ...] = ()
    axis: str = FRAME
    chunk_rows: int = 1024

    @property
    def row_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * prod(self.shape)


def create_array(store: DurableStore, path: str, column: Column, rows: int) -> zarr.Array[Any]:
    """An uncompressed array: labels hardly compress, and a damaged byte then harms one frame, not a chunk of them."""
    names = (column.axis, *(None for _ in column.shape))
    array = zarr.create_array(
        store.within(path),  # given a name inside a store, Zarr would write the groups above it, before our commit
        shape=(rows, *column.shape),
        chunks=(column.chunk_rows, *(max(size, 1) for size in column.shape)),
        dtype=column.dtype,
        compressors=None,
        fill_value=np.nan if np.dtype(column.dtype).kind == "f" else 0,
        attributes={"unit": column.unit, "meaning": column.meaning},
        dimension_names=names,
    )
    return _storing_every_chunk(array)


def open_array(store: DurableStore, path: str, writable: bool) -> zarr.Array[Any]:
    """Open an array; ``DataError`` if it is missing or its metadata is damaged."""
    try:
        return _storing_every_chunk(zarr.open_array(store, path=path, mode="r+" if writable else "r"))
    except Exception as error:  # Zarr raises KeyError, ValueError, JSON errors and more for damaged metadata
        raise DataError(f"The array {Path(store.root) / path} cannot be opened: {error}") from error


def _storing_every_chunk(array: zarr.Array[Any]) -> zarr.Array[Any]:
    # By default Zarr leaves out chunks equal to the fill value, which loses the sign of -0.0 and hides a lost file.
    return array.with_config({"write_empty_chunks": True})
