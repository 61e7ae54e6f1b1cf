"""A new store in the place of an old one, with all that is sound of it: how a store is repaired and upgraded.

The new one is made beside the old and takes its place in one step: killed at any moment, the old store or the new one
is there, whole.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError
from densnet_core.stores.commit import WriterLock, partial_name
from densnet_core.stores.derived import DERIVED
from densnet_core.stores.exchange import previous_of, replace_folder
from densnet_core.stores.folder import REMOVED, StoreFolder, groups_in
from densnet_core.stores.records import RECORD, TWIN, read_group, write_group
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.restart import LOST, write_restart
from densnet_core.stores.splits import REDRAW, SPLIT, write_split
from densnet_core.stores.table import Frame, Table
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.verify import Inspection, verify

BLOCK: Final = 128


@dataclass
class RepairReport:
    """What became of the parts of a store.

    Parameters
    ----------
    restored : list of str
        Metadata files that were restored from their twins.
    removed : list of str
        Frames and parts that were taken out, with what was wrong; records of them are in the store's ``removed``.
    to_do : list of str
        What has to be computed again, for example coefficients of a fit.
    kept : int
        Frames in the store now.
    """

    restored: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)
    kept: int = 0


def recovered(path: str | Path) -> Path:
    """The folder of a store, put back to its place if a killed rewriting left it beside.

    Raises
    ------
    DataError
        If there is no store, or the rewriting is not killed but between its two steps.
    """
    root = Path(path)
    previous = previous_of(root)
    if not root.exists() and previous.is_dir():  # where the exchange takes two steps
        lock = WriterLock(previous).acquire()
        try:
            previous.rename(root)
        finally:
            lock.release()
    if not ((root / RECORD).exists() or (root / TWIN).exists()):
        raise DataError(f"There is no store at {root}.")
    return root


def rewrite(store: ReferenceStore | TrajectoryStore, found: Inspection, report: RepairReport) -> None:
    """Put a new store of today's format in the place of one that is open for writing, without what is broken."""
    fresh_path = partial_name(store.path)
    try:
        with store.empty_copy(fresh_path) as fresh:
            if isinstance(store, ReferenceStore) and isinstance(fresh, ReferenceStore):
                _copy_reference(store, fresh, found, report)
            elif isinstance(store, TrajectoryStore) and isinstance(fresh, TrajectoryStore):
                _copy_trajectory(store, fresh, found, report)
            _copy_records(store, fresh, found, report)
        if left := verify(fresh_path):
            raise DataError(f"{store.path} cannot be rewritten: {left[0]} Restore it from a copy; it is as it was.")
        # Its lock too, so that no writer comes between the exchange and the end of this repair.
        lock = WriterLock(fresh_path).acquire()
        try:
            replace_folder(fresh_path, store.path)
        finally:
            lock.release()
    except BaseException:
        shutil.rmtree(fresh_path, ignore_errors=True)
        raise


def _copy_reference(store: ReferenceStore, fresh: ReferenceStore, found: Inspection, report: RepairReport) -> None:
    # A fit covers the first frames of a store: those whose coefficients are broken go to the end, so that all others
    # keep theirs.
    unfitted = sorted({i for broken in found.fits.values() for i in broken} - set(found.frames))
    order = [i for i in range(len(store)) if i not in found.frames and i not in set(unfitted)] + unfitted
    programs = store.frame_table.attributes["provenance"]
    for rows in _blocks(store.frame_table, order):
        today = map(store.frame_table.today, rows)
        fresh.adopt([(row, programs[int(row["provenance"])]) for row in today], store.quantities)
    for name in store.fit_names():
        if f"fits/{name}" in found.parts:
            report.to_do.append(f"fit {name!r}: make it anew with 'densnet data project'")
            continue
        fit = store.fit(name)
        copy = fresh.create_fit(name, fit.basis, fit.metric, fit.prior, fit.constraints, fit.quantity)
        broken = found.fits.get(name, set())
        whole = [i < len(fit) and i not in broken for i in order]
        fitted = order[: whole.index(False) if False in whole else len(order)]
        for rows in _blocks(fit.table, fitted):
            copy.append([row["coefficients"] for row in rows])
        if lost := sum(i < len(fit) for i in order) - len(fitted):
            report.to_do.append(f"fit {name!r}: {lost} frames have to be fitted again")
    for name in groups_in(store.path / "failures"):
        if f"failures/{name}" not in found.parts:
            fresh.adopt_failure(store.failure(name))


def _copy_trajectory(store: TrajectoryStore, fresh: TrajectoryStore, found: Inspection, report: RepairReport) -> None:
    order = [i for i in range(len(store)) if i not in found.frames]
    fresh.frame_table.append([], new=store.recorded_columns)
    for rows in _blocks(store.frame_table, order):
        fresh.frame_table.append(rows)
    record: Mapping[str, Any] | None = store.frame_table.attributes.get("restart")
    if found.restart is not None:
        record = {LOST: found.restart}
        report.to_do.append("the dynamics cannot be continued from here: the restart state is lost")
    elif record is not None and LOST not in record:
        state = store.restart()
        if state is not None:
            record = write_restart(fresh.zarr, None, state)
    fresh.frame_table.append([], restart=record)
    for name in store.array_names():
        if f"{DERIVED}/{name}" in found.parts:
            report.to_do.append(f"the array {name!r} has to be computed again")
            continue
        attributes = read_group(store.path / DERIVED / name)
        fresh.set_array(name, store.array(name)[order], attributes["unit"], attributes["meaning"])


def _copy_records(store: StoreFolder, fresh: StoreFolder, found: Inspection, report: RepairReport) -> None:
    """Documents, what earlier repairs took out, and what this one takes out."""
    for name in store.document_names():
        if f"documents/{name}" not in found.parts:
            write = partial(write_split, fresh) if name == SPLIT else partial(fresh.write_document, name)
            write(store.read_document(name))
    if f"documents/{SPLIT}" in found.parts:
        report.to_do.append(
            f"the split: which frames are held out for testing is lost, and models could be trained on them. {REDRAW}"
        )
    taken = {name: read_group(store.path / REMOVED / name) for name in store.removed_names()}
    for index, what in found.frames.items():
        (rows,) = store.frame_table.block(index, index + 1)
        name = rows["hash"].tobytes().hex() if "hash" in rows else f"step-{int(rows['steps'])}"
        taken[f"frame-{index}-{name}"] = {
            "frame": index,
            "name": name,
            "problem": what,
            "rows": {column: _encoded(values) for column, values in rows.items()},
        }
        report.removed.append(f"frame {index} ({name}): {what}")
    for part, what in found.parts.items():
        file = store.path / part / RECORD
        data = base64.b64encode(file.read_bytes()).decode() if file.is_file() else ""
        taken[part.replace("/", "-")] = {"part": part, "problem": what, "record": data}
        report.removed.append(f"{part}: {what}")
    if taken:
        write_group(fresh.path / REMOVED, {})
    for name, record in taken.items():
        write_group(fresh.path / REMOVED / name, record)


def _encoded(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.str,
        "shape": list(values.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


def _blocks(table: Table, order: Sequence[int]) -> Iterator[list[Frame]]:
    """Rows of the frames in ``order``, block by block."""
    for start in range(0, len(order), BLOCK):
        chosen = order[start : start + BLOCK]
        if chosen[-1] - chosen[0] == len(chosen) - 1:
            yield [*table.block(chosen[0], chosen[-1] + 1)]
        else:
            yield [row for index in chosen for row in table.block(index, index + 1)]
