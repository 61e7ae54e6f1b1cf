"""Labelled frames in extended XYZ files, with the keys that ASE uses and the units named in every header.

Geometry, charge, spin, isotopes and fragments are read as from every XYZ file (``densnet_core.structures.read_xyz``).
Labels are the keys ``energy`` and ``dipole`` and the column ``forces``; without ``energy_unit``, ``forces_unit`` and
``dipole_unit`` in header or options they are in ASE's units: eV, eV/angstrom, e*angstrom. Orbitals have no place in
such a file. Quadrupoles, polarizabilities and labels that plugins announce are in atomic units, in a key or, per atom,
a column of their name; they are read where the header names the unit, ``NAME_unit``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError
from densnet_core.files.header import LABELS, check_header, factor
from densnet_core.files.units import ASE_UNITS, Keys
from densnet_core.files.xyz import XYZFrame, read_frames
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.stores.importing import ImportedFrames
from densnet_core.stores.labels import (
    LABEL_QUANTITIES,
    announced_quantities,
    label_shape,
    labels_of,
    partial_result,
    value_of,
)
from densnet_core.structures import Structure, structure_of, xyz_columns
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

REQUIRED: Final = ("energy", "forces")
PROPERTIES: Final = {name: quantity for name, quantity in LABEL_QUANTITIES.items() if name not in LABELS}
"""Built-in labels that are written as those of plugins are: in atomic units, with a key NAME_unit."""


def read_extxyz(
    path: str | Path,
    charge: int | None = None,
    multiplicity: int | None = None,
    keys: Keys | None = None,
    quantities: Mapping[str, Quantity] | None = None,
) -> ImportedFrames:
    """Frames of an extended XYZ file.

    Parameters
    ----------
    path : path
    charge, multiplicity : int or None
        Of frames that do not say, and what those that do must say; None means 0 and 1.
    keys : Keys or None
        Names and units other than ASE's.
    quantities : mapping or None
        Labels beyond the built-in ones, read where the header names their unit; None: what the plugins announce.

    Raises
    ------
    DataError
        If the file is not whole, a label is missing, given for some frames only, not finite or possibly misspelt, a
        unit in a header differs from that of ``keys``, or ``read_xyz`` would refuse the frame. The message lists the
        keys found.
    InputError
        If the number of electrons does not suit charge and multiplicity, or a unit is unknown.
    """
    chosen = keys or Keys()
    records: list[tuple[Structure, ReferenceResult]] = []
    ignored: set[str] = set()
    known = {**PROPERTIES, **(announced_quantities() if quantities is None else quantities)}
    with_labels: tuple[str, ...] | None = None
    for frame in read_frames(path):
        labelled = _Labels(frame, chosen, known)
        labels = labelled.present + tuple(labelled.further)
        if with_labels is None:
            with_labels = labels
        elif labels != with_labels:
            raise DataError(
                f"{frame.where} has {', '.join(labels)}, those before have {', '.join(with_labels)}; "
                f"give every frame the same labels. Found: {frame.found}."
            )
        structure = structure_of(frame, charge, multiplicity, chosen.units.get("length"))
        records.append((structure, labelled.result(structure)))
        ignored |= labelled.unknown
    described = {name: known[name] for name in with_labels or () if name in known and name not in PROPERTIES}
    return ImportedFrames(records, {}, tuple(sorted(ignored)), quantities=described)


def write_extxyz(
    file: TextIO,
    frames: Iterable[tuple[Structure, ReferenceResult]],
    quantities: Mapping[str, Quantity] | None = None,
    **more: str,
) -> None:
    """Write frames in ASE's units, which every header names; what a frame lacks is left out.

    Parameters
    ----------
    file : text file
    frames : iterable of (structure, result)
        Orbitals are not written.
    quantities : mapping or None
        What the labels beyond the built-in ones are; they are written in their own units.
    **more
        Further keys of every header, for example the level of theory.
    """
    angstrom, forces_unit = BOHR_TO_ANGSTROM, EV_PER_ANGSTROM
    for structure, result in frames:
        present = labels_of(result)
        # A column of masses and not D and T, which ASE does not know.
        symbols, columns, more_keys, fields = xyz_columns(structure, name_isotopes=False)
        forces = ["forces:R:3"] if "forces" in present else []
        keys = {
            "Properties": ":".join(["species:S:1:pos:R:3", *forces]),
            "pbc": "F F F",
            "charge": str(structure.charge),
            "multiplicity": str(structure.multiplicity),
            "length_unit": ASE_UNITS["length"],
        }
        if "energy" in present:
            keys |= {"energy": repr(result.energy * HARTREE_TO_EV), "energy_unit": ASE_UNITS["energy"]}
        if "forces" in present:
            keys["forces_unit"] = ASE_UNITS["forces"]
        if "dipole" in present:
            keys |= {"dipole": _numbers(result.dipole * angstrom), "dipole_unit": ASE_UNITS["dipole"]}
        table = [structure.positions * angstrom]
        if "forces" in present:
            table.append(result.forces * forces_unit)
        further = {**PROPERTIES, **(quantities or {})}
        for name in present:
            if name not in further:
                continue
            keys[f"{name}_unit"] = _as_word(further[name].unit)
            if further[name].per == "molecule":
                keys[name] = _numbers(np.ravel(value_of(result, name)))
            else:
                table.append(np.reshape(value_of(result, name), (structure.n_atoms, -1)))
                keys["Properties"] += f":{name}:R:{table[-1].shape[1]}"
        keys["Properties"] = ":".join([keys["Properties"], *columns])
        text = " ".join(
            f'{key}="{value}"' if " " in value else f"{key}={value}" for key, value in (keys | more_keys | more).items()
        )
        rows = (
            f"{name:<2} {_numbers(row)} {rest}".rstrip()
            for name, row, rest in zip(symbols, np.hstack(table), fields, strict=True)
        )
        file.write("\n".join([str(structure.n_atoms), text, *rows]) + "\n")


def _as_word(unit: str) -> str:
    return unit.replace(" ", "*") or "1"


def _numbers(values: NDArray[Any]) -> str:
    return " ".join(repr(float(value)) for value in values)


class _Labels:
    """The labels of one frame as the file has them."""

    def __init__(self, frame: XYZFrame, keys: Keys, quantities: Mapping[str, Quantity]) -> None:
        self.frame, self.keys = frame, keys
        for quantity in set(keys.units):
            self._factor(quantity)
        there = set(frame.header) | set(frame.columns)
        names = {label: keys.name(label) for label in LABELS}
        self.present = tuple(label for label in LABELS if names[label] in there)
        if missing := [names[label] for label in REQUIRED if label not in self.present]:
            raise DataError(
                f"{frame.where} lacks {', '.join(missing)}. If it is called otherwise, name it (--energy-key, "
                '--forces-key). For geometries alone let a run compute the labels: [sampling] method = "file" and '
                f"path = FILE. Found: {frame.found}."
            )
        self.further = {
            name: q for name, q in sorted(quantities.items()) if name in there and f"{name}_unit" in frame.header
        }
        self.unknown = check_header(frame, names, keys.units)
        self.unknown -= {*self.further, *(f"{name}_unit" for name in self.further), "level_of_theory"}
        absent = [names[label] for label in LABELS if label not in self.present]
        for name in sorted(self.unknown):
            # A misspelt label must not vanish silently.
            if close := difflib.get_close_matches(name.lower(), absent, n=1, cutoff=0.75):
                raise DataError(
                    f"{frame.where}: {name} is not a known key; did you mean {close[0]}? Found: {frame.found}."
                )

    def result(self, structure: Structure) -> ReferenceResult:
        labels: dict[str, Any] = {}
        for label in self.present:
            values = self.frame.floats(
                label, self.keys.name(label), label_shape(LABEL_QUANTITIES[label], structure.n_atoms)
            )
            labels[label] = values / self._factor(label)
        labels["energy"] = float(labels["energy"])
        more = {name: self._further(name, quantity, structure.n_atoms) for name, quantity in self.further.items()}
        labels |= {name: more.pop(name) for name in PROPERTIES if name in more}
        return partial_result(labels, provenance={"imported from": self.frame.source.name}, more=more)

    def _further(self, name: str, quantity: Quantity, n_atoms: int) -> NDArray[np.float64]:
        """A label beyond energy, forces and dipole, which is in atomic units."""
        unit, shape = self.frame.header[f"{name}_unit"], (3,) * quantity.rank
        if unit.replace(" ", "*").lower() != _as_word(quantity.unit).lower():
            raise DataError(
                f"{self.frame.where}: {name} is in {unit!r}; it is read in {_as_word(quantity.unit)!r}. Convert it."
            )
        per_atom = (n_atoms,) if quantity.per == "atom" else ()
        return self.frame.floats(name, name, (*per_atom, 3**quantity.rank)).reshape((*per_atom, *shape))

    def _factor(self, quantity: str) -> float:
        """Value of one atomic unit as the file has it."""
        given, asked = self.frame.header.get(f"{quantity}_unit"), self.keys.units.get(quantity)
        if (
            given is not None
            and asked is not None
            and factor(self.frame, quantity, given) != factor(self.frame, quantity, asked)
        ):
            raise DataError(f"{self.frame.where}: the header gives {quantity} in {given}, the option in {asked}.")
        return factor(self.frame, quantity, given or asked or ASE_UNITS[quantity])
