"""Checking a store: every byte of it against seals, checksums, content hashes and the committed lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from densnet_core.errors import DenSNetError
from densnet_core.stores.arrays import FRAME
from densnet_core.stores.commit import WriterLock
from densnet_core.stores.derived import DERIVED, derived_chunks
from densnet_core.stores.fits import Fit
from densnet_core.stores.folder import groups_in
from densnet_core.stores.layout import structure_of
from densnet_core.stores.records import metadata_problems, read_group
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.restart import LOST, POSITIONS, SLOTS, VELOCITIES, slot_chunks
from densnet_core.stores.splits import HAS_SPLIT, SPLIT
from densnet_core.stores.table import Frame, Table
from densnet_core.stores.trajectory import TrajectoryStore

BLOCK: Final = 256
"""Frames read at once."""
CHECKSUM_DIFFERS: Final = "its bytes differ from its checksum"


@dataclass
class Inspection:
    """What is wrong with the contents of a store.

    Parameters
    ----------
    problems : list of str
        Everything, one sentence each.
    frames : dict
        Index of every broken frame and what is wrong with it.
    fits : dict
        By the name of a fit, the frames whose coefficients are broken.
    parts : dict
        Parts that are broken as a whole, for example ``"documents/split"``, and what is wrong.
    restart : str or None
        What is wrong with the restart state of a trajectory.
    """

    problems: list[str] = field(default_factory=list)
    frames: dict[int, str] = field(default_factory=dict)
    fits: dict[str, set[int]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    restart: str | None = None

    def broken_frame(self, index: int, name: str, what: str) -> None:
        self.frames.setdefault(index, what)
        self.problems.append(f"frame {index} ({name}): {what}.")

    def broken_part(self, path: str, what: str) -> None:
        self.parts[path] = what
        self.problems.append(f"{path}: {what}")


def open_store(path: str | Path, lock: WriterLock | None = None) -> ReferenceStore | TrajectoryStore:
    """Open a store of either kind; ``DataError`` if it is none.

    Parameters
    ----------
    path : path
    lock : WriterLock or None
        The store's lock, to put another one in its place (``StoreFolder.open_to_rewrite``); None: for reading.
    """
    is_trajectory = read_group(Path(path)).get("densnet_store") == TrajectoryStore.kind
    kind = TrajectoryStore if is_trajectory else ReferenceStore
    return kind.open(path) if lock is None else kind.open_to_rewrite(Path(path), lock)


def verify(path: str | Path) -> list[str]:
    """Everything that is wrong with a store, one sentence each; an empty list if it is sound.

    All of it is read. Found are: any changed byte of the metadata; missing, truncated and unreadable files; offsets
    that are not consistent; frames whose bytes differ from their checksum, whose structure differs from its content
    hash, or which are there twice; damaged fits, restart states, derived arrays, documents and records of failures; a
    split that is gone; and changed bytes between the last row of an array and the end of its last chunk, unless a
    writer is at work or was killed.
    """
    root = Path(path)
    metadata = metadata_problems(root) if root.is_dir() else {}
    problems = [f"{file.relative_to(root)}: {what}." for file, what in metadata.items()]
    try:
        return problems + inspect_store(open_store(root)).problems
    except DenSNetError as error:
        return [*problems, str(error)]


def inspect_store(store: ReferenceStore | TrajectoryStore) -> Inspection:
    """Read all of an open store and tell what is wrong with its contents."""
    found = Inspection()
    if isinstance(store, ReferenceStore):
        _inspect_reference(store, found)
    else:
        _inspect_trajectory(store, found)
    for name in store.document_names():
        try:
            store.read_document(name)
        except DenSNetError as error:
            found.broken_part(f"documents/{name}", str(error))
    if store.frame_table.attributes.get(HAS_SPLIT) and SPLIT not in store.document_names():
        found.broken_part(f"documents/{SPLIT}", "it is gone, with the record of the frames held out for testing.")
    return found


def sound_blocks(table: Table, n_frames: int) -> Iterator[tuple[int, list[tuple[Frame, bool]]]]:
    """The frames of a table in blocks, each with whether it is sound: (index of the first, [(rows, sound), ...])."""
    for start in range(0, n_frames, BLOCK):
        rows = table.block(start, min(start + BLOCK, n_frames))
        yield start, [(frame, table.is_sound(frame)) for frame in rows]


def _inspect_files(table: Table, found: Inspection) -> None:
    """Chunk files that are missing, of the wrong size or changed behind their last row; offsets that do not ascend."""
    offsets = {}
    for axis in table.ragged_axes:
        values = table.chunks(f"{axis}_offsets").read(0, len(table) + 1)
        steps = np.diff(values)
        if values[0] != 0 or (steps < 0).any() or values[-1] != table.committed[axis]:
            wrong = np.flatnonzero(steps < 0)
            where = f"first at frame {wrong[0]}" if wrong.size else f"from {values[0]} to {values[-1]}"
            found.problems.append(
                f"{table.folder / axis}_offsets must ascend from 0 to the committed {table.committed[axis]}; it does "
                f"not, {where}."
            )
        offsets[axis] = np.maximum.accumulate(values)
    for name, column in table.columns.items():
        rows, there = table.rows_of(name), table.array_rows(name)
        if table.tidy and there != rows:
            found.problems.append(f"{table.folder / name} has {there} rows, but {rows} are committed.")
        for what, start, stop in table.chunks(name).problems(rows, table.tidy):
            if column.axis == FRAME:
                first, last = start, stop - 1
            else:
                first, last = np.searchsorted(offsets[column.axis], [start, stop - 1], side="right") - 1
            concerned = f": frames {first} to {min(last, len(table) - 1)}" if stop > start else ""
            found.problems.append(f"{table.folder.name}/{name}: {what}{concerned}.")


def _inspect_reference(store: ReferenceStore, found: Inspection) -> None:
    table = store.frame_table
    _inspect_files(table, found)
    seen: dict[bytes, int] = {}
    n_programs = len(table.attributes["provenance"])
    for start, block in sound_blocks(table, len(table)):
        for index, (frame, sound) in enumerate(block, start):
            recorded = frame["hash"].tobytes()
            name = recorded.hex()[:16]
            if not sound:
                found.broken_frame(index, name, CHECKSUM_DIFFERS)
                continue
            try:
                if structure_of(frame).content_hash() != recorded:
                    found.broken_frame(index, name, "its structure has another content hash than recorded")
                elif not 0 <= int(frame["provenance"]) < n_programs:
                    found.broken_frame(index, name, "the program that computed it is not recorded")
                elif seen.setdefault(recorded, index) != index:
                    found.broken_frame(index, name, f"the same structure as frame {seen[recorded]}")
            except (DenSNetError, ValueError) as error:
                found.broken_frame(index, name, str(error))
    for name in store.fit_names():
        try:
            _inspect_fit(store, store.fit(name), found)
        except DenSNetError as error:
            found.broken_part(f"fits/{name}", str(error))
    for name in groups_in(store.path / "failures"):
        try:
            store.failure(name)
        except (DenSNetError, ValueError) as error:
            found.broken_part(f"failures/{name}", str(error))


def _inspect_fit(store: ReferenceStore, fit: Fit, found: Inspection) -> None:
    if len(fit) > len(store):
        found.broken_part(f"fits/{fit.name}", f"it has {len(fit)} frames, the store only {len(store)}.")
        return
    files = Inspection()
    _inspect_files(fit.table, files)
    found.problems += [f"fit {fit.name!r}: {problem}" for problem in files.problems]
    broken = found.fits.setdefault(fit.name, set())
    numbers = store.frame_table.chunks("numbers")
    for start, block in sound_blocks(fit.table, len(fit)):
        edges = store.frame_table.chunks("atom_offsets").read(start, start + len(block) + 1)
        for index, (frame, sound) in enumerate(block, start):
            size, what = len(frame["coefficients"]), CHECKSUM_DIFFERS
            if sound and index not in found.frames:
                atoms = numbers.read(int(edges[index - start]), int(edges[index - start + 1]))
                expected = prod(fit.shape(atoms))
                sound, what = size in (0, expected), f"it has {size} coefficients for {expected} functions"
            if not sound:
                broken.add(index)
                name = store.frame_table.chunks("hash").read(index, index + 1)[0].tobytes().hex()[:16]
                found.problems.append(f"fit {fit.name!r}, frame {index} ({name}): {what}.")


def _inspect_trajectory(store: TrajectoryStore, found: Inspection) -> None:
    table = store.frame_table
    _inspect_files(table, found)
    last = -1
    for start, block in sound_blocks(table, len(table)):
        for index, (frame, sound) in enumerate(block, start):
            name = f"step {int(frame['steps'])}"
            if not sound:
                found.broken_frame(index, name, CHECKSUM_DIFFERS)
            elif int(frame["steps"]) <= last:
                found.broken_frame(index, name, f"the steps do not ascend; the frame before is at step {last}")
            else:
                last = int(frame["steps"])
    _inspect_restart(store, last, found)
    for name in store.array_names():
        try:
            chunks, rows = derived_chunks(store.zarr, name)
            found.problems += [f"{DERIVED}/{name}: {what}." for what, *_ in chunks.problems(rows, tidy=True)]
            store.array(name)
        except DenSNetError as error:
            found.broken_part(f"{DERIVED}/{name}", str(error))


def _inspect_restart(store: TrajectoryStore, last: int, found: Inspection) -> None:
    record = store.frame_table.attributes.get("restart")
    if record is not None and LOST in record:
        return  # a repair has said so
    try:
        state = store.restart()
        if last >= 0 and (state is None or state.step < last):
            found.restart = "the restart state is older than the last frame"
    except DenSNetError as error:
        found.restart = str(error)
    if found.restart:
        found.problems.append(f"{found.restart.removesuffix('.')}.")
    if not store.frame_table.tidy:
        return
    for name in (POSITIONS, VELOCITIES):
        chunks = slot_chunks(store.zarr, name)
        for slot in range(SLOTS):
            file = chunks.file(slot)
            if record is None or slot != record.get("slot"):
                if file.exists():
                    found.problems.append(f"{file} belongs to no state; it harms nothing.")
            elif file.is_file() and file.stat().st_size != chunks.chunk_rows * chunks.row_bytes:
                found.problems.append(f"the chunk {file} has {file.stat().st_size} bytes.")
