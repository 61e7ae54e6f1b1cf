"""Model packages and checkpoints: tensors as safetensors, everything else as JSON. Nothing is ever unpickled.

A model package is a folder, or a zip file, of two files: ``model.json`` (format, version, the document, and size and
SHA-256 of the weights) and ``weights.safetensors``. It is replaced as a whole: after a kill there is the old one or
the new one. Other files beside the two in a folder are not read; in a zip file they are refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch

from densnet_core.errors import DataError, InputError
from densnet_core.stores.commit import partial_name, remove_stale, sync_folder, write_bytes
from densnet_core.stores.exchange import replace_folder
from densnet_core.stores.packages import DOCUMENT_NAME, WEIGHTS_NAME, read_package, write_zip

FORMAT: Final = "densnet-model"
CHECKPOINT_FORMAT: Final = "densnet-checkpoint"
FORMAT_VERSION: Final = 1
REQUIRED: Final = ("config", "basis", "units", "provenance", "metrics")
"""What the document of a model must hold, beside anything else."""
RESERVED: Final = ("format", "format_version", "weights")

Tensors = dict[str, torch.Tensor]


def save_model(path: str | Path, document: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a model package, replacing one that is there, atomically.

    Parameters
    ----------
    path : path
        Folder, or a file ending in ``.zip``.
    document : mapping
        Plain JSON with at least the keys ``config, basis, units, provenance, metrics``.
    tensors : mapping of str to Tensor
        Weights and buffers, as in a ``state_dict``.

    Raises
    ------
    InputError
        If a key is missing or reserved, or the document is not plain JSON.
    DataError
        If ``path`` is something else than a model package.
    """
    target = Path(path)
    if missing := [key for key in REQUIRED if key not in document]:
        raise InputError(f"The document of a model lacks {', '.join(missing)}.")
    if taken := [key for key in RESERVED if key in document]:
        raise InputError(f"The keys {', '.join(taken)} of a model's document are set by the package itself.")
    _refuse_other(target)
    weights = _to_bytes(tensors)
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "weights": {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()},
    }
    text = _to_json({**head, **document}).encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(target)
    if target.suffix == ".zip":
        write_zip(target, text, weights)
        return
    fresh = partial_name(target)
    try:
        fresh.mkdir()
        write_bytes(fresh / WEIGHTS_NAME, weights)
        write_bytes(fresh / DOCUMENT_NAME, text)
        sync_folder(fresh)
        replace_folder(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_model(path: str | Path) -> tuple[dict[str, Any], Tensors]:
    """Document and tensors of a model package.

    Raises
    ------
    DataError
        If there is none, it is of another format or version, incomplete or damaged, or is (or contains) a pickle.
    """
    text, weights = read_package(Path(path))
    name = f"{path}/{DOCUMENT_NAME}"
    document = _from_json(text, name)
    if document.get("format") != FORMAT:
        raise DataError(f"{name} is not of a DenSNet model: its format is {document.get('format')!r}.")
    if document.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {document.get('format_version')!r}; this DenSNet reads version "
            f"{FORMAT_VERSION}. Load it with the DenSNet that wrote it."
        )
    if missing := [key for key in (*REQUIRED, "weights") if key not in document]:
        raise DataError(f"{name} lacks {', '.join(missing)}; the package is not complete.")
    tensors = _from_bytes(weights, f"{path}/{WEIGHTS_NAME}")
    record = document["weights"]
    if not isinstance(record, dict) or record.get("sha256") != hashlib.sha256(weights).hexdigest():
        raise DataError(f"{path}/{WEIGHTS_NAME} does not belong to {name} (another SHA-256); get the package again.")
    return {key: value for key, value in document.items() if key not in RESERVED}, tensors


def save_checkpoint(path: str | Path, state: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
    """Write the state of a training run to one safetensors file, replacing an earlier one atomically.

    Parameters
    ----------
    path : path
    state : mapping of str to Tensor
    meta : mapping
        Plain JSON (epoch, configuration, ...); goes into the header of the file.

    Raises
    ------
    InputError
        If ``meta`` is not plain JSON.
    """
    target = Path(path)
    record = {"format": CHECKPOINT_FORMAT, "format_version": str(FORMAT_VERSION), "meta": _to_json(meta)}
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(target)
    write_bytes(target, _to_bytes(state, record))
    sync_folder(target.parent)


def load_checkpoint(path: str | Path) -> tuple[Tensors, dict[str, Any]]:
    """State and meta of a checkpoint; ``DataError`` if there is none, it is damaged or of another format."""
    source = Path(path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise DataError(f"The checkpoint {source} cannot be read: {error.strerror}.") from error
    state = _from_bytes(data, str(source))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    if header.get("format") != CHECKPOINT_FORMAT or header.get("format_version") != str(FORMAT_VERSION):
        raise DataError(
            f"{source} is not a checkpoint of version {FORMAT_VERSION} (format {header.get('format')!r}, version "
            f"{header.get('format_version')!r})."
        )
    return state, _from_json(header.get("meta", "").encode(), str(source))


def _to_bytes(tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    # Copies, because safetensors refuses tensors that share memory or are not contiguous.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return safetensors_torch.save(plain, metadata)


def _from_bytes(data: bytes, name: str) -> Tensors:
    try:
        return safetensors_torch.load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        kind = " It looks like a pickle or a torch.save file, which DenSNet never loads." if _is_pickle(data) else ""
        raise DataError(f"{name} is not a whole safetensors file ({error}).{kind}") from error


def _is_pickle(data: bytes) -> bool:
    return data[:1] == b"\x80" or data[:4] == b"PK\x03\x04"


def _to_json(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(document), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"Only plain JSON with finite numbers can be stored: {error}.") from error


def _from_json(text: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON ({error}); the package is damaged.") from error
    if not isinstance(document, dict):
        raise DataError(f"{name} must hold a table, not {type(document).__name__}.")
    return document


def _refuse_other(target: Path) -> None:
    if target.suffix == ".zip":
        if target.is_dir():
            raise DataError(f"{target} is a folder; a zipped model needs another name.")
    elif target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; choose another name, or one ending in .zip.")
    elif target.is_dir() and any(target.iterdir()) and not (target / DOCUMENT_NAME).is_file():
        raise DataError(f"{target} holds other things than a model; choose another folder.")
