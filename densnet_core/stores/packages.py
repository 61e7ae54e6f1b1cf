"""Reading the two files of a model package from a folder or a zip file, trusting neither."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from densnet_core.errors import DataError
from densnet_core.stores.commit import sync_folder, write_bytes
from densnet_core.stores.exchange import previous_of

DOCUMENT_NAME: Final = "model.json"
WEIGHTS_NAME: Final = "weights.safetensors"
MAX_BYTES: Final = {DOCUMENT_NAME: 64 * 2**20, WEIGHTS_NAME: 8 * 2**30}
MAX_RATIO: Final = 200
"""Weights hardly compress; a zip entry that unpacks to more than this many times its size is an attack."""


def read_package(path: Path) -> tuple[bytes, bytes]:
    """Contents of ``model.json`` and ``weights.safetensors``.

    Raises
    ------
    DataError
        If the path is no package, a file is missing, too large or unexpected, or the archive is damaged.
    """
    if not path.exists() and previous_of(path).is_dir():
        path = previous_of(path)
    if path.is_dir():
        return _read_file(path, DOCUMENT_NAME), _read_file(path, WEIGHTS_NAME)
    if not path.exists():
        raise DataError(f"There is no model at {path}.")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            pickled = file.read(1) == b"\x80"
        what = "looks like a pickle or a torch.save file, which DenSNet never loads" if pickled else "is neither"
        raise DataError(f"A model is a folder or a zip file of {DOCUMENT_NAME} and {WEIGHTS_NAME}; {path} {what}.")
    document, weights = _read_zip(path, (DOCUMENT_NAME, WEIGHTS_NAME))
    return document, weights


def read_document(path: Path) -> bytes:
    """Contents of ``model.json`` alone; errors as of ``read_package``."""
    if path.is_dir():
        return _read_file(path, DOCUMENT_NAME)
    if not zipfile.is_zipfile(path):
        return read_package(path)[0]  # which says what it is instead
    return _read_zip(path, (DOCUMENT_NAME,))[0]


def write_zip(path: Path, document: bytes, weights: bytes) -> None:
    """Write both files as an uncompressed zip file, atomically."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(DOCUMENT_NAME, document)
        archive.writestr(WEIGHTS_NAME, weights)
    write_bytes(path, buffer.getbuffer())
    sync_folder(path.parent)


def _read_file(folder: Path, name: str) -> bytes:
    file, limit = folder / name, MAX_BYTES[name]
    if not file.is_file():
        raise DataError(f"{folder} is not a whole model package: it has no {name}.")
    if file.stat().st_size > limit:
        raise DataError(f"{file} has {file.stat().st_size} bytes; more than {limit} is not a model.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error


def _read_zip(path: Path, names: Sequence[str]) -> list[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            return [archive.read(name) for name in names]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"The zip file {path} is damaged or encrypted: {error}.") from error


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    unexpected = sorted(set(names) - set(MAX_BYTES))
    if unexpected:
        hint = (
            " It looks like a torch.save file, which is a pickle; DenSNet never loads those."
            if any(name.endswith((".pkl", ".pt", ".pth", ".pickle", ".ckpt")) for name in unexpected)
            else ""
        )
        raise DataError(
            f"The zip file {path} must hold {DOCUMENT_NAME} and {WEIGHTS_NAME} only; found {unexpected[0]!r}.{hint}"
        )
    if missing := sorted(set(MAX_BYTES) - set(names)):
        raise DataError(f"The zip file {path} is not a whole model package: it has no {missing[0]}.")
    if len(names) != len(MAX_BYTES):
        raise DataError(f"The zip file {path} holds an entry twice.")
    for entry in entries:
        if entry.file_size > min(MAX_BYTES[entry.filename], MAX_RATIO * max(entry.compress_size, 4096)):
            raise DataError(
                f"{entry.filename} in {path} claims {entry.file_size} bytes from {entry.compress_size}; not a model."
            )
