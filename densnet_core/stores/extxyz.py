"""Labelled frames in extended XYZ files, with the keys that ASE uses and the units named in every header.

Keys of a header: ``energy``, ``dipole``, ``charge``, ``multiplicity``, and ``energy_unit``, ``length_unit``,
``forces_unit``, ``dipole_unit``; columns: ``species``, ``pos``, ``forces``. Without units in header or options they are
ASE's: eV, angstrom, eV/angstrom, e*angstrom. Isotopes are a column ``masses`` (dalton, as ASE has it) or the symbols D
and T, fragments a column ``fragment`` with ``fragment_charges`` and ``fragment_multiplicities`` in the header. Other
keys that look like units, charge or spin are refused. Orbitals have no place in such a file. Quadrupoles,
polarizabilities and labels that plugins announce are in atomic units, in a key or, per atom, a column of their name;
they are read where the header names the unit, ``NAME_unit``.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import nuclide
from densnet_core.errors import DataError, InputError, nearest
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.stores.file_units import ASE_UNITS, UNITS, Keys, unit_factor
from densnet_core.stores.importing import ImportedFrames, says_electrons, says_units, whole_number
from densnet_core.stores.labels import (
    LABEL_QUANTITIES,
    announced_quantities,
    label_shape,
    labels_of,
    partial_result,
    value_of,
)
from densnet_core.structures import Structure, masses_of, read_fragments, xyz_columns
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

LABELS: Final = ("energy", "forces", "dipole")
REQUIRED: Final = ("energy", "forces")
PROPERTIES: Final = {name: quantity for name, quantity in LABEL_QUANTITIES.items() if name not in LABELS}
"""Built-in labels that are written as those of plugins are: in atomic units, with a key NAME_unit."""
_KEY: Final = re.compile(r"""([^\s="]+)\s*=\s*("(?:[^"\\]|\\.)*"|\{[^}]*\}|\[[^\]]*\]|\S+)""")


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
        Of frames whose header does not say; None means 0 and 1.
    keys : Keys or None
        Names and units other than ASE's.
    quantities : mapping or None
        Labels beyond the built-in ones, read where the header names their unit; None: what the plugins announce.

    Raises
    ------
    DataError
        If the file is not whole, a label is missing, given for some frames only, not finite or possibly misspelt, a
        unit in a header differs from that of ``keys``, or the system is periodic. The message lists the keys found.
    InputError
        If the number of electrons does not suit charge and multiplicity, or a unit is unknown.
    """
    source = Path(path)
    chosen = keys or Keys()
    records: list[tuple[Structure, ReferenceResult]] = []
    ignored: set[str] = set()
    known = {**PROPERTIES, **(announced_quantities() if quantities is None else quantities)}
    with_labels: tuple[str, ...] | None = None
    try:
        with source.open(encoding="utf-8") as file:
            for index, (header, columns) in enumerate(_frames(source, file)):
                frame = _Frame(f"{source}, frame {index}", header, columns, chosen, known)
                labels = frame.labels + tuple(frame.further)
                if with_labels is None:
                    with_labels = labels
                elif labels != with_labels:
                    raise DataError(
                        f"{frame.where} has {', '.join(labels)}, those before have {', '.join(with_labels)}; "
                        f"give every frame the same labels. Found: {frame.found}."
                    )
                records.append(frame.record(charge, multiplicity, source.name))
                ignored |= frame.unknown
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source} cannot be read: {error}.") from error
    if not records:
        raise DataError(f"{source} holds no frame; expected extended XYZ (count, header, one line per atom).")
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


def _frames(source: Path, file: TextIO) -> Iterator[tuple[dict[str, str], dict[str, list[list[str]]]]]:
    """Keys of the header and words by column of every frame."""
    number = 0
    while line := file.readline():
        number += 1
        if not line.strip():
            continue
        try:
            count = int(line)
        except ValueError:
            raise DataError(f"{source}, line {number}: expected the number of atoms, found {line.strip()!r}.") from None
        comment = file.readline()
        pairs = _KEY.findall(comment)
        header = {key: value.strip('"{}[]') for key, value in pairs}
        if len(header) < len(pairs):
            twice = ", ".join(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise DataError(f"{source}, line {number + 1}: the header has {twice} more than once; keep one.")
        rows: list[list[str]] = []
        for _ in range(count):
            row = file.readline()
            if not row.strip():
                raise DataError(f"{source}, line {number}: {count} atoms announced, {len(rows)} lines follow.")
            rows.append(row.split())
        yield header, _columns(f"{source}, line {number + 1}", header, rows)
        number += count + 1


def _columns(where: str, header: dict[str, str], rows: list[list[str]]) -> dict[str, list[list[str]]]:
    words = header.get("Properties", "species:S:1:pos:R:3").split(":")
    columns: dict[str, list[list[str]]] = {}
    start = 0
    try:
        for name, width in zip(words[::3], map(int, words[2::3]), strict=True):
            if width < 1 or name in columns:
                raise ValueError(name)
            columns[name] = [row[start : start + width] for row in rows]
            start += width
    except ValueError:
        raise DataError(
            f"{where}: Properties={':'.join(words)} cannot be read; expected name:type:columns, ..."
        ) from None
    if any(len(species) != 1 for species in columns.get("species", ())):
        raise DataError(f"{where}: Properties={':'.join(words)}; species must be one column.")
    if any(len(row) != start for row in rows):
        raise DataError(
            f"{where}: Properties announce {start} columns; there are {sorted({len(row) for row in rows})}."
        )
    if missing := {"species", "pos"} - set(columns):
        raise DataError(f"{where}: Properties={':'.join(words)} lacks {', '.join(sorted(missing))}.")
    return columns


class _Frame:
    """One frame as the file has it."""

    def __init__(
        self,
        where: str,
        header: dict[str, str],
        columns: dict[str, list[list[str]]],
        keys: Keys,
        quantities: Mapping[str, Quantity],
    ) -> None:
        self.where, self.header, self.columns, self.keys = where, header, columns, keys
        self.found = ", ".join([*sorted(set(header) - {"Properties"}), *(f"column {name}" for name in columns)])
        there = set(header) | set(columns)
        self.labels = tuple(label for label in LABELS if keys.name(label) in there)
        if missing := [keys.name(label) for label in REQUIRED if label not in self.labels]:
            raise DataError(
                f"{where} lacks {', '.join(missing)}. If it is called otherwise, name it (--energy-key, --forces-key). "
                'For geometries alone let a run compute the labels: [sampling] method = "file" and path = FILE. '
                f"Found: {self.found}."
            )
        known = {keys.name(label) for label in LABELS}
        known |= {"Properties", "pbc", "charge", "multiplicity", "species", "pos", "Z", "Lattice", "level_of_theory"}
        known |= {"masses", "fragment", "fragment_charges", "fragment_multiplicities"}
        known |= {f"{quantity}_unit" for quantity in UNITS}
        self.further = {name: q for name, q in sorted(quantities.items()) if name in there and f"{name}_unit" in header}
        known |= {*self.further, *(f"{name}_unit" for name in self.further)}
        self.unknown = there - known
        for name in sorted(self.unknown):
            # A misspelt label must not vanish silently; anything else in the file is none of our business.
            absent = [keys.name(label) for label in LABELS if label not in self.labels]
            if close := difflib.get_close_matches(name.lower(), absent, n=1, cutoff=0.75):
                raise DataError(f"{where}: {name} is not a known key; did you mean {close[0]}? Found: {self.found}.")
        self._check_units_and_electrons()
        periodic = header.get("pbc", "T T T" if "Lattice" in header else "").replace(",", " ").upper().split()
        if set(periodic) - {"F", "FALSE", "0"}:
            raise DataError(f'{where} is periodic; DenSNet computes molecules. Remove Lattice, or set pbc="F F F".')

    def _check_units_and_electrons(self) -> None:
        """``DataError`` where units, charge or spin would be taken to be other than the header says."""
        units = [f"{quantity}_unit" for quantity in UNITS]
        for name in sorted(self.unknown & set(self.header)):
            of_unknown = name.lower().endswith(("_unit", "_units")) and name.rpartition("_")[0] in self.unknown
            if says_electrons(name) or (says_units(name) and not of_unknown):
                known = ["charge", "multiplicity"] if says_electrons(name) else units
                raise DataError(
                    f"{self.where}: {name} is not a known key and would not be read. {nearest(name.lower(), known)} "
                    f"Rename or remove it. Found: {self.found}."
                )
        named = {quantity for quantity in UNITS if f"{quantity}_unit" in self.header}
        others = {
            quantity
            for quantity in named - {"dipole"}
            if unit_factor(quantity, self.header[f"{quantity}_unit"]) != unit_factor(quantity, ASE_UNITS[quantity])
        }
        wanted = {"length", *self.labels} - named - set(self.keys.units)
        if others and wanted:
            raise DataError(
                f"{self.where}: the header gives a unit of {', '.join(sorted(others))} that is not ASE's, and none of "
                f"{', '.join(sorted(wanted))}; name all of them, in the header or by --{sorted(wanted)[0]}-unit."
            )

    def record(self, charge: int | None, multiplicity: int | None, name: str) -> tuple[Structure, ReferenceResult]:
        try:
            structure = self._structure(charge, multiplicity)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from error
        labels: dict[str, Any] = {}
        for label in self.labels:
            key = self.keys.name(label)
            words: Any = self.columns[key] if key in self.columns else self.header[key].replace(",", " ").split()
            labels[label] = self._values(label, words, label_shape(LABEL_QUANTITIES[label], structure.n_atoms))
        labels["energy"] = float(labels["energy"])
        more = {name: self._further(name, quantity, structure.n_atoms) for name, quantity in self.further.items()}
        labels |= {name: more.pop(name) for name in PROPERTIES if name in more}
        return structure, partial_result(labels, provenance={"imported from": name}, more=more)

    def _further(self, name: str, quantity: Quantity, n_atoms: int) -> NDArray[np.float64]:
        """A label beyond energy, forces and dipole, which is in atomic units."""
        unit, shape = self.header[f"{name}_unit"], (3,) * quantity.rank
        if unit.replace(" ", "*").lower() != _as_word(quantity.unit).lower():
            raise DataError(
                f"{self.where}: {name} is in {unit!r}; it is read in {_as_word(quantity.unit)!r}. Convert it."
            )
        if quantity.per == "atom":
            words: Any = self.columns.get(name, [])
            return self._floats(name, words, (n_atoms, 3**quantity.rank)).reshape(n_atoms, *shape)
        words = self.header.get(name, "").replace(",", " ").split()
        return self._floats(name, words, (3**quantity.rank,)).reshape(shape)

    def _structure(self, charge: int | None, multiplicity: int | None) -> Structure:
        atoms = [nuclide(name) for (name,) in self.columns["species"]]
        total = whole_number(f"{self.where}: charge", self.header.get("charge", charge or 0))
        usual = 1 if multiplicity is None else multiplicity
        spin = whole_number(f"{self.where}: multiplicity", self.header.get("multiplicity", usual))
        masses = masses_of(atoms)
        if "masses" in self.columns:
            masses = self._floats("masses", self.columns["masses"], (len(atoms), 1))[:, 0]
        labels = [word for row in self.columns.get("fragment", ()) for word in row]
        return Structure(
            np.array([number for number, _ in atoms]),
            self._values("length", self.columns["pos"], (len(atoms), 3)),
            total,
            spin,
            masses,
            read_fragments(self.where, labels, self.header, total, spin) if labels else (),
        )

    def _values(self, quantity: str, words: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Numbers in atomic units."""
        values = self._floats(quantity, words, shape)
        given, asked = self.header.get(f"{quantity}_unit"), self.keys.units.get(quantity)
        if given is not None and asked is not None and unit_factor(quantity, given) != unit_factor(quantity, asked):
            raise DataError(f"{self.where}: the header gives {quantity} in {given}, the option in {asked}.")
        return np.asarray(values / unit_factor(quantity, given or asked or ASE_UNITS[quantity]))

    def _floats(self, quantity: str, words: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Finite numbers of a shape, as the file has them."""
        try:
            values = np.array(words, dtype=np.float64)
            if shape == () and values.shape == (1,):
                values = values[0]
        except ValueError:
            raise DataError(f"{self.where}: {quantity} is not made of numbers. Found: {self.found}.") from None
        if values.shape != shape:
            raise DataError(f"{self.where}: {quantity} must have shape {shape}, not {values.shape}.")
        if not np.isfinite(values).all():
            raise DataError(f"{self.where}: {quantity} is not finite. Found: {self.found}.")
        return values
