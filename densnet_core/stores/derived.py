"""Whole arrays kept beside a trajectory, for example dipoles: each replaced in one commit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError, InputError
from densnet_core.stores.arrays import Column, create_array, open_array
from densnet_core.stores.chunks import Chunks
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.records import read_group, remove_group, write_group

CHUNK_BYTES: Final = 512 * 1024
DERIVED: Final = "derived"


def write_derived(store: DurableStore, name: str, values: NDArray[Any], unit: str, meaning: str) -> None:
    """Write a new version of an array, then make it the valid one, then remove the one before.

    Raises
    ------
    InputError
        If the values are not finite real numbers.
    """
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"{name} must hold finite real numbers (its type is {values.dtype}).")
    folder = Path(store.root) / DERIVED / name
    valid = read_group(folder)["version"] if (folder / "zarr.json").is_file() else -1
    _remove_versions(folder, keep=valid)
    version = f"v{valid + 1}"
    kind = values.dtype.newbyteorder("<").str
    rows = max(1, CHUNK_BYTES // max(values[:1].nbytes, 1))
    column = Column(version, kind, unit, meaning, values.shape[1:], chunk_rows=rows)
    create_array(store, f"{DERIVED}/{name}/{version}", column, rows=len(values))[:] = values
    store.flush()
    record = {"version": valid + 1, "unit": unit, "meaning": meaning, "checksum": _checksum(values)}
    write_group(folder, record)
    _remove_versions(folder, keep=valid + 1)


def read_derived(store: DurableStore, name: str) -> NDArray[Any]:
    """The valid version of an array; ``DataError`` if it is damaged."""
    folder = Path(store.root) / DERIVED / name
    record = read_group(folder)
    chunks, rows = derived_chunks(store, name)
    if rows // chunks.chunk_rows > chunks.count():
        raise DataError(f"{folder} claims {rows} rows, but has files for {chunks.count() * chunks.chunk_rows} at most.")
    values = chunks.read(0, rows)
    if _checksum(values) != record.get("checksum"):
        raise DataError(f"The array {name!r} of {store.root} is damaged; compute it again.")
    return values


def derived_chunks(store: DurableStore, name: str) -> tuple[Chunks, int]:
    """The chunk files of the valid version of an array, and its number of rows."""
    version = read_group(Path(store.root) / DERIVED / name).get("version")
    path = f"{DERIVED}/{name}/v{version}"
    array = open_array(store, path, writable=False)
    return Chunks(Path(store.root), path, array), int(array.shape[0])


def _checksum(values: NDArray[Any]) -> str:
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


def _remove_versions(folder: Path, keep: int) -> None:
    for entry in folder.glob("v*"):
        if entry.name != f"v{keep}":
            remove_group(entry)
