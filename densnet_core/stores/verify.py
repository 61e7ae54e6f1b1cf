"""Checking a store: every committed frame against its checksum, its hash and the committed lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densnet_core.errors import DenSNetError
from densnet_core.stores.commit import read_group
from densnet_core.stores.fits import Fit
from densnet_core.stores.folder import StoreFolder
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.table import CHECKSUM, Table
from densnet_core.stores.trajectory import TrajectoryStore


def open_store(path: str | Path) -> ReferenceStore | TrajectoryStore:
    """Open a store of either kind for reading; ``DataError`` if it is none."""
    kind = read_group(Path(path)).get("densnet_store")
    if kind == TrajectoryStore.kind:
        return TrajectoryStore.open(path)
    return ReferenceStore.open(path)


def verify(path: str | Path) -> list[str]:
    """Everything that is wrong with a store, one sentence each; an empty list if it is sound.

    Every committed chunk of every array is read. Found are: missing and unreadable files, offsets that are not
    consistent, frames whose bytes differ from their checksum, frames whose structure differs from its content hash,
    frames stored twice, damaged fits, restart states, derived arrays, documents and records of failures.
    """
    try:
        store = open_store(path)
    except DenSNetError as error:
        return [str(error)]
    problems = verify_table(store.frame_table, "frame")
    if isinstance(store, ReferenceStore):
        problems += _verify_reference(store)
    else:
        problems += _verify_trajectory(store)
    return problems + _verify_documents(store)


def verify_table(table: Table, what: str) -> list[str]:
    """Problems of one table; a damaged row is reported with the number of the frame it belongs to."""
    problems = _verify_offsets(table)
    if problems:
        return problems  # without offsets no row can be assigned to a frame
    for index in range(len(table)):
        try:
            values = {name: table.value(name, index) for name in table.data_columns}
            if not np.array_equal(table.checksum(values), table.value(CHECKSUM, index)):
                problems.append(f"{what} {index}: its bytes differ from its checksum.")
        except DenSNetError as error:
            problems += _unreadable(table, what, index) or [f"{what} {index}: {error}"]
    return problems


def _verify_offsets(table: Table) -> list[str]:
    problems = []
    for axis in table.ragged_axes:
        name = f"{axis}_offsets"
        try:
            offsets = table.whole(name)
        except DenSNetError as error:
            problems.append(str(error))
            continue
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != table.committed[axis]:
            wrong = np.flatnonzero(np.diff(offsets) < 0)
            where = f"first at frame {wrong[0]}" if wrong.size else f"from {offsets[0]} to {offsets[-1]}"
            problems.append(
                f"{table.folder / name} must ascend from 0 to the committed {table.committed[axis]}; it does not, "
                f"{where}."
            )
    return problems


def _unreadable(table: Table, what: str, index: int) -> list[str]:
    problems = []
    for name in table.data_columns:
        start, stop = table.span(table.columns[name].axis, index)
        try:
            table.read_uncached(name, start, stop)
        except DenSNetError as error:
            problems.append(f"{what} {index}: {error}")
    return problems


def _verify_reference(store: ReferenceStore) -> list[str]:
    problems: list[str] = []
    seen: dict[bytes, int] = {}
    for index in range(len(store)):
        try:
            recorded = store.frame_table.value("hash", index).tobytes()
            if store.structure(index).content_hash() != recorded:
                problems.append(f"frame {index}: its structure has another content hash than recorded.")
            if seen.setdefault(recorded, index) != index:
                problems.append(f"frame {index}: the same structure as frame {seen[recorded]}.")
        except DenSNetError as error:
            problems.append(f"frame {index}: {error}")
    for name in store.fit_names():
        try:
            problems += _verify_fit(store, store.fit(name))
        except DenSNetError as error:
            problems.append(str(error))
    try:
        store.failures()
    except DenSNetError as error:
        problems.append(str(error))
    return problems


def _verify_fit(store: ReferenceStore, fit: Fit) -> list[str]:
    what = f"fit {fit.name!r}, frame"
    if len(fit) > len(store):
        return [f"fit {fit.name!r} has {len(fit)} frames, the store only {len(store)}."]
    problems = verify_table(fit.table, what)
    if problems:
        return problems
    for index in range(len(fit)):
        try:
            size, expected = fit.coefficients(index).size, fit.basis.n_functions(store.numbers(index))
        except DenSNetError as error:  # for example a damaged atomic number
            problems.append(f"{what} {index}: {error}")
            continue
        if size != expected:
            problems.append(f"{what} {index}: {size} coefficients for {expected} functions.")
    return problems


def _verify_trajectory(store: TrajectoryStore) -> list[str]:
    problems = []
    try:
        state = store.restart()
        if len(store) and (state is None or state.step < store.steps[-1]):
            problems.append("the restart state is older than the last frame.")
        if (np.diff(store.steps) <= 0).any():
            problems.append("the steps do not ascend.")
    except DenSNetError as error:
        problems.append(str(error))
    for name in store.array_names():
        try:
            store.array(name)
        except DenSNetError as error:
            problems.append(str(error))
    return problems


def _verify_documents(store: StoreFolder) -> list[str]:
    problems = []
    for name in store.document_names():
        try:
            store.read_document(name)
        except DenSNetError as error:
            problems.append(str(error))
    return problems
