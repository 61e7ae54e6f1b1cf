"""Frames out of a store into files of other programs: checked on the way, written whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from densnet_core.errors import DataError, InputError, ResourceError
from densnet_core.reference.base import ReferenceResult
from densnet_core.stores.commit import partial_name, remove_stale
from densnet_core.stores.labels import labels_of
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.table import REPAIR
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

BLOCK: Final = 128
_HELD: Final = {
    "energy": "energy_hartree",
    "forces": "forces_hartree_per_angstrom",
    "dipole": "dipole_au",
    **dict.fromkeys(("orbitals", "occupations"), "mo_coeff_occupied"),
    "response": "mo_response_au",
    "polarizability": "polarizability_au",
}
"""The array that holds a label."""
_DIAGNOSTICS: Final = {"scf_gap", "scf_s_squared"}
log = logging.getLogger(__name__)


def sound_frames(store: ReferenceStore) -> Iterator[tuple[Structure, ReferenceResult]]:
    """All frames of a store, one after the other; ``DataError`` at one that is damaged."""
    table = store.frame_table
    for start in range(0, len(store), BLOCK):
        stop = min(start + BLOCK, len(store))
        for index, rows in enumerate(table.block(start, stop), start):
            if not table.is_sound(rows):
                raise DataError(f"Frame {index} of {store.path} is damaged; {REPAIR}")
            yield store.structure(index), store.result(index)


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """A text file that gets its name when it is whole; ``ResourceError`` if it cannot be written."""
    with whole_file(file) as partial, partial.open("w", encoding="utf-8") as out:
        yield out


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """The path to write first; it becomes ``file`` at the end, or is removed.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    remove_stale(file)
    partial = partial_name(file)
    try:
        yield partial
        partial.replace(file)
    except OSError as error:
        raise ResourceError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def write_npz(file: Path, frames: Sequence[tuple[Structure, ReferenceResult]], small: bool = False) -> None:
    """Write frames as the NumPy archive that ``read_npz`` reads.

    Parameters
    ----------
    small : bool
        Orbitals and their responses in single precision (the former are orthonormal to 1e-6 still), everything
        compressed.

    Raises
    ------
    InputError
        If the frames are not of one molecule with the same labels, charge and multiplicity, or have isotopes or
        fragments: the archive does not hold those.
    """
    first = frames[0][0]
    present = {labels_of(result) for _, result in frames}
    alike = all(np.array_equal(structure.numbers, first.numbers) for structure, _ in frames)
    if not alike or len(present) != 1 or len({(s.charge, s.multiplicity) for s, _ in frames}) != 1:
        raise InputError(
            "A NumPy archive holds frames of one molecule, charge and multiplicity with the same labels; export "
            "extended XYZ or QCSchema instead."
        )
    if any(structure.isotope_masses is not None or structure.fragments for structure, _ in frames):
        raise InputError("A NumPy archive has no isotopes and fragments; export extended XYZ or QCSchema instead.")
    labels = present.pop()
    results = [result for _, result in frames]
    if missing := {"energy", "forces"} - set(labels):
        raise InputError(f"The frames have no {', '.join(sorted(missing))}; an archive cannot do without.")
    arrays: dict[str, Any] = {
        "numbers": np.array([structure.numbers for structure, _ in frames]),
        "positions_angstrom": np.array([structure.positions for structure, _ in frames]) * BOHR_TO_ANGSTROM,
        "energy_hartree": np.array([result.energy for result in results]),
        "forces_hartree_per_angstrom": np.array([result.forces for result in results]) / BOHR_TO_ANGSTROM,
    }
    if "dipole" in labels:
        arrays["dipole_au"] = np.array([result.dipole for result in results])
    if "orbitals" in labels and first.multiplicity == 1:
        orbitals = np.array([result.orbitals for result in results])
        arrays["mo_coeff_occupied"] = orbitals.astype(np.float32) if small else orbitals
        if "response" in labels:
            response = np.array([result.response for result in results])
            arrays["mo_response_au"] = response.astype(np.float32) if small else response
    if "polarizability" in labels:
        arrays["polarizability_au"] = np.array([result.polarizability for result in results])
    held = {label for label, name in _HELD.items() if name in arrays}
    if left := sorted(set(labels) - held - _DIAGNOSTICS):
        log.warning("%s does not hold %s of the frames: a NumPy archive has no arrays for them.", file, ", ".join(left))
    with whole_file(file) as partial, partial.open("wb") as out:
        (np.savez_compressed if small else np.savez)(out, **arrays)
