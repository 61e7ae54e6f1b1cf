"""Which frames are learned from and which are held out: by content hash, kept in the store as the document ``split``.

A frame that was ever held out for testing is never trained or validated on again, in whatever store it lies: a new
split of a store keeps its earlier test frames out, and a store merged from others keeps out those of all of them. Nor
is a twin of it, the same geometry turned, mirrored or with like atoms exchanged (``densnet_core.stores.twins``). The
table of frames, without which there is no store, remembers that there is a split, so that its loss does not go unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from densnet_core.errors import DataError, InputError
from densnet_core.stores.folder import StoreFolder
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.twins import twins_by_hash

SPLIT: Final = "split"
PARTS: Final = ("train", "validation", "test")
HELD_OUT: Final = "held_out"
HAS_SPLIT: Final = "has_split"
"""Attribute of the table of frames: the store has the document ``SPLIT``."""
REMOVED_SPLIT: Final = f"documents-{SPLIT}"
"""Name of the record of a split that a repair took out."""
REDRAW: Final = (
    "Draw it again with the counts and the seed of before: 'densnet data split STORE --test N --validation N --seed N "
    "--redraw'. Frames are drawn by content hash and seed alone, so of the same frames it is the same split; if frames "
    "came or went since, or test frames came from earlier splits or other stores, restore documents/split from a copy "
    "instead."
)
Twins = Mapping[str, frozenset[str]]
"""By content hash, hexadecimal, the frames that are the same geometry, itself among them."""
Split = dict[str, list[str]]
"""Content hashes, hexadecimal, of each of ``PARTS``, and under ``held_out`` all that were ever a test frame."""


def read_split(store: StoreFolder) -> Split | None:
    """The split of a store; None if it never had one, ``DataError`` if it is damaged or was lost."""
    if split_is_lost(store):
        raise DataError(
            f"{store.path} had a split, but its record of the frames held out for testing was lost. {REDRAW}"
        )
    if SPLIT not in store.document_names():
        return None
    found = store.read_document(SPLIT)
    split = {part: found.get(part, []) for part in (*PARTS, HELD_OUT)}
    for part, hashes in split.items():
        if not isinstance(hashes, list) or not all(isinstance(content, str) for content in hashes):
            raise DataError(f"The split of {store.path} is damaged: {part!r} is no list of content hashes.")
    return split


def split_is_lost(store: StoreFolder) -> bool:
    """Whether the store had a split that is gone or that a repair took out."""
    if SPLIT in store.document_names():
        return False
    return bool(store.frame_table.attributes.get(HAS_SPLIT)) or REMOVED_SPLIT in store.removed_names()


def write_split(store: StoreFolder, split: Mapping[str, Any]) -> None:
    """Keep a split in a store, which remembers that it has one; the store is open for writing."""
    store.write_document(SPLIT, split)
    if not store.frame_table.attributes.get(HAS_SPLIT):
        store.frame_table.append([], (), **{HAS_SPLIT: True})


def earlier_split(store: StoreFolder, redraw: bool) -> Split | None:
    """The split on which a new one is based; None too if it was lost and ``redraw`` says to do without it."""
    return None if redraw and split_is_lost(store) else read_split(store)


def split_store(
    store: ReferenceStore,
    counts: Mapping[str, int],
    seed: int,
    hashes: Sequence[str] | None = None,
    redraw: bool = False,
) -> Split:
    """Divide the frames of a store and keep the split in it; see ``split_frames``.

    Parameters
    ----------
    store : ReferenceStore
        Open for writing.
    counts : mapping
        Number of frames of each of ``PARTS``.
    seed : int
    hashes : sequence of str, optional
        The frames to divide; all of the store if not given.
    redraw : bool
        Draw anew if the split was lost, instead of refusing. A split that is there is always kept to.

    Raises
    ------
    DataError
        If the store had a split that is damaged, or that was lost and ``redraw`` is False.
    InputError
        If there are too few frames.
    """
    previous = earlier_split(store, redraw)
    chosen = [content.hex() for content in store.hashes] if hashes is None else hashes
    split = split_frames(chosen, counts, seed, previous, twins_in(store))
    if split != previous:
        write_split(store, split)
    return split


def twins_in(store: ReferenceStore) -> Twins:
    """The frames of a store that have twins in it, with those of their group."""
    return twins_by_hash([store.structure(index) for index in range(len(store))])


def split_frames(
    hashes: Sequence[str],
    counts: Mapping[str, int],
    seed: int,
    previous: Mapping[str, Any] | None,
    twins: Twins | None = None,
) -> Split:
    """Divide frames, given by content hash, into train, validation and test.

    The order in which frames are drawn depends on seed and hash alone, not on the order or the number of the others.
    Frames that any earlier split held out for testing are never trained or validated on, whatever the new numbers and
    however many splits lie between: ``held_out`` of the result lists them all. Twins of test frames are in no part, and
    twins of training frames not in that for validation.

    Raises
    ------
    InputError
        If there are too few frames; the message says how many there are.
    """
    twins = twins or {}
    order = sorted(set(hashes), key=lambda content: hashlib.sha256(f"{seed};{content}".encode()).digest())
    held_out = set(previous.get(HELD_OUT, [])).union(previous["test"]) if previous else set()
    learned = {h for part in ("train", "validation") for h in previous[part]} if previous else set()
    test = [h for h in order if h in held_out][: counts["test"]]
    free = [h for h in order if h not in held_out]
    # More test frames are taken from those that nothing was learned from, as long as there are any.
    more = sorted(free, key=learned.__contains__)[: counts["test"] - len(test)]
    test, free = test + more, [h for h in free if h not in set(more)]
    kept = _without_twins(free, held_out.union(test), twins)
    train = kept[: counts["train"]]
    validation = _without_twins(kept[counts["train"] :], train, twins)[: counts["validation"]]
    if any(len(found) < counts[part] for part, found in zip(PARTS, (train, validation, test), strict=True)):
        left = len(free) - len(kept)
        raise InputError(
            f"The split asks for {sum(counts.values())} frames, but only {len(order)} are labelled"
            + (f" and {len(held_out)} of them are held out by an earlier split" if held_out else "")
            + (f"; {left} are left out because they are test frames turned, mirrored or renumbered" if left else "")
            + ". Compute more, or lower train, validation or test."
        )
    return {
        "train": train,
        "validation": validation,
        "test": test,
        HELD_OUT: sorted(held_out.union(test)),
    }


def _without_twins(hashes: Sequence[str], others: Iterable[str], twins: Twins) -> list[str]:
    """Those of the frames that are no twins of others."""
    taken = {twin for content in others for twin in twins.get(content, ())}
    return [content for content in hashes if content not in taken]


def held_out_in(splits: Iterable[Split]) -> set[str]:
    """Hashes of the frames that any of the splits tests on, now or in earlier trainings."""
    return {content for split in splits for content in (*split["test"], *split[HELD_OUT])}


def kept_apart(split: Split, held_out: Iterable[str], twins: Twins) -> Split:
    """A split without the frames for training and validation that are twins of frames held out here or elsewhere."""
    out = {*split["test"], *split[HELD_OUT], *held_out}
    return {**split, **{part: _without_twins(split[part], out, twins) for part in ("train", "validation")}}


def merged_split(splits: Iterable[Split], present: Iterable[str]) -> Split | None:
    """The split of a store made from stores with these: a frame held out in any of them is held out.

    Parameters
    ----------
    splits : iterable of Split
    present : iterable of str
        Content hashes of the frames of the new store, hexadecimal; test frames that are not there stay held out.

    Returns
    -------
    Split or None
        None if there are no splits. A frame that one store trained and another validated on is for training.
    """
    found = list(splits)
    if not found:
        return None
    there = set(present)
    held_out = held_out_in(found)
    parts: Split = {}
    taken = set(held_out)
    for part in ("train", "validation"):
        parts[part] = [c for c in dict.fromkeys(c for split in found for c in split[part]) if c in there - taken]
        taken.update(parts[part])
    tested = dict.fromkeys(content for split in found for content in split["test"] if content in there)
    return {**parts, "test": list(tested), HELD_OUT: sorted(held_out)}


def holding_out(split: Split, more: Iterable[str], present: Iterable[str]) -> Split:
    """A split that keeps to ``split`` and holds out further frames; those that are ``present`` are tested on too."""
    added = [content for content in dict.fromkeys(more) if content not in split[HELD_OUT]]
    there = set(present)
    parts = {part: [c for c in split[part] if c not in set(added)] for part in ("train", "validation")}
    test = list(dict.fromkeys([*split["test"], *(c for c in added if c in there)]))
    return {**parts, "test": test, HELD_OUT: sorted({*split[HELD_OUT], *split["test"], *added})}
