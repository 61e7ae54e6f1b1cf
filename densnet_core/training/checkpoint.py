"""State dictionaries of any depth as tensors and plain JSON, so that a checkpoint needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densnet_core.errors import DataError
from densnet_core.stores.models import load_checkpoint, save_checkpoint

Tensors = dict[str, Tensor]


def pack(state: Any, name: str = "state") -> tuple[Tensors, Any]:
    """Tensors by their path, and a plain tree with references to them.

    Parameters
    ----------
    state : tree
        Of mappings (any plain keys), lists, tuples, tensors and plain values, as ``state_dict`` methods give them.

    Raises
    ------
    TypeError
        Something else is in it.
    """
    if isinstance(state, Tensor):
        return {name: state}, {"tensor": name}
    if state is None or isinstance(state, (bool, int, float, str)):
        return {}, state
    if isinstance(state, Mapping):
        kind, keys, values = "map", list(state), list(state.values())
    elif isinstance(state, (list, tuple)):
        kind, keys, values = type(state).__name__, list(range(len(state))), list(state)
    else:
        raise TypeError(f"{name} holds a {type(state).__name__}, which no checkpoint can keep.")
    parts = [pack(value, f"{name}.{key}") for key, value in zip(keys, values, strict=True)]
    tensors = {path: tensor for found, _ in parts for path, tensor in found.items()}
    plain = [tree for _, tree in parts]
    return tensors, {kind: list(zip(keys, plain, strict=True)) if kind == "map" else plain}


def unpack(tensors: Mapping[str, Tensor], plain: Any) -> Any:
    """The inverse of ``pack``; ``KeyError`` or ``ValueError`` if it does not come from there."""
    if not isinstance(plain, dict):
        return plain
    ((kind, content),) = plain.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "map":
        return {key: unpack(tensors, value) for key, value in content}
    values = [unpack(tensors, value) for value in content]
    return {"list": list, "tuple": tuple}[kind](values)


def write_state(path: Path, state: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write a tree of states to a checkpoint, atomically; ``meta`` goes beside it as plain JSON."""
    tensors, plain = pack(state)
    save_checkpoint(path, tensors, {**meta, "state": plain})


def read_state(path: Path, key: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """State and meta of a checkpoint of this key; None if there is none of it.

    Raises
    ------
    DataError
        It is damaged.
    """
    if not path.exists():
        return None
    tensors, meta = load_checkpoint(path)
    if meta.get("key") != key or "state" not in meta:  # of an earlier version, then: made anew
        return None
    try:
        return unpack(tensors, meta["state"]), meta
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"The checkpoint {path} is not whole ({error!r}); remove it to start again.") from error


def random_state() -> dict[str, Any]:
    """States of torch's random numbers, of this process and of every CUDA device it uses."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """The inverse of ``random_state``; devices that are not there are left out."""
    torch.set_rng_state(state["cpu"].cpu())
    for index, own in enumerate(state["cuda"]):
        if index < torch.cuda.device_count():
            torch.cuda.set_rng_state(own.cpu(), index)
