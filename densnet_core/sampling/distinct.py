"""Geometries that are different calculations: equal content hashes are dropped."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from densnet_core.structures import Structure


def on_hash_grid(structure: Structure) -> Structure:
    """The structure with positions rounded to the 1e-9 bohr that ``Structure.content_hash`` sees.

    After that the hash survives an XYZ file, whose own rounding could otherwise tip a coordinate over the edge.
    """
    return structure.with_positions(np.round(structure.positions * 1e9) / 1e9)


def distinct(structures: Iterable[Structure]) -> list[Structure]:
    """The structures without repetitions, first occurrences in their order."""
    first: dict[bytes, Structure] = {}
    for structure in structures:
        first.setdefault(structure.content_hash(), structure)
    return list(first.values())
