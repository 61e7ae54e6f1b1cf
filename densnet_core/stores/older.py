"""Reference stores of format versions 1 and 2: read as they are, and rewritten by ``densnet data upgrade``.

They had a bit of a mask for each label, in the order of ``LABELS``, and fill values where a frame lacked one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.stores.arrays import AnyArray, Column
from densnet_core.stores.labels import LABELS
from densnet_core.stores.layout import COLUMNS, LABEL_COLUMNS, FrameTable, rows_of_label
from densnet_core.stores.table import Frame

_FIRST: Final = (
    Column("hash", "|u1", "1", "(n_frames, 32); SHA-256 content hash of the structure", (32,)),
    Column("charge", "<i4", "e", "(n_frames,); total charge"),
    Column("multiplicity", "<i4", "1", "(n_frames,); spin multiplicity 2S+1"),
    Column("labels", "|u1", "1", "(n_frames,); sum of the bits of the labels a frame has, energy being 1"),
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
_SECOND: Final = (
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
OLDER_COLUMNS: Final[dict[int, tuple[Column, ...]]] = {1: _FIRST, 2: _FIRST + _SECOND}
"""The arrays by the format version of a store."""


class OlderFrameTable(FrameTable):
    """The frames of an older store, seen as those of today are."""

    def rows(self, column: str, index: int) -> AnyArray:
        if column not in self.present(index):
            return np.empty(0)
        return rows_of_label(self.value(column, index), LABEL_COLUMNS[column])

    def presence(self, column: str) -> NDArray[np.bool_]:
        if column not in self.columns or column not in LABELS:
            return np.zeros(len(self), bool)
        return np.asarray(self.whole("labels") >> LABELS.index(column) & 1, dtype=bool)

    def present(self, index: int) -> tuple[str, ...]:
        return _labels(int(self.value("labels", index)))

    def all_rows(self, column: str) -> AnyArray:
        return self.whole(column)[self.presence(column)]

    def today(self, frame: Frame) -> Frame:
        names = _labels(int(frame["labels"]))
        labels = {name: rows_of_label(frame[name], LABEL_COLUMNS[name]) for name in names if name in frame}
        return {**{column.name: frame[column.name] for column in COLUMNS}, **labels}


def _labels(mask: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(LABELS) if mask >> bit & 1)
