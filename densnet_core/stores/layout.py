"""The arrays of a reference store, and how a frame becomes one row in each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from densnet_core.basis.base import Basis
from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceResult
from densnet_core.stores.arrays import Column
from densnet_core.stores.labels import BASIC_LABELS, LABELS, check_labels
from densnet_core.structures import Structure

_BITS: Final = ", ".join(f"{1 << bit} {name}" for bit, name in enumerate(LABELS))
BASIC_COLUMNS: Final = (
    Column("hash", "|u1", "1", "(n_frames, 32); SHA-256 content hash of the structure", (32,)),
    Column("charge", "<i4", "e", "(n_frames,); total charge"),
    Column("multiplicity", "<i4", "1", "(n_frames,); spin multiplicity 2S+1"),
    Column("labels", "|u1", "1", f"(n_frames,); sum of the bits of the labels a frame has: {_BITS}"),
    Column("energy", "<f8", "hartree", "(n_frames,); total energy, NaN where unknown"),
    Column("dipole", "<f8", "e bohr", "(n_frames, 3); electric dipole moment, NaN where unknown", (3,)),
    Column("seconds", "<f8", "s", "(n_frames,); wall time of the calculation"),
    Column("provenance", "<i4", "1", "(n_frames,); index into the group's attribute 'provenance'"),
    Column("numbers", "<i2", "1", "(n_atoms of all frames,); atomic numbers", axis="atom", chunk_rows=8192),
    Column(
        "positions", "<f8", "bohr", "(n_atoms of all frames, 3); positions of the nuclei", (3,), "atom", chunk_rows=4096
    ),
    Column(
        "forces",
        "<f8",
        "hartree/bohr",
        "(n_atoms of all frames, 3); forces on the nuclei, NaN where unknown",
        (3,),
        "atom",
        chunk_rows=4096,
    ),
    Column(
        "occupations",
        "<f8",
        "electrons",
        "(n_occupied of all frames,); electrons in each orbital",
        axis="orbital",
        chunk_rows=4096,
    ),
    Column(
        "orbitals",
        "<f8",
        "1",
        "occupied orbitals of all frames in the core's convention, each (n_basis, n_occupied) in C order",
        axis="orbital_coefficient",
        chunk_rows=65536,
    ),
)
PROPERTY_COLUMNS: Final = (
    Column(
        "quadrupole",
        "<f8",
        "e bohr^2",
        "(n_frames, 3, 3); second moments of the charge about the origin, NaN where unknown",
        (3, 3),
    ),
    Column(
        "polarizability", "<f8", "bohr^3", "(n_frames, 3, 3); static dipole polarizability, NaN where unknown", (3, 3)
    ),
    Column(
        "response",
        "<f8",
        "e bohr/hartree",
        "change of the occupied orbitals in a uniform field, each (3, n_basis, n_occupied) in C order",
        axis="response_coefficient",
        chunk_rows=65536,
    ),
)
COLUMNS: Final[dict[int, tuple[Column, ...]]] = {1: BASIC_COLUMNS, 2: BASIC_COLUMNS + PROPERTY_COLUMNS}
"""The arrays by the format version of a store."""


def frame_rows(structure: Structure, result: ReferenceResult, orbital_basis: Basis | None) -> dict[str, Any]:
    """Rows of one frame by column, its labels checked; ``provenance`` is left to the store.

    Parameters
    ----------
    structure : Structure
    result : ReferenceResult
        Possibly with labels missing (see ``densnet_core.stores.labels``).
    orbital_basis : Basis or None
        What the store knows of the orbitals' basis.

    Raises
    ------
    InputError
        If a label is not finite or of the wrong shape, or the orbitals do not fit the orbital basis.
    """
    present = check_labels(structure, result)
    if "orbitals" in present:
        _check_orbital_basis(structure, len(result.orbitals), orbital_basis)
    values = {name: np.asarray(getattr(result, name), dtype=np.float64) for name in present}
    return {
        "hash": np.frombuffer(structure.content_hash(), np.uint8),
        "charge": np.int32(structure.charge),
        "multiplicity": np.int32(structure.multiplicity),
        "labels": np.uint8(sum(1 << bit for bit, name in enumerate(LABELS) if name in present)),
        "energy": values.get("energy", np.float64(np.nan)),
        "dipole": values.get("dipole", np.full(3, np.nan)),
        "seconds": np.float64(result.seconds),
        "numbers": structure.numbers,
        "positions": structure.positions,
        "forces": values.get("forces", np.full((structure.n_atoms, 3), np.nan)),
        "occupations": values.get("occupations", np.empty(0)),
        "orbitals": values.get("orbitals", np.empty((0, 0))).ravel(),
        **_WITHOUT_PROPERTIES,
        **{name: values[name] for name in ("quadrupole", "polarizability") if name in values},
        **({"response": values["response"].ravel()} if "response" in values else {}),
    }


_WITHOUT_PROPERTIES: Final = {
    "quadrupole": np.full((3, 3), np.nan),
    "polarizability": np.full((3, 3), np.nan),
    "response": np.empty(0),
}


def rows_of_today(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of a frame from a store of any format version, with what its version did not have marked unknown."""
    return {**_WITHOUT_PROPERTIES, **rows}


def has_properties(rows: Mapping[str, Any]) -> bool:
    """True if a frame has labels that stores of format version 1 have no arrays for."""
    return bool(int(rows["labels"]) >> len(BASIC_LABELS))


def _check_orbital_basis(structure: Structure, n_basis: int, orbital_basis: Basis | None) -> None:
    missing = set(structure.numbers.tolist()) - set(orbital_basis.elements if orbital_basis else ())
    if orbital_basis is None or missing:
        raise InputError(
            f"The store does not know the orbital basis of atomic numbers {sorted(missing)}; call set_orbital_basis "
            "before appending orbitals."
        )
    expected = orbital_basis.n_functions(structure.numbers)
    if n_basis != expected:
        raise InputError(
            f"orbitals of {structure.formula} have {n_basis} rows, but the store's orbital basis "
            f"{orbital_basis.name!r} has {expected} functions on it."
        )
