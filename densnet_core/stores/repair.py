"""Repair of a damaged store: all that is sound stays, what is broken is taken out and named.

Metadata are restored from their twins in place. If frames, fits or other parts are broken, a new store of all sound
ones is made beside the old and takes its place in one step: a killed repair leaves the old store or the new one.
"""

from __future__ import annotations

from pathlib import Path

from densnet_core.errors import DataError
from densnet_core.stores.commit import WriterLock, remove_stale, sync_folder, write_bytes
from densnet_core.stores.derived import DERIVED
from densnet_core.stores.folder import REMOVED
from densnet_core.stores.records import RECORD, TWIN, is_sealed, metadata_problems, read_plain
from densnet_core.stores.rewriting import RepairReport, recovered, rewrite
from densnet_core.stores.verify import inspect_store, open_store


def repair(path: str | Path) -> RepairReport:
    """Bring a damaged store into a state in which ``verify`` finds nothing, keeping every sound frame.

    Close the store in programs that read it: the numbers of its frames may change.

    Raises
    ------
    DataError
        If it is no store, a writer is at work, or metadata are damaged together with their twin. Nothing is lost then.
    ResourceError
        If the disk has no room for a copy of the store; it is as it was.
    """
    root = recovered(path)
    report = RepairReport()
    lock = WriterLock(root).acquire()
    try:
        remove_stale(root)
        lost = _restore_metadata(root, report)
        with open_store(root, lock) as store:
            found = inspect_store(store)
            if found.problems or lost:
                rewrite(store, found, report)
    finally:
        lock.release()
    with open_store(root) as repaired:
        report.kept = len(repaired)
    return report


def _restore_metadata(root: Path, report: RepairReport) -> bool:
    """Write damaged metadata anew from their twins; True if those of a part were lost with their twin."""
    damaged = metadata_problems(root)
    hopeless = []
    for file, what in damaged.items():
        twin = file.with_name(TWIN if file.name == RECORD else RECORD)
        if twin in damaged or not _is_sound(twin):
            hopeless.append(f"{file} ({what})")
            if file.name == RECORD and not file.exists():
                report.removed.append(f"{file.parent.relative_to(root)}: its metadata are gone")
        else:
            write_bytes(file, twin.read_bytes())
            sync_folder(file.parent)
            report.restored.append(str(file.relative_to(root)))
    parts = [str(root / part) for part in ("documents/", "failures/", "fits/", f"{DERIVED}/", f"{REMOVED}/")]
    if lost := [text for text in hopeless if not text.startswith(tuple(parts))]:
        raise DataError(
            f"These metadata are damaged, and so are their twins: {'; '.join(lost)}. Restore them from a copy of the "
            "store, then repair again."
        )
    return bool(hopeless)


def _is_sound(file: Path) -> bool:
    try:
        return is_sealed(read_plain(file))
    except (DataError, OSError):
        return False
