"""The metadata of a store: JSON files that a flipped byte cannot change unnoticed, each with a twin to restore it from.

Every ``zarr.json`` that DenSNet writes ends with the attribute ``seal``: the SHA-256 of the file's bytes, taken with
the digits of the seal itself as zeros. So any changed byte is found, one in white space too, whatever wrote the rest of
the text. Beside it lies ``.zarr.json.twin`` with the same bytes, or those of a commit that was interrupted.

A record that replaces another is written twin first: what the twin names is on the disk by then. A new record is
written before its twin, because its presence is what makes a group exist.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from densnet_core.errors import DataError, InputError
from densnet_core.stores.commit import sync_folder, write_bytes

RECORD: Final = "zarr.json"
TWIN: Final = ".zarr.json.twin"
SEAL: Final = "seal"
MAX_RECORD_BYTES: Final = 256 * 2**20
_BLANK: Final = b"0" * 64
_SEALED: Final = re.compile(rb'"seal": "([0-9a-f]{64})"\n \}\n\}$')


def sealed(node: Mapping[str, Any]) -> bytes:
    """Text of a Zarr metadata document with its seal.

    Raises
    ------
    InputError
        If it is not plain JSON (NaN and infinities are not).
    """
    attributes = {key: value for key, value in node.get("attributes", {}).items() if key != SEAL}
    rest = {key: value for key, value in node.items() if key != "attributes"}
    try:
        text = json.dumps(
            {**rest, "attributes": {**attributes, SEAL: _BLANK.decode()}}, indent=1, allow_nan=False
        ).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"Only plain JSON with finite numbers can be stored: {error}.") from error
    head, _, tail = text.rpartition(_BLANK)
    return head + hashlib.sha256(text).hexdigest().encode() + tail


def is_sealed(data: bytes) -> bool:
    """True if the text has a seal and it is right; ``DataError`` if it has one and the text was changed."""
    found = _SEALED.search(data)
    if found is None:
        return False
    start, stop = found.span(1)
    if hashlib.sha256(data[:start] + _BLANK + data[stop:]).hexdigest().encode() != found.group(1):
        raise DataError("its bytes differ from its seal")
    return True


def read_node(file: Path) -> dict[str, Any]:
    """A metadata document, its seal checked and left out.

    Raises
    ------
    DataError
        If it is missing, no plain file, not JSON, or was changed after it was written.
    """
    try:
        data = read_plain(file)
    except FileNotFoundError:
        raise DataError(f"There is no {file}: this is not a store, or its writing was never finished.") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from error
    try:
        is_sealed(data)
        node = json.loads(data)
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read ({error}); 'densnet data verify --repair' restores it.") from error
    if not isinstance(node, dict) or not isinstance(node.get("attributes", {}), dict):
        raise DataError(f"{file} is not the metadata of a Zarr v3 group or array.")
    node["attributes"] = {key: value for key, value in node.get("attributes", {}).items() if key != SEAL}
    return node


def read_plain(file: Path) -> bytes:
    """Bytes of a metadata file; ``DataError`` for links, pipes and the like, and for absurd sizes."""
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{file} is a link or no plain file; a store holds neither.")
    if status.st_size > MAX_RECORD_BYTES:
        raise DataError(f"{file} has {status.st_size} bytes; no metadata of a store is that large.")
    return file.read_bytes()


def read_group(folder: Path) -> dict[str, Any]:
    """Attributes of the Zarr group in ``folder``; ``DataError`` if there is none or it cannot be read."""
    file = folder / RECORD
    if folder.is_symlink() and folder.parent.joinpath(RECORD).exists():
        raise DataError(f"{folder} is a link; the parts of a store lie in its own folder.")
    node = read_node(file)
    if node.get("node_type") != "group" or node.get("zarr_format") != 3:
        raise DataError(f"{file} does not describe a Zarr v3 group.")
    attributes: dict[str, Any] = node["attributes"]
    return attributes


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make ``folder`` a Zarr group with these attributes, or replace its attributes: durable and atomic.

    Raises
    ------
    InputError
        If the attributes are not plain JSON (NaN and infinities are not), or one is called ``seal``.
    """
    if SEAL in attributes:
        raise InputError(f"The name {SEAL!r} is taken by the store's own digest; choose another.")
    data = sealed({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})
    if not folder.is_dir():
        folder.mkdir(parents=True)
        sync_folder(folder.parent)
    write_record(folder, data)
    sync_folder(folder)


def write_record(folder: Path, data: bytes) -> None:
    """Write the metadata of a group or array and its twin; flush the folder yourself."""
    for name in (TWIN, RECORD) if (folder / RECORD).exists() else (RECORD, TWIN):
        write_bytes(folder / name, data)


def refresh_twin(folder: Path) -> None:
    """Make the twin equal to the record: what it names beyond the record is about to be cut off."""
    data = (folder / RECORD).read_bytes()
    twin = folder / TWIN
    if not twin.is_file() or twin.read_bytes() != data:
        write_bytes(twin, data)
        sync_folder(folder)


def remove_group(folder: Path) -> None:
    """Remove a group or array with all it holds. Killed at any moment, it leaves no twin without its record."""
    for name in (TWIN, RECORD):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder)


def metadata_problems(root: Path) -> dict[Path, str]:
    """Every metadata file below ``root`` that is missing or damaged, twins included, and what is wrong with it.

    In a store that says of itself that it is sealed, a file without a seal is damaged.
    """
    problems: dict[Path, str] = {}
    unsealed: list[Path] = []
    says_sealed = False
    for parent, _, names in os.walk(root):
        for name in sorted({RECORD, TWIN} & set(names)):
            file = Path(parent, name)
            try:
                data = read_plain(file)
                if not is_sealed(data):
                    unsealed.append(file)
                says_sealed = says_sealed or (file.parent == root and b'"sealed": true' in data)
            except (DataError, OSError) as error:
                problems[file] = str(error)
        if TWIN in names and RECORD not in names:
            problems[Path(parent, RECORD)] = "it is missing"
    if says_sealed:
        problems |= dict.fromkeys(unsealed, "its seal is missing or its end was changed")
    return problems
