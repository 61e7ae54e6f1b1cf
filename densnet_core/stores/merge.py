"""One store from several of the same level of theory: every frame once, killed at any moment it goes on.

The new store is filled in the order of the sources, block by block, so a merge that was interrupted finds out by
content hash what is there already. Rows are copied as they are, whatever arrays the layout has; each is checked first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError, InputError
from densnet_core.plugins.quantity import Quantity
from densnet_core.stores.arrays import AnyArray
from densnet_core.stores.fits import Fit
from densnet_core.stores.layout import label_name
from densnet_core.stores.quantities import common_quantities
from densnet_core.stores.records import RECORD
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import (
    HELD_OUT,
    SPLIT,
    holding_out,
    kept_apart,
    merged_split,
    read_split,
    twins_in,
    write_split,
)
from densnet_core.stores.table import REPAIR, Frame, Table

MERGE: Final = "merge"
"""Document of a merged store: its sources and what was found."""
BLOCK: Final = 128
TOLERANCES: Final[Mapping[str, float]] = {"energy": 1e-6, "forces": 1e-5, "dipole": 1e-4}
"""Largest difference, atomic units, between two calculations of one structure; of other labels 1e-3 of the largest."""
ORBITALS: Final = ("orbitals", "occupations", "response")
"""Labels that belong to one another: they are taken from one store, and not compared, as orbitals may be rotated."""


def allowed_difference(name: str, values: AnyArray) -> float:
    """Largest difference, atomic units, between two calculations of one structure in a label with these values."""
    return TOLERANCES.get(name, 1e-3 * max(1.0, float(np.abs(values).max())))


@dataclass
class MergeReport:
    """What became of the sources.

    Parameters
    ----------
    frames : int
        In the new store.
    repeated : int
        Frames of the sources that another one has too.
    conflicts : list of str
        Labels in which two calculations of a structure differ; the source named first was believed.
    fits : list of str
        Fits carried over.
    notes : list of str
        What was not carried over, and why.
    """

    frames: int = 0
    repeated: int = 0
    conflicts: list[str] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def merge_stores(
    target: str | Path,
    sources: Sequence[str | Path],
    keep_first: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MergeReport:
    """Make a store of all frames of the sources, or go on with one whose making was interrupted.

    A frame that several sources have gets the labels of all of them. Fits that all sources have in the same basis, with
    the same prior, are carried over; test frames of any source's split stay held out. What the target has already, a
    split drawn in it or another document, is kept; only frames that a source holds out leave its training.

    Parameters
    ----------
    target : path
        A new store, or what an interrupted merge of the same sources left.
    sources : sequence of path
    keep_first : bool
        Where two calculations of a structure differ, take the one of the source named first instead of refusing.
    progress : callable or None
        Given the number of frames dealt with and of all.

    Raises
    ------
    DataError
        If the target is another store, a source is damaged, the split of one was lost, or labels differ and
        ``keep_first`` is False.
    InputError
        If the sources are not of one level of theory, backend and orbital basis, a label is another quantity in one
        than in another, or one is named twice.
    """
    folder = Path(target)
    names = [os.path.realpath(path) for path in sources]
    if len(names) < 2 or len({*names, os.path.realpath(folder)}) <= len(names):
        raise InputError("A merge needs at least two stores, each named once, and a new name for the result.")
    stores = [ReferenceStore.open(path) for path in sources]
    merge = _Merge(stores, _common(stores))
    if merge.report.conflicts and not keep_first:
        listed = "\n".join(f"  {conflict}" for conflict in merge.report.conflicts)
        raise DataError(
            f"The stores disagree on {len(merge.report.conflicts)} labels:\n{listed}\nTake those of the store named "
            "first with --keep-first, or leave out the store that is wrong."
        )
    with _opened(folder, stores, names) as store:
        merge.copy_frames(store, progress)
        merge.copy_fits(store)
        merge.copy_records(store)
        merge.report.frames = len(store)
        store.write_document(MERGE, {"sources": names, "complete": True, **asdict(merge.report)})
    return merge.report


def _common(stores: Sequence[ReferenceStore]) -> dict[str, Quantity]:
    """What the further labels of all stores are; ``InputError`` if the stores cannot be one."""
    first = stores[0]
    for other in stores[1:]:
        for what in ("level", "backend"):
            one, two = getattr(first, what), getattr(other, what)
            if one != two:
                raise InputError(f"{first.path} holds {what} {one}, {other.path} {two}; a store has one {what}.")
    known = first.quantities
    for other in stores[1:]:
        known = common_quantities("the stores before", known, other.quantities)
    return known


@contextmanager
def _opened(folder: Path, stores: Sequence[ReferenceStore], names: list[str]) -> Iterator[ReferenceStore]:
    """The store to fill, open for writing."""
    if (folder / RECORD).is_file():
        store = ReferenceStore.open(folder, writable=True)
    else:
        versions: dict[str, str] = {}
        for source in stores:
            for program, version in source.versions.items():
                known = versions.setdefault(program, version)
                versions[program] = known if version in known.split(", ") else f"{known}, {version}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        store = ReferenceStore.create(folder, stores[0].level, stores[0].backend, versions)
    with store:
        if MERGE not in store.document_names():
            if len(store) or store.document_names():
                raise DataError(f"{folder} is a store already and was not made by a merge; choose a new name.")
            store.write_document(MERGE, {"sources": names, "complete": False})
        begun = store.read_document(MERGE).get("sources")
        if begun != names:
            raise DataError(f"{folder} is a merge of {begun}; name the same stores, or choose a new name.")
        for source in stores:
            if source.orbital_basis is not None:
                store.set_orbital_basis(source.orbital_basis)
        yield store


class _Merge:
    """Where every frame of the sources is, and the work of one merge."""

    def __init__(self, stores: Sequence[ReferenceStore], quantities: Mapping[str, Quantity]) -> None:
        self.stores, self.quantities = stores, quantities
        self.splits = [split for store in stores if (split := read_split(store)) is not None]
        self.report = MergeReport()
        self.added = 0
        """Frames that the target lacked."""
        self.places: dict[bytes, tuple[int, int]] = {}
        """Store and index of the first occurrence of every structure."""
        self.more: dict[bytes, list[tuple[int, int]]] = {}
        """Further occurrences."""
        for number, store in enumerate(stores):
            for index, content in enumerate(store.hashes):
                if self.places.setdefault(content, (number, index)) != (number, index):
                    self.more.setdefault(content, []).append((number, index))
        for content, places in self.more.items():
            self.report.repeated += len(places)
            for place in places:
                self._compare(content, place)

    def _row(self, place: tuple[int, int]) -> Frame:
        store, index = self.stores[place[0]], place[1]
        return store.frame_table.today(_sound(store, store.frame_table, index, index + 1)[0])

    def _compare(self, content: bytes, place: tuple[int, int]) -> None:
        one, two = self._row(self.places[content]), self._row(place)
        for name in _columns_of_labels(one):
            if name in ORBITALS or not _has(two, name):
                continue
            first, second = np.asarray(one[name]), np.asarray(two[name])
            if first.shape != second.shape or np.abs(first - second).max() > allowed_difference(name, first):
                paths = self.stores[self.places[content][0]].path, self.stores[place[0]].path
                size = "" if first.shape != second.shape else f" by {np.abs(first - second).max():.3g} atomic units"
                self.report.conflicts.append(
                    f"{label_name(name)} of the frame {content.hex()[:16]} differs{size} in {paths[0]} and {paths[1]}"
                )

    def copy_frames(self, target: ReferenceStore, progress: Callable[[int, int], None] | None) -> None:
        done, total = 0, sum(map(len, self.stores))
        for number, store in enumerate(self.stores):
            programs = store.frame_table.attributes["provenance"]
            hashes = store.hashes
            for start in range(0, len(store), BLOCK):
                stop = min(start + BLOCK, len(store))
                wanted = [
                    index
                    for index in range(start, stop)
                    if hashes[index] not in target and self.places[hashes[index]] == (number, index)
                ]
                if wanted:
                    sound = _sound(store, store.frame_table, start, stop, wanted)
                    rows = [store.frame_table.today(row) for row in sound]
                    completed = [(self._completed(row), programs[int(row["provenance"])]) for row in rows]
                    target.adopt(completed, self.quantities)
                    self.added += len(rows)
                done += stop - start
                if progress is not None:
                    progress(done, total)

    def _completed(self, row: Frame) -> Frame:
        """A frame with the labels that only other stores have."""
        merged = dict(row)
        for place in self.more.get(row["hash"].tobytes(), ()):
            other = self._row(place)
            orbitals = any(_has(merged, name) for name in ORBITALS)
            for name in _columns_of_labels(other):
                if not _has(merged, name) and not (orbitals and name in ORBITALS):
                    merged[name] = other[name]
        return merged

    def copy_fits(self, target: ReferenceStore) -> None:
        for name in dict.fromkeys(name for store in self.stores for name in store.fit_names()):
            if why := self._fit_obstacle(name):
                self.report.notes.append(f"fit {name!r} is left out: {why}; make it anew with 'densnet data project'")
                continue
            fits = [store.fit(name) for store in self.stores]
            first = fits[0]
            if name not in target.fit_names():
                target.create_fit(name, first.basis, first.metric, first.prior, first.constraints, first.quantity)
            _copy_fit(target, target.fit(name), self.stores, fits, self.places)
            self.report.fits.append(name)

    def _fit_obstacle(self, name: str) -> str:
        for store in self.stores:
            if name not in store.fit_names():
                return f"{store.path} has none"
            if len(store.fit(name)) < len(store):
                return f"that of {store.path} covers only {len(store.fit(name))} of {len(store)} frames"
            if gaps := store.fit(name).gaps:  # another store may have their orbitals
                return f"that of {store.path} has no coefficients of {len(gaps)} frames without a density"
        records = [fit_record(store.fit(name)) for store in self.stores]
        return "" if all(record == records[0] for record in records) else "basis, metric or atoms differ"

    def copy_records(self, target: ReferenceStore) -> None:
        """Failures, the split and other documents."""
        there = {failure.hash for failure in target.failures()}
        for store in self.stores:
            for failure in store.failures():
                if failure.hash not in target and failure.hash not in there:
                    target.adopt_failure(failure)
                    there.add(failure.hash)
        self._copy_split(target)
        there_already = {name: target.read_document(name) for name in target.document_names()}
        kept = dict(there_already)
        for store in self.stores:
            for name in store.document_names():
                document = store.read_document(name)
                if name not in (SPLIT, MERGE) and kept.setdefault(name, document) != document:
                    self.report.notes.append(f"document {name!r} of {store.path} is left out: another one is kept")
        for name in sorted(kept.keys() - there_already.keys()):
            target.write_document(name, kept[name])

    def _copy_split(self, target: ReferenceStore) -> None:
        own, present = read_split(target), [content.hex() for content in target.hashes]
        split = merged_split(self.splits, present)
        if split is None:
            return
        if own is not None:
            split = holding_out(own, split[HELD_OUT], present)
            if taken := len(own["train"] + own["validation"]) - len(split["train"] + split["validation"]):
                self.report.notes.append(
                    f"{taken} frames of the training and validation parts of {target.path}: they are held out by a "
                    "source and are test frames now; models trained before have seen them"
                )
            if self.added:
                self.report.notes.append(
                    f"{self.added} new frames of {target.path} are in no part of its split, which is kept; 'densnet "
                    "data split' draws one with them"
                )
        apart = kept_apart(split, (), twins_in(target))
        if taken := sum(len(split[part]) - len(apart[part]) for part in ("train", "validation")):
            self.report.notes.append(
                f"{taken} frames of the training and validation parts are in no part: they are test frames of another "
                "source, turned, mirrored or with like atoms exchanged"
            )
        if apart != own:
            write_split(target, apart)


def fit_record(fit: Fit) -> tuple[Any, ...]:
    """What two fits must have in common for their coefficients to mean the same."""
    return fit.basis.content_hash(), fit.metric, fit.constraints, fit.prior, fit.quantity


def _copy_fit(
    target: ReferenceStore,
    fit: Fit,
    stores: Sequence[ReferenceStore],
    fits: Sequence[Fit],
    places: Mapping[bytes, tuple[int, int]],
) -> None:
    hashes = target.hashes
    for start in range(len(fit), len(target), BLOCK):
        runs: list[list[int]] = []  # [store, first, behind the last]: most frames stand as they stood in their source
        for number, index in (places[content] for content in hashes[start : start + BLOCK]):
            if runs and runs[-1][0] == number and runs[-1][2] == index:
                runs[-1][2] += 1
            else:
                runs.append([number, index, index + 1])
        rows = (row for n, first, stop in runs for row in _sound(stores[n], fits[n].table, first, stop))
        fit.append([row["coefficients"] for row in rows])


def _sound(
    store: ReferenceStore, table: Table, start: int, stop: int, wanted: Sequence[int] | None = None
) -> list[Frame]:
    """The rows of some of the frames ``start:stop``; ``DataError`` if one is damaged."""
    rows = table.block(start, stop)
    chosen = range(start, stop) if wanted is None else wanted
    for index in chosen:
        if not table.is_sound(rows[index - start]):
            raise DataError(f"Frame {index} of {store.path} is damaged ({table.name}); {REPAIR}")
    return [rows[index - start] for index in chosen]


def _has(row: Frame, column: str) -> bool:
    return column in row and bool(len(row[column]))


def _columns_of_labels(row: Frame) -> list[str]:
    return [name for name in row if label_name(name) is not None and _has(row, name)]
