"""Molecular geometries: the record that every other part of the package takes and returns."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import atomic_weight, nuclide, nuclide_symbol, symbol
from densnet_core.errors import InputError
from densnet_core.fragments import Fragment, check_fragments, check_spin, fragment_labels, fragments_from
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structure:
    """Nuclei, charge and spin of a molecule, or of several that are fragments of it.

    Parameters
    ----------
    numbers : (n_atoms,) int64
        Atomic numbers.
    positions : (n_atoms, 3) float64
        Cartesian positions in bohr.
    charge : int
        Total charge in units of e.
    multiplicity : int
        Spin multiplicity 2S+1.
    isotope_masses : (n_atoms,) float64 or None
        Masses of the nuclei, dalton; None means the standard atomic weights. What moves depends on them, no label does.
    fragments : tuple of Fragment
        How atoms, charge and spin are divided among molecules; empty: all are one.

    Raises
    ------
    InputError
        For wrong shapes, non-finite positions, unknown elements, a multiplicity the electrons cannot have, masses that
        are not positive, or fragments that do not make up the whole.
    """

    numbers: NDArray[np.int64]
    positions: Array
    charge: int = 0
    multiplicity: int = 1
    isotope_masses: Array | None = None
    fragments: tuple[Fragment, ...] = ()

    def __post_init__(self) -> None:
        numbers = np.ascontiguousarray(self.numbers, dtype=np.int64)
        positions = np.ascontiguousarray(self.positions, dtype=np.float64)
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", positions)
        if numbers.ndim != 1 or numbers.size == 0:
            raise InputError(f"numbers must be a non-empty one-dimensional array, not of shape {numbers.shape}.")
        if positions.shape != (numbers.size, 3):
            raise InputError(f"positions must have shape ({numbers.size}, 3), not {positions.shape}.")
        if not np.isfinite(positions).all():
            raise InputError("positions contain values that are not finite.")
        for number in np.unique(numbers):
            symbol(int(number))
        check_spin(self.n_electrons, self.charge, self.multiplicity)
        if self.isotope_masses is not None:
            masses = np.ascontiguousarray(self.isotope_masses, dtype=np.float64)
            object.__setattr__(self, "isotope_masses", masses)
            if masses.shape != numbers.shape or not (np.isfinite(masses) & (masses > 0)).all():
                raise InputError(f"Isotope masses must be {numbers.size} positive numbers in dalton, not {masses}.")
        object.__setattr__(self, "fragments", tuple(self.fragments))
        if self.fragments:
            check_fragments(self.fragments, numbers, self.charge, self.multiplicity)

    @property
    def n_atoms(self) -> int:
        return int(self.numbers.size)

    @property
    def n_electrons(self) -> int:
        return int(self.numbers.sum()) - self.charge

    @property
    def n_alpha(self) -> int:
        """Electrons of the spin that has more."""
        return (self.n_electrons + self.multiplicity - 1) // 2

    @property
    def masses(self) -> Array:
        """(n_atoms,) masses of the nuclei in dalton: those given, or the standard atomic weights."""
        if self.isotope_masses is not None:
            return self.isotope_masses
        return np.array([atomic_weight(int(z)) for z in self.numbers])

    @property
    def parts(self) -> tuple[Fragment, ...]:
        """The fragments; without any, one of all atoms with the structure's charge and multiplicity."""
        return self.fragments or (Fragment(tuple(range(self.n_atoms)), self.charge, self.multiplicity),)

    @property
    def formula(self) -> str:
        """Hill formula, for example ``C2H6O``."""
        names = [symbol(int(z)) for z in self.numbers]
        first = ["C", "H"] if "C" in names else []
        order = first + sorted(set(names) - set(first))
        return "".join(n + (str(names.count(n)) if names.count(n) > 1 else "") for n in order if n in names)

    def with_positions(self, positions: Array) -> Structure:
        """The same molecule at other positions (n_atoms, 3), bohr."""
        return replace(self, positions=positions)

    def content_hash(self) -> bytes:
        """SHA-256 (32 bytes) of numbers, charge, multiplicity and positions rounded to 1e-9 bohr.

        Two frames with equal hash are the same calculation; splits and stores are keyed by it. Isotopes and the
        division into fragments change no label and are not part of it.
        """
        rounded = np.round(self.positions * 1e9).astype("<i8")
        digest = hashlib.sha256(b"densnet-structure-1")
        digest.update(np.array([self.charge, self.multiplicity, self.n_atoms], dtype="<i8").tobytes())
        digest.update(self.numbers.astype("<i8").tobytes())
        digest.update(rounded.tobytes())
        return digest.digest()

    def __str__(self) -> str:
        rows = [
            f"{name:<2} {x:14.8f} {y:14.8f} {w:14.8f}"
            for name, (x, y, w) in zip(_symbols(self, True), self.positions * BOHR_TO_ANGSTROM, strict=True)
        ]
        head = f"{self.formula}, charge {self.charge}, multiplicity {self.multiplicity}, positions in angstrom"
        return "\n".join([head, *rows])


def read_xyz(path: str | Path, charge: int = 0, multiplicity: int = 1) -> list[Structure]:
    """All frames of an XYZ file (angstrom), as ``Structure`` in bohr.

    ``D`` and ``T`` are hydrogen of those masses. Of an extended XYZ file the columns ``masses`` (dalton) and
    ``fragment`` (an integer for each atom; with ``fragment_charges="0 1"`` and ``fragment_multiplicities="1 1"`` in the
    header, in ascending order of it) are read. Otherwise only what contradicts the reading is looked at: other columns
    before the positions, another unit of length, a charge or multiplicity where the usual one is asked for.

    Raises
    ------
    InputError
        If the file is missing or a line cannot be read or means something else; the message names file and line.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"Cannot read the geometry {source}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not text in UTF-8 ({error}); save it as such.") from error
    frames: list[Structure] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        frames.append(_read_frame(source, lines, at, charge, multiplicity))
        at += frames[-1].n_atoms + 2
    if not frames:
        raise InputError(f"{source} holds no geometry; expected the XYZ format (count, comment, one line per atom).")
    return frames


def _is_number(text: str, value: int) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


_COLUMNS = re.compile(r"(species:S:1|Z:I:1):pos:R:3(:|$)")
_KEY = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|\S+)")


def _read_header(where: str, header: str, charge: int, multiplicity: int) -> dict[str, str]:
    """The keys of a comment line; refused if it says that the frame is not what will be read."""
    said = {key.lower(): value.strip('" ') for key, value in _KEY.findall(header)}
    if not _COLUMNS.match(said.get("properties", "species:S:1:pos:R:3")):
        raise InputError(f"{where}: the columns are {said['properties']!r}; expected species:S:1:pos:R:3 first.")
    if (unit := said.get("length_unit", "angstrom").lower()) not in ("angstrom", "ang", "å"):
        raise InputError(f"{where}: lengths are in {unit!r}; expected angstrom. Convert them.")
    # Geometries of a neutral molecule may serve for its ion, but nobody asked for a neutral one of an ion's.
    for name, value, usual in (("charge", charge, 0), ("multiplicity", multiplicity, 1)):
        if value == usual and not _is_number(said.get(name, str(value)), value):
            raise InputError(f"{where}: the frame has {name} {said[name]}; ask for that {name}, found {value}.")
    return said


def _place(where: str, said: Mapping[str, str], column: str, kind: str) -> int | None:
    """In which of the fields of a line the column of an extended XYZ file stands; None if it has no such column."""
    start = 0
    for name, kind_there, width in re.findall(r"(\w+):(\w):(\d+)", said.get("properties", "")):
        if name == column:
            if (kind_there, width) != (kind, "1"):
                raise InputError(f"{where}: there is a column {name}:{kind_there}:{width}; expected {name}:{kind}:1.")
            return start
        start += int(width)
    return None


def read_fragments(
    where: str, labels: Sequence[str], header: Mapping[str, str], charge: int, multiplicity: int
) -> tuple[Fragment, ...]:
    """Fragments of an extended XYZ frame from the words of the column ``fragment`` and the header.

    A single fragment whose charge and multiplicity the header does not say has those of the frame.
    """
    try:
        keys = ("fragment_charges", "fragment_multiplicities")
        charges, multiplicities = (
            [int(word) for word in header[key].replace(",", " ").split()] if key in header else None for key in keys
        )
        found = [int(label) for label in labels]
    except ValueError:
        raise InputError(f"{where}: fragments, their charges and multiplicities must be whole numbers.") from None
    if len(set(found)) == 1:
        charges, multiplicities = charges or [charge], multiplicities or [multiplicity]
    return fragments_from(found, charges, multiplicities)


def _read_frame(source: Path, lines: list[str], at: int, charge: int, multiplicity: int) -> Structure:
    try:
        count = int(lines[at].split()[0])
    except ValueError:
        raise InputError(f"{source}, line {at + 1}: expected the number of atoms, found {lines[at]!r}.") from None
    rows = lines[at + 2 : at + 2 + count]
    if count < 1 or len(rows) < count:
        raise InputError(f"{source}, line {at + 1}: {count} atoms announced, {len(rows)} lines follow.")
    where = f"{source}, line {at + 2}"
    said = _read_header(where, lines[at + 1], charge, multiplicity)
    mass_at, fragment_at = _place(where, said, "masses", "R"), _place(where, said, "fragment", "I")
    atoms, positions, labels = [], [], []
    for offset, row in enumerate(rows):
        fields, reason = row.split(), ""
        try:
            number, mass = nuclide(fields[0])
            atoms.append((number, mass if mass_at is None else float(fields[mass_at])))
            labels += [] if fragment_at is None else [fields[fragment_at]]
            positions.append([float(value) for value in fields[1:4]])
        except (IndexError, ValueError) as error:
            positions.append([])
            reason = f" {error}" if isinstance(error, InputError) else ""
        if len(positions[-1]) != 3:
            more = "".join(f" {name}" for name, place in (("mass", mass_at), ("fragment", fragment_at)) if place)
            raise InputError(f"{source}, line {at + 3 + offset}: expected 'symbol x y z{more}', found {row!r}.{reason}")
    try:
        return Structure(
            np.array([number for number, _ in atoms]),
            np.array(positions) / BOHR_TO_ANGSTROM,
            charge,
            multiplicity,
            masses_of(atoms),
            read_fragments(where, labels, said, charge, multiplicity) if labels else (),
        )
    except InputError as error:
        raise InputError(f"{source}, line {at + 1}: {error}") from error


def masses_of(atoms: Sequence[tuple[int, float | None]]) -> Array | None:
    """Isotope masses of atoms given as atomic number and mass (None: the standard weight); None if none has a mass."""
    if all(mass is None for _, mass in atoms):
        return None
    return np.array([atomic_weight(number) if mass is None else mass for number, mass in atoms])


def xyz_columns(structure: Structure, *, name_isotopes: bool) -> tuple[list[str], list[str], dict[str, str], list[str]]:
    """What an XYZ frame says of elements, isotopes and fragments.

    Parameters
    ----------
    structure : Structure
    name_isotopes : bool
        Call deuterium and tritium D and T where that says all of the masses; else there is a column of masses.

    Returns
    -------
    symbols : list of str
        Of each atom.
    columns : list of str
        Further columns after the positions, as ``Properties`` names them.
    header : dict
        Further keys.
    rows : list of str
        Of each atom the fields of these columns.
    """
    symbols, columns, header = _symbols(structure, name_isotopes), [], {}
    fields: list[list[str]] = [[] for _ in range(structure.n_atoms)]
    if structure.isotope_masses is not None:
        named = masses_of([nuclide(name) for name in symbols])
        if named is None or not np.array_equal(named, structure.isotope_masses):
            columns.append("masses:R:1")
            for words, mass in zip(fields, structure.isotope_masses.tolist(), strict=True):
                words.append(repr(mass))
    if structure.fragments:
        columns.append("fragment:I:1")
        for words, label in zip(fields, fragment_labels(structure.fragments, structure.n_atoms), strict=True):
            words.append(str(label))
        header["fragment_charges"] = " ".join(str(fragment.charge) for fragment in structure.fragments)
        header["fragment_multiplicities"] = " ".join(str(fragment.multiplicity) for fragment in structure.fragments)
    return symbols, columns, header, [" ".join(words) for words in fields]


def _symbols(structure: Structure, name_isotopes: bool) -> list[str]:
    """Symbols of the atoms; with ``name_isotopes`` D and T for hydrogen of those masses."""
    masses = structure.masses if name_isotopes else np.zeros(structure.n_atoms)
    return [nuclide_symbol(int(z), float(mass)) for z, mass in zip(structure.numbers, masses, strict=True)]


def write_xyz(path: str | Path, structures: list[Structure]) -> None:
    """Write structures as XYZ frames in angstrom with 12 decimals, a thousandth of what ``content_hash`` resolves."""
    blocks = []
    for structure in structures:
        symbols, columns, more, fields = xyz_columns(structure, name_isotopes=True)
        comment = f"charge={structure.charge} multiplicity={structure.multiplicity}"
        comment += "".join(f' {key}="{value}"' for key, value in more.items())
        if columns:
            comment = f"Properties=species:S:1:pos:R:3:{':'.join(columns)} {comment}"
        rows = [
            f"{name:<2} {x:18.12f} {y:18.12f} {w:18.12f} {further}".rstrip()
            for name, (x, y, w), further in zip(symbols, structure.positions * BOHR_TO_ANGSTROM, fields, strict=True)
        ]
        blocks.append("\n".join([str(structure.n_atoms), comment, *rows]))
    Path(path).write_text("\n".join(blocks) + "\n", encoding="utf-8")
