"""Which frames are learned from and which are held out: by content hash, kept in the store as the document ``split``.

A frame that was ever held out for testing is never trained or validated on again, in whatever store it lies: a new
split of a store keeps its earlier test frames out, and a store merged from others keeps out those of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from densnet_core.errors import DataError, InputError
from densnet_core.stores.folder import StoreFolder
from densnet_core.stores.reference import ReferenceStore

SPLIT: Final = "split"
PARTS: Final = ("train", "validation", "test")
HELD_OUT: Final = "held_out"
Split = dict[str, list[str]]
"""Content hashes, hexadecimal, of each of ``PARTS``, and under ``held_out`` all that were ever a test frame."""


def read_split(store: StoreFolder) -> Split | None:
    """The split of a store; None if it has none, ``DataError`` if it is damaged."""
    if SPLIT not in store.document_names():
        return None
    found = store.read_document(SPLIT)
    split = {part: found.get(part, []) for part in (*PARTS, HELD_OUT)}
    for part, hashes in split.items():
        if not isinstance(hashes, list) or not all(isinstance(content, str) for content in hashes):
            raise DataError(f"The split of {store.path} is damaged: {part!r} is no list of content hashes.")
    return split


def split_store(
    store: ReferenceStore, counts: Mapping[str, int], seed: int, hashes: Sequence[str] | None = None
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
    """
    previous = read_split(store)
    chosen = [content.hex() for content in store.hashes] if hashes is None else hashes
    split = split_frames(chosen, counts, seed, previous)
    if split != previous:
        store.write_document(SPLIT, split)
    return split


def split_frames(
    hashes: Sequence[str], counts: Mapping[str, int], seed: int, previous: Mapping[str, Any] | None
) -> Split:
    """Divide frames, given by content hash, into train, validation and test.

    The order in which frames are drawn depends on seed and hash alone, not on the order or the number of the others.
    Frames that any earlier split held out for testing are never trained or validated on, whatever the new numbers and
    however many splits lie between: ``held_out`` of the result lists them all.

    Raises
    ------
    InputError
        If there are too few frames; the message says how many there are.
    """
    order = sorted(set(hashes), key=lambda content: hashlib.sha256(f"{seed};{content}".encode()).digest())
    held_out = set(previous.get(HELD_OUT, [])).union(previous["test"]) if previous else set()
    test = [h for h in order if h in held_out][: counts["test"]]
    free = [h for h in order if h not in held_out]
    missing = counts["test"] - len(test)
    test, free = test + free[:missing], free[missing:]
    wanted = counts["train"] + counts["validation"]
    if len(test) < counts["test"] or len(free) < wanted:
        raise InputError(
            f"The split asks for {sum(counts.values())} frames, but only {len(order)} are labelled"
            + (f" and {len(held_out)} of them are held out by an earlier split" if held_out else "")
            + ". Compute more, or lower train, validation or test."
        )
    return {
        "train": free[: counts["train"]],
        "validation": free[counts["train"] : wanted],
        "test": test,
        HELD_OUT: sorted(held_out.union(test)),
    }


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
    held_out = {content for split in found for content in (*split["test"], *split[HELD_OUT])}
    parts: Split = {}
    taken = set(held_out)
    for part in ("train", "validation"):
        parts[part] = [c for c in dict.fromkeys(c for split in found for c in split[part]) if c in there - taken]
        taken.update(parts[part])
    tested = dict.fromkeys(content for split in found for content in split["test"] if content in there)
    return {**parts, "test": list(tested), HELD_OUT: sorted(held_out)}
