"""A structure as plain JSON, where a store keeps one outside of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError
from densnet_core.fragments import Fragment
from densnet_core.structures import Structure

FARTHEST: Final = 1e9
"""Bohr; the content hash resolves 1e-9 bohr in 64 bits."""


def structure_record(structure: Structure) -> dict[str, Any]:
    """Atomic numbers, positions in bohr, charge and multiplicity; isotope masses in dalton and fragments, if any."""
    record: dict[str, Any] = {
        "numbers": structure.numbers.tolist(),
        "positions_bohr": structure.positions.tolist(),
        "charge": structure.charge,
        "multiplicity": structure.multiplicity,
    }
    if structure.isotope_masses is not None:
        record["isotope_masses_dalton"] = structure.isotope_masses.tolist()
    if structure.fragments:
        record["fragments"] = [{**asdict(fragment), "atoms": list(fragment.atoms)} for fragment in structure.fragments]
    return record


def structure_from(record: Mapping[str, Any]) -> Structure:
    """Inverse of ``structure_record``; ``DataError`` if the record is damaged."""
    try:
        numbers, charge, multiplicity = record["numbers"], record["charge"], record["multiplicity"]
        if not all(type(value) is int and abs(value) < 1000 for value in (*numbers, charge, multiplicity)):
            raise ValueError("atomic numbers, charge and multiplicity must be whole numbers")
        positions = np.array(record["positions_bohr"], np.float64)
        if not (np.abs(positions) < FARTHEST).all():
            raise ValueError(f"positions must be below {FARTHEST:g} bohr")
        masses = record.get("isotope_masses_dalton")
        return Structure(
            np.array(numbers),
            positions,
            charge,
            multiplicity,
            None if masses is None else np.array(masses, np.float64),
            tuple(_fragment(fragment) for fragment in record.get("fragments", ())),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"The record of a structure is damaged: {error!r}.") from error


def _fragment(record: Mapping[str, Any]) -> Fragment:
    atoms, charge, multiplicity = record["atoms"], record["charge"], record["multiplicity"]
    if not all(type(value) is int for value in (*atoms, charge, multiplicity)):
        raise ValueError("atoms, charge and multiplicity of fragments must be whole numbers")
    return Fragment(tuple(atoms), charge, multiplicity)
