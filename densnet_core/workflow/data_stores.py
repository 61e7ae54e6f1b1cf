"""The stores that one model learns from together: what they hold, their splits, and fits with the same atoms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densnet_core.basis.base import Basis, GaussianBasis
from densnet_core.basis.library import compact_name
from densnet_core.config.schema import TrainingSection
from densnet_core.density.method import FitMethod
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import State, states_of
from densnet_core.errors import InputError
from densnet_core.reference.executors import Executor
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.runner import BackendFactory, atomic_densities
from densnet_core.stores.arrays import CHECKSUM
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import (
    HELD_OUT,
    PARTS,
    Split,
    Twins,
    held_out_in,
    kept_apart,
    read_split,
    split_frames,
    twins_in,
    write_split,
)
from densnet_core.stores.twins import twins_by_hash
from densnet_core.structures import Structure
from densnet_core.workflow.labels import elements_of, fit_into, fit_name, fit_name_in, has_densities, n_unfitted
from densnet_core.workflow.reporter import Reporter

SMALLEST = 3
"""Frames of a store that can be divided into three parts."""


@dataclass(frozen=True)
class Source:
    """What a store holds.

    Attributes
    ----------
    path : Path
    level : LevelOfTheory
    backend : str
    versions : mapping
        Of the programs that made it.
    elements : list of int
        Atomic numbers, ascending.
    states : tuple of (charge, multiplicity)
    frames : dict of str to str
        By content hash, hexadecimal, a digest of the frame with its labels.
    """

    path: Path
    level: LevelOfTheory
    backend: str
    versions: Mapping[str, str]
    elements: list[int]
    states: tuple[State, ...]
    frames: dict[str, str]


def source_of(path: Path) -> Source:
    """Read what a store holds; ``InputError`` if there is no frame in it."""
    with ReferenceStore.open(path) as store:
        if not len(store):
            raise InputError(f"{path} holds no frames; there is nothing to train on.")
        return Source(
            path,
            store.level,
            store.backend,
            store.versions,
            elements_of(store),
            states_of([store.structure(index) for index in range(len(store))]),
            _frames_of(store),
        )


def own_source(path: Path, numbers: Sequence[int], states: tuple[State, ...]) -> Source:
    """The store of the reference calculations of a run, whose molecule is known."""
    with ReferenceStore.open(path) as store:
        return Source(path, store.level, store.backend, store.versions, sorted(set(numbers)), states, _frames_of(store))


def _frames_of(store: ReferenceStore) -> dict[str, str]:
    digests = (store.frame_table.value(CHECKSUM, index) for index in range(len(store)))
    return {content.hex(): digest.tobytes().hex() for content, digest in zip(store.hashes, digests, strict=True)}


def own_split(source: Source, training: TrainingSection, sampled: Sequence[str]) -> Split:
    """For what the sampled frames of a run are, as [training] has it: those in the store, drawn by seed and hash.

    Nothing is written; ``keep_split`` does that.

    Raises
    ------
    InputError
        There are too few frames.
    DataError
        The earlier split, which is kept to, was damaged or lost.
    """
    with ReferenceStore.open(source.path) as store:
        previous, twins = read_split(store), twins_in(store)
    counts = {part: getattr(training, part) for part in PARTS}
    own = [content for content in sampled if content in source.frames]
    return split_frames(own, counts, training.seed, previous, twins)


def keep_split(source: Source, split: Split) -> None:
    """Write down in a store for what its frames are."""
    with ReferenceStore.open(source.path) as store:
        if read_split(store) == split:
            return
    with ReferenceStore.open(source.path, writable=True) as store:
        write_split(store, split)


def check_levels(sources: Sequence[Source]) -> None:
    """``InputError`` unless all stores are at one level of theory; programs may differ, they agree closely enough."""
    first = sources[0]
    for source in sources[1:]:
        if _level_key(source.level) != _level_key(first.level):
            raise InputError(
                f"{first.path} holds {first.level} and {source.path} holds {source.level}. One model learns one level "
                "of theory: its energies and densities would be a mixture, and no model here takes the level as an "
                "input. Train on stores of one level, or compute the frames of the other again at it."
            )


def _level_key(level: LevelOfTheory) -> tuple[str, str, str]:
    return level.method.lower(), compact_name(level.basis), (level.dispersion or "").lower()


def split_source(source: Source, training: TrainingSection, reporter: Reporter) -> Split:
    """The split of a store: its own, or one that is drawn from the parts of [training]; nothing is written.

    Raises
    ------
    InputError
        There are too few frames to draw one.
    """
    with ReferenceStore.open(source.path) as store:
        split = read_split(store)
        if split is None:
            twins = twins_in(store)
            own = _distinct(source.frames, twins)
            split = split_frames(own, _counts(source, len(own), training), training.seed, None, twins)
    used = {content for part in PARTS for content in split[part]}
    if left := len(set(source.frames) - used - set(split[HELD_OUT])):
        reporter.note(
            f"{left} frames of {source.path} are in no part of its split and are left out; 'densnet data split' draws "
            "a new one, which keeps the test frames."
        )
    return split


def _distinct(hashes: Iterable[str], twins: Twins) -> list[str]:
    """One frame of each group of twins."""
    found: list[str] = []
    known: set[str] = set()
    for content in sorted(hashes):
        if content not in known:
            found.append(content)
            known |= {content, *twins.get(content, ())}
    return found


def _counts(source: Source, n_frames: int, training: TrainingSection) -> dict[str, int]:
    if n_frames < SMALLEST:
        raise InputError(
            f"{source.path} has {n_frames} frames and no split; at least {SMALLEST} are needed to draw one for "
            "training, validation and testing. Say with 'densnet data split' what each frame is for."
        )
    wanted = {"validation": training.validation, "test": training.test}
    held = {
        part: min(max(1, round(n_frames * count / training.frames)), (n_frames - 1) // 2)
        for part, count in wanted.items()
    }
    return {"train": n_frames - sum(held.values()), **held}


def parts_together(sources: Sequence[Source], splits: Sequence[Split], reporter: Reporter, twins: Twins) -> list[Split]:
    """Which frames of each store are used for what: as their splits have it, but no frame twice.

    A frame that any store holds out is trained and validated on in none, nor is a twin of it (the same geometry turned,
    mirrored or with like atoms exchanged), and a frame of several stores counts in the first.
    """
    held_out = held_out_in(splits)
    taken: set[str] = set()
    parts: list[Split] = []
    for source, split in zip(sources, splits, strict=True):
        own: Split = {"test": [c for c in split["test"] if c in source.frames and c not in taken]}
        taken.update(own["test"])
        for part in ("train", "validation"):
            there = [content for content in split[part] if content in source.frames]
            own[part] = [content for content in there if content not in held_out and content not in taken]
            taken.update(own[part])
            if left := len(there) - len(own[part]):
                reporter.note(
                    f"{left} frames of {source.path} for {part} are left out: another store holds them out, or has "
                    "them too."
                )
        apart = kept_apart({HELD_OUT: [], **own}, held_out, twins)
        if left := sum(len(own[part]) - len(apart[part]) for part in ("train", "validation")):
            reporter.note(f"{left} frames of {source.path} are left out: they are twins of frames that are held out.")
        parts.append({part: apart[part] for part in own})
    return parts


def not_held_out(
    sources: Sequence[Source], splits: Sequence[Split], reporter: Reporter, twins: Twins
) -> list[list[str]]:
    """Of every store the frames, sorted, that are no test frame of the splits, nor a twin of one."""
    held_out = held_out_in(splits)
    found = []
    for source in sources:
        split = {HELD_OUT: [], "test": [], "validation": [], "train": sorted(set(source.frames) - held_out)}
        found.append(kept_apart(split, held_out, twins)["train"])
        if left := len(source.frames) - len(found[-1]):
            reporter.note(f"{left} frames of {source.path} are left out: they are geometries that the run holds out.")
    return found


def twins_of(sources: Sequence[Source]) -> Twins:
    """The frames of all stores that have twins in any of them."""
    structures: dict[str, Structure] = {}
    for source in sources:
        with ReferenceStore.open(source.path) as store:
            structures |= {content.hex(): store.structure(i) for i, content in enumerate(store.hashes)}
    return twins_by_hash(list(structures.values()))


def common_prior(
    sources: Sequence[Source],
    elements: Sequence[int],
    basis: Basis,
    method: FitMethod,
    executor: Executor,
    factory_of: Callable[[Source], BackendFactory],
) -> AtomicPrior:
    """The atoms that all densities are differences to: those of the first fit that has each, else computed.

    Parameters
    ----------
    basis, method
        Of the fits that the model learns from.
    factory_of : callable
        Makes the backend that a store was made with.
    """
    shells: dict[int, Any] = {}
    for source in sources:
        with ReferenceStore.open(source.path) as store:
            name = fit_name(basis, method)
            if name in store.fit_names():
                there = AtomicPrior.from_dict(store.fit(name).prior).basis
                shells = {**{z: there.shells(z) for z in there.elements}, **shells}
    for source in sources:
        if missing := [z for z in source.elements if z not in shells]:
            densities = atomic_densities(factory_of(source), missing, executor)
            computed = AtomicPrior.fit(densities).basis
            shells |= {z: computed.shells(z) for z in computed.elements}
    return AtomicPrior(GaussianBasis("atoms", {z: shells[z] for z in elements}))


def fit_source(
    source: Source,
    factory: BackendFactory,
    basis: Basis,
    method: FitMethod,
    prior: AtomicPrior,
    executor: Executor,
    reporter: Reporter,
) -> str | None:
    """Bring the fit of a store up to date, frame by frame; its name, None if no frame has a density."""
    with ReferenceStore.open(source.path) as store:
        if not has_densities(store, basis, method):
            return None
        name = fit_name_in(store, basis, method, prior)
        there, missing = store.fit_names(), n_unfitted(store, name)
        if name not in there and fit_name(basis, method) in there:
            reporter.note(
                f"The fit in {source.path} is a difference to other atoms than those of the first store; the densities "
                "are fitted again."
            )
    if missing:
        advance = reporter.task(f"fits of the density, {source.path.name}", missing)
        with ReferenceStore.open(source.path, writable=True) as store:
            fit_into(store, factory, basis, method, executor, prior, advance, reporter.note)
    return name


def digest_of(source: Source, contents: Sequence[str]) -> str:
    """Identity of some frames of a store with their labels."""
    text = ";".join(f"{content}:{source.frames[content]}" for content in contents)
    return hashlib.sha256(text.encode()).hexdigest()
