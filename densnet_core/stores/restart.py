"""The state a trajectory continues from: two slots, of which the commit record of the frames names the valid one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError
from densnet_core.stores.arrays import Column, create_array, open_array
from densnet_core.stores.chunks import Chunks
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.dynamics import MDState

Array = NDArray[np.float64]
SLOTS: Final = 2
POSITIONS: Final = "restart_positions"
VELOCITIES: Final = "restart_velocities"
LOST: Final = "lost"
"""In the place of the other keys of the record: why there is no state any more."""


def checksum(state: MDState) -> str:
    """Hexadecimal SHA-256 of step, positions and velocities."""
    digest = hashlib.sha256(f"{state.step};".encode())
    for values in (state.positions, state.velocities):
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return digest.hexdigest()


def create_restart(store: DurableStore, n_replicas: int, n_atoms: int) -> None:
    """Make the arrays of the restart state."""
    for name, unit in ((POSITIONS, "bohr"), (VELOCITIES, "bohr per atomic unit of time")):
        meaning = "(slot, n_replicas, n_atoms, 3); the attribute 'restart' of the group 'frames' names the valid slot"
        column = Column(name, "<f8", unit, meaning, (n_replicas, n_atoms, 3), axis="slot", chunk_rows=1)
        create_array(store, name, column, rows=SLOTS)


def write_restart(store: DurableStore, previous: Mapping[str, Any] | None, state: MDState) -> dict[str, Any]:
    """Write a state to the slot that is not in use and return the record to commit."""
    slot = 0 if previous is None else (previous["slot"] + 1) % SLOTS
    for name, values in ((POSITIONS, state.positions), (VELOCITIES, state.velocities)):
        open_array(store, name, writable=True)[slot] = np.asarray(values, np.float64)
    return {"slot": slot, "step": int(state.step), "checksum": checksum(state)}


def last_step(record: Any) -> int | None:
    """Step of the state that a committed record names; None if there is no state, or no longer.

    Raises
    ------
    DataError
        If it is no such record.
    """
    if record is None:
        return None
    if isinstance(record, dict) and LOST in record:
        return None
    if (
        not isinstance(record, dict)
        or record.get("slot") not in range(SLOTS)
        or not isinstance(record.get("step"), int)
    ):
        raise DataError(f"The record of the restart state is damaged: {record!r}.")
    return int(record["step"])


def drop_unused_slots(store: DurableStore, record: Mapping[str, Any] | None) -> None:
    """Remove the slots that the committed record does not name: nothing checks them."""
    for name in (POSITIONS, VELOCITIES):
        for slot in range(SLOTS):
            if record is None or slot != record.get("slot"):
                slot_chunks(store, name).file(slot).unlink(missing_ok=True)


def slot_chunks(store: DurableStore, name: str) -> Chunks:
    """The chunk files of ``POSITIONS`` or ``VELOCITIES``, one for each slot."""
    return Chunks(Path(store.root), name, open_array(store, name, writable=False))


def read_restart(store: DurableStore, record: Mapping[str, Any]) -> MDState:
    """The state that a committed record names; ``DataError`` if it is damaged, or was lost in a repair."""
    if LOST in record:
        raise DataError(f"The restart state of {store.root} was lost: {record[LOST]}. Start the stage in a new store.")
    try:
        slot, step, wanted = int(record["slot"]), int(record["step"]), str(record["checksum"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The record of the restart state of {store.root} is damaged: {error!r}.") from error
    positions, velocities = (slot_chunks(store, name).read(slot, slot + 1)[0] for name in (POSITIONS, VELOCITIES))
    state = MDState(step, positions, velocities)
    if checksum(state) != wanted:
        raise DataError(f"The restart state of {store.root} is damaged; restore the store from a copy.")
    return state
