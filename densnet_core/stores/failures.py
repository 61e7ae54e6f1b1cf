"""Calculations that failed: kept as records beside the frames, never as labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from densnet_core.errors import DataError
from densnet_core.stores.molecules import structure_from, structure_record
from densnet_core.stores.records import read_group, remove_group, write_group
from densnet_core.structures import Structure


@dataclass(frozen=True, eq=False)
class Failure:
    """One failed calculation.

    Parameters
    ----------
    structure : Structure
    error : str
        Name of the error's class, for example ``ConvergenceError``.
    message : str
    seconds : float
        Wall time until it failed.
    """

    structure: Structure
    error: str
    message: str
    seconds: float

    @property
    def hash(self) -> bytes:
        """Content hash of the structure."""
        return self.structure.content_hash()


def write_failure(folder: Path, failure: Failure) -> None:
    """Write the record of a failure into ``folder``, replacing an earlier one of the same structure."""
    write_group(
        folder / failure.hash.hex(),
        {
            "error": failure.error,
            "message": failure.message,
            "seconds": failure.seconds,
            **structure_record(failure.structure),
        },
    )


def read_failure(folder: Path, name: str) -> Failure:
    """The failure of the structure whose hash is ``name`` (hexadecimal); ``DataError`` if its record is damaged."""
    record = read_group(folder / name)
    try:
        return Failure(structure_from(record), str(record["error"]), str(record["message"]), float(record["seconds"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"The record of a failure, {folder / name}, is damaged: {error!r}.") from error


def remove_failure(folder: Path, structure_hash: bytes) -> None:
    """Forget the failure of a structure, if there is one."""
    entry = folder / structure_hash.hex()
    if entry.is_dir():
        remove_group(entry)
