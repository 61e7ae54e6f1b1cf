"""Upgrade of a store of an older format to the one that is written today."""

from __future__ import annotations

from pathlib import Path

from densnet_core.errors import DataError
from densnet_core.stores.commit import WriterLock, remove_stale
from densnet_core.stores.records import metadata_problems
from densnet_core.stores.rewriting import RepairReport, recovered, rewrite
from densnet_core.stores.verify import inspect_store, open_store


def upgrade(path: str | Path) -> tuple[int, int]:
    """Bring a store to the format of today with all that it holds: frames, fits, split, documents, failures.

    Close the store in programs that read it. Killed at any moment, it leaves the old store or the new one, and can be
    called again; a store of today's format is left as it is.

    Returns
    -------
    tuple of int
        The format version before and the one now.

    Raises
    ------
    DataError
        If it is no store, a writer is at work, or something in it is damaged: repair it first.
    ResourceError
        If the disk has no room for a second store; the old one is as it was.
    """
    root = recovered(path)
    lock = WriterLock(root).acquire()
    try:
        remove_stale(root)
        with open_store(root, lock) as store:
            before = int(store.attributes["format_version"])
            if not store.is_current:
                found = inspect_store(store)
                if problems := [*(f"{f}: {what}" for f, what in metadata_problems(root).items()), *found.problems]:
                    raise DataError(
                        f"{root} is damaged ({problems[0]}); 'densnet data verify --repair {root}' keeps all that is "
                        "sound and upgrades it in the same step."
                    )
                rewrite(store, found, RepairReport())
            return before, store.format_versions[-1]
    finally:
        lock.release()
