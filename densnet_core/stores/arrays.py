"""Zarr arrays as the stores use them: described by a column, uncompressed, every chunk written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from densnet_core.errors import DataError, InputError
from densnet_core.stores.durable import MAX_CHUNK_BYTES, DurableStore
from densnet_core.stores.records import RECORD, read_node

FRAME: Final = "frame"
CHECKSUM: Final = "checksum"
CHECKSUM_BYTES: Final = 16
AnyArray = NDArray[Any]
_OPTIONAL_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_DTYPES: Final = ("<f8", "<i4")


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
        ``"frame"`` for one row per frame, otherwise the ragged axis the rows belong to. A column with an axis of
        its own name is optional: a frame may have no rows of it, and it can be added to a table that has frames.
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

    @property
    def optional(self) -> bool:
        return self.axis == self.name

    def record(self) -> dict[str, Any]:
        """An optional column as plain JSON."""
        kept = {key: value for key, value in asdict(self).items() if key not in ("name", "axis")}
        return {**kept, "shape": list(self.shape)}

    @classmethod
    def from_record(cls, name: str, record: Any) -> Column:
        """Inverse of ``record``; ``DataError`` if it is damaged."""
        try:
            shape, rows = tuple(record["shape"]), record["chunk_rows"]
            if not _OPTIONAL_NAME.fullmatch(name) or record["dtype"] not in _DTYPES:
                raise ValueError(f"{name!r} of type {record['dtype']!r}")
            if not all(type(size) is int and 0 < size <= 2**20 for size in (*shape, rows)) or len(shape) > 8:
                raise ValueError(f"rows of shape {shape} in chunks of {rows}")
            column = cls(name, record["dtype"], str(record["unit"]), str(record["meaning"]), shape, name, rows)
            if column.row_bytes * rows > MAX_CHUNK_BYTES:
                raise ValueError(f"chunks of {column.row_bytes * rows} bytes")
            return column
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"The record of the column {name!r} is damaged: {error!r}.") from error


def fill_value(dtype: np.dtype[Any]) -> float:
    """What the rows of an array hold before they are written."""
    return float("nan") if dtype.kind == "f" else 0


def create_array(store: DurableStore, path: str, column: Column, rows: int) -> zarr.Array[Any]:
    """An uncompressed array: labels hardly compress, and a damaged byte then harms one frame, not a chunk of them."""
    names = (column.axis, *(None for _ in column.shape))
    array = zarr.create_array(
        store.within(path),  # given a name inside a store, Zarr would write the groups above it, before our commit
        shape=(rows, *column.shape),
        chunks=(column.chunk_rows, *(max(size, 1) for size in column.shape)),
        dtype=column.dtype,
        compressors=None,
        fill_value=fill_value(np.dtype(column.dtype)),
        attributes={"unit": column.unit, "meaning": column.meaning},
        dimension_names=names,
    )
    return _storing_every_chunk(array)


def open_array(store: DurableStore, path: str, writable: bool, column: Column | None = None) -> zarr.Array[Any]:
    """Open an array, as the array of ``column`` if that is given.

    Raises
    ------
    DataError
        If it is missing, its metadata is damaged, it is not of the type and row shape of the column, or it is stored in
        a way that DenSNet does not write (compressed, chunked differently): Zarr never sees such metadata.
    """
    folder = Path(store.root) / path
    _check_node(folder, read_node(folder / RECORD), column)
    try:
        return _storing_every_chunk(zarr.open_array(store, path=path, mode="r+" if writable else "r"))
    except DataError:
        raise
    except Exception as error:  # Zarr raises KeyError, ValueError, JSON errors and more for damaged metadata
        raise DataError(f"The array {folder} cannot be opened: {error}") from error


def _check_node(folder: Path, node: dict[str, Any], column: Column | None) -> None:
    try:
        kind = np.dtype(node["data_type"])
        shape = [int(size) for size in node["shape"]]
        chunk = [int(size) for size in node["chunk_grid"]["configuration"]["chunk_shape"]]
        named = node["node_type"], node["chunk_grid"]["name"], node["chunk_key_encoding"]
        codecs = [(codec["name"], codec.get("configuration", {}).get("endian", "little")) for codec in node["codecs"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / RECORD} is not the metadata of an array of DenSNet ({error!r}).") from error
    encoding = {"name": "default", "configuration": {"separator": "/"}}
    if named != ("array", "regular", encoding) or codecs != [("bytes", "little")] or node.get("storage_transformers"):
        raise DataError(f"{folder} is not stored as DenSNet stores arrays: little-endian bytes in chunks of rows.")
    wanted = kind if column is None else np.dtype(column.dtype)
    row = tuple(shape[1:]) if column is None else column.shape
    if kind != wanted.newbyteorder("=") or tuple(shape[1:]) != row:
        raise DataError(f"{folder} has type {kind}, rows of shape {tuple(shape[1:])}; expected {wanted}, {row}.")
    whole_rows = chunk[1:] == [max(size, 1) for size in shape[1:]]
    if not shape or min(shape) < 0 or min(chunk) < 1 or not whole_rows or kind.kind not in "fiu":
        raise DataError(f"{folder} claims the shape {tuple(shape)} in chunks of {tuple(chunk)}: no table of rows.")
    if prod(chunk) * kind.itemsize > MAX_CHUNK_BYTES:
        raise DataError(f"{folder} claims chunks of {prod(chunk) * kind.itemsize} bytes; at most 1 GiB is read.")


def _storing_every_chunk(array: zarr.Array[Any]) -> zarr.Array[Any]:
    # By default Zarr leaves out chunks equal to the fill value, which loses the sign of -0.0 and hides a lost file.
    return array.with_config({"write_empty_chunks": True})


def with_bookkeeping(columns: Iterable[Column]) -> dict[str, Column]:
    """The columns of a table by name, with the offsets of its ragged axes and the checksum."""
    every = {column.name: column for column in columns}
    for axis in sorted({column.axis for column in every.values()} - {FRAME}):
        name = f"{axis}_offsets"
        meaning = f"(n_frames + 1,); frame i owns the rows {name}[i]:{name}[i+1] of the arrays along '{axis}'"
        every[name] = Column(name, "<i8", "1", meaning, chunk_rows=4096)
    meaning = "(n_frames, 16); BLAKE2b digest of the frame's rows in all other arrays"
    every[CHECKSUM] = Column(CHECKSUM, "|u1", "1", meaning, (CHECKSUM_BYTES,), chunk_rows=2048)
    return every


def checksum(columns: Mapping[str, Column], values: Mapping[str, AnyArray]) -> AnyArray:
    """(16,) uint8 BLAKE2b digest over the bytes of a frame's rows in all columns, ordered by name.

    An optional column of which the frame has no rows is left out: adding a column leaves the digests as they are.
    """
    digest = hashlib.blake2b(digest_size=CHECKSUM_BYTES)
    for name in sorted(columns):
        if columns[name].optional and not len(values.get(name, ())):
            continue
        rows = np.ascontiguousarray(values[name], dtype=columns[name].dtype)
        digest.update(f"{name}{rows.size};".encode())
        digest.update(rows.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def no_rows(column: Column) -> AnyArray:
    """What a frame without an optional column has of it."""
    return np.empty((0, *column.shape), column.dtype)


def stacked(column: Column, values: Sequence[AnyArray]) -> AnyArray:
    """The rows of several frames as one array; ``InputError`` if a row has another shape than the column's."""
    if not values:
        return no_rows(column)
    join = np.stack if column.axis == FRAME else np.concatenate
    block = join([np.asarray(value, column.dtype) for value in values])
    if block.shape[1:] != column.shape:
        raise InputError(f"{column.name}: a row must have shape {column.shape}, not {block.shape[1:]}.")
    return block
