"""A structure as plain JSON, where a store keeps one outside of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError
from densnet_core.structures import Structure

FARTHEST: Final = 1e9
"""Bohr; the content hash resolves 1e-9 bohr in 64 bits."""


def structure_record(structure: Structure) -> dict[str, Any]:
    """Atomic numbers, positions in bohr, charge and multiplicity."""
    return {
        "numbers": structure.numbers.tolist(),
        "positions_bohr": structure.positions.tolist(),
        "charge": structure.charge,
        "multiplicity": structure.multiplicity,
    }


def structure_from(record: Mapping[str, Any]) -> Structure:
    """Inverse of ``structure_record``; ``DataError`` if the record is damaged."""
    try:
        numbers, charge, multiplicity = record["numbers"], record["charge"], record["multiplicity"]
        if not all(type(value) is int and abs(value) < 1000 for value in (*numbers, charge, multiplicity)):
            raise ValueError("atomic numbers, charge and multiplicity must be whole numbers")
        positions = np.array(record["positions_bohr"], np.float64)
        if not (np.abs(positions) < FARTHEST).all():
            raise ValueError(f"positions must be below {FARTHEST:g} bohr")
        return Structure(np.array(numbers), positions, charge, multiplicity)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"The record of a structure is damaged: {error!r}.") from error
