"""The arrays of a reference store, and how a frame becomes rows of them and a frame again.

What every frame has stands in fixed columns. Labels, isotope masses and fragments are optional columns: a frame owns
rows of those that it has, and a store has the arrays of those that one of its frames has. A label that a plugin
announced is in the column ``label_NAME``; the record of its ``Quantity`` is kept with the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis
from densnet_core.errors import InputError
from densnet_core.fragments import fragment_labels, fragments_from
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.stores.arrays import AnyArray, Column
from densnet_core.stores.labels import LABEL_QUANTITIES, LABELS, check_labels, value_of
from densnet_core.stores.table import Frame, Table
from densnet_core.structures import Structure

FORMAT: Final = 3
"""Version of the format that is written."""
COLUMNS: Final = (
    Column("hash", "|u1", "1", "(n_frames, 32); SHA-256 content hash of the structure", (32,)),
    Column("charge", "<i4", "e", "(n_frames,); total charge"),
    Column("multiplicity", "<i4", "1", "(n_frames,); spin multiplicity 2S+1"),
    Column("seconds", "<f8", "s", "(n_frames,); wall time of the calculation"),
    Column("provenance", "<i4", "1", "(n_frames,); index into the group's attribute 'provenance'"),
    Column("numbers", "<i2", "1", "(n_atoms of all frames,); atomic numbers", axis="atom", chunk_rows=8192),
    Column("positions", "<f8", "bohr", "(n_atoms of all frames, 3)", (3,), "atom", chunk_rows=4096),
)
"""What every frame has."""


def _optional(
    name: str, unit: str, meaning: str, shape: tuple[int, ...] = (), rows: int = 1024, dtype: str = "<f8"
) -> Column:
    return Column(name, dtype, unit, meaning, shape, name, rows)


def _of_quantity(name: str, quantity: Quantity) -> Column:
    of_atoms = quantity.per == "atom"
    shape = (3,) * quantity.rank
    leading = "n_atoms of the frames with it" if of_atoms else "n_frames with it"
    sizes = ", ".join([leading, *map(str, shape)]) + ("" if shape else ",")
    meaning = f"({sizes}); {quantity.summary or quantity.name}"
    return _optional(name, quantity.unit, meaning, shape, 4096 if of_atoms else 1024)


LABEL_COLUMNS: Final = {
    **{name: _of_quantity(name, quantity) for name, quantity in LABEL_QUANTITIES.items()},
    "orbitals": _optional(
        "orbitals",
        "1",
        "occupied orbitals in the core's convention, each frame (n_basis, n_occupied) in C order",
        rows=65536,
    ),
    "occupations": _optional(
        "occupations", "electrons", "(n_occupied of the frames with it,); electrons in each orbital", rows=4096
    ),
    "response": _optional(
        "response",
        "e bohr/hartree",
        "change of the occupied orbitals in a uniform field, each frame (3, n_basis, n_occupied) in C order",
        rows=65536,
    ),
}
"""Columns of the built-in labels."""
ISOTOPE_MASS: Final = _optional("isotope_mass", "dalton", "(n_atoms of the frames with it,)", (), 8192)
FRAGMENT: Final = _optional("fragment", "1", "(n_atoms of the frames with it,); fragment of each atom", (), 8192, "<i4")
FRAGMENT_STATE: Final = _optional(
    "fragment_state", "e, 1", "(n_fragments of the frames with it, 2); charge and spin multiplicity", (2,), dtype="<i4"
)
OF_STRUCTURE: Final = {column.name: column for column in (ISOTOPE_MASS, FRAGMENT, FRAGMENT_STATE)}
"""Optional columns that belong to the structure and are no labels."""
_PREFIX: Final = "label_"
_BUILT_IN: Final = {**LABEL_COLUMNS, **OF_STRUCTURE}


def column_name(label: str) -> str:
    """The column of a label."""
    return label if label in LABELS else _PREFIX + label


def label_name(column: str) -> str | None:
    """The label that an optional column holds; None for what belongs to the structure."""
    return column if column in LABELS else column.removeprefix(_PREFIX) if column.startswith(_PREFIX) else None


def optional_column(name: str, quantities: Mapping[str, Quantity]) -> Column:
    """An optional column by name, for a label beyond the built-in ones from its ``Quantity``."""
    return _BUILT_IN[name] if name in _BUILT_IN else _of_quantity(name, quantities[name.removeprefix(_PREFIX)])


def frame_rows(
    structure: Structure,
    result: ReferenceResult,
    orbital_basis: Basis | None,
    quantities: Mapping[str, Quantity] | None = None,
) -> dict[str, Any]:
    """Rows of one frame by column, its labels checked; ``provenance`` is left to the store.

    Parameters
    ----------
    structure : Structure
    result : ReferenceResult
        Possibly with labels missing (see ``densnet_core.stores.labels``).
    orbital_basis : Basis or None
        What the store knows of the orbitals' basis.
    quantities : mapping
        What the labels beyond the built-in ones are.

    Raises
    ------
    InputError
        If a label is unknown, not finite or of the wrong shape, or the orbitals do not fit the orbital basis.
    """
    present = check_labels(structure, result, quantities)
    if "orbitals" in present:
        _check_orbital_basis(structure, len(result.orbitals), orbital_basis)
    rows: dict[str, Any] = {
        "hash": np.frombuffer(structure.content_hash(), np.uint8),
        "charge": np.int32(structure.charge),
        "multiplicity": np.int32(structure.multiplicity),
        "seconds": np.float64(result.seconds),
        "numbers": structure.numbers,
        "positions": structure.positions,
    }
    if structure.isotope_masses is not None:
        rows[ISOTOPE_MASS.name] = structure.isotope_masses
    if structure.fragments:
        rows[FRAGMENT.name] = fragment_labels(structure.fragments, structure.n_atoms)
        rows[FRAGMENT_STATE.name] = np.array([(part.charge, part.multiplicity) for part in structure.fragments])
    for label in present:
        name = column_name(label)
        rows[name] = rows_of_label(value_of(result, label), optional_column(name, quantities or {}))
    return rows


def rows_of_label(value: Any, column: Column) -> NDArray[np.float64]:
    """(n_rows, \\*shape) rows of an optional column: a single one for a value of the molecule."""
    return np.asarray(value, dtype=np.float64).reshape(-1, *column.shape)


def label_values(rows: Mapping[str, AnyArray], quantities: Mapping[str, Quantity]) -> dict[str, Any]:
    """Labels by name, in the shapes of ``ReferenceResult``, from the rows of a frame in the columns of labels."""
    known = {**LABEL_QUANTITIES, **quantities}
    values: dict[str, Any] = {}
    for name, found in rows.items():
        label = label_name(name)
        if label is None or not len(found):
            continue
        quantity = known.get(label)
        values[label] = np.array(found[0] if quantity is not None and quantity.per == "molecule" else found)
    if "energy" in values:
        values["energy"] = float(values["energy"])
    if "orbitals" in values:
        values["orbitals"] = values["orbitals"].reshape(-1, len(values["occupations"]))
    if "response" in values:
        values["response"] = values["response"].reshape(3, *values["orbitals"].shape)
    return values


def structure_of(rows: Mapping[str, Any]) -> Structure:
    """The structure in the rows of a frame; ``InputError`` if they are damaged."""
    masses, labels = rows.get(ISOTOPE_MASS.name, ()), rows.get(FRAGMENT.name, ())
    states = np.reshape(rows.get(FRAGMENT_STATE.name, ()), (-1, 2)).T.tolist()
    return Structure(
        np.array(rows["numbers"], dtype=np.int64),
        np.array(rows["positions"]),
        int(rows["charge"]),
        int(rows["multiplicity"]),
        np.array(masses) if len(masses) else None,
        fragments_from(labels, *states) if len(labels) else (),
    )


class FrameTable(Table):
    """The frames of a reference store in the format of today."""

    _presence: list[tuple[str, NDArray[np.bool_]]] | None = None
    """Optional columns and which frames have them, once asked for."""

    def rows(self, column: str, index: int) -> AnyArray:
        """The rows of a frame in an optional column; none if it has none. Not to be modified."""
        return self.value(column, index) if column in self.columns else np.empty(0)

    def presence(self, column: str) -> NDArray[np.bool_]:
        """(n_frames,) which frames have rows of an optional column."""
        if column not in self.columns:
            return np.zeros(len(self), bool)
        return np.asarray(np.diff(self.whole(f"{column}_offsets")) > 0)

    def present(self, index: int) -> tuple[str, ...]:
        """The optional columns of which a frame has rows."""
        if self._presence is None:
            names = (name for name, column in self.columns.items() if column.optional)
            self._presence = [(name, self.presence(name)) for name in names]
        return tuple(name for name, there in self._presence if there[index])

    def all_rows(self, column: str) -> AnyArray:
        """The rows of all frames in an optional column. Not to be modified."""
        return self.whole(column) if column in self.columns else np.empty(0)

    def _forget(self) -> None:
        super()._forget()
        self._presence = None

    def today(self, frame: Frame) -> Frame:
        """Rows of ``block`` as ``append`` takes them."""
        return frame


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
