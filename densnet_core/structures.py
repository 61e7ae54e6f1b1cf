"""Molecular geometries: the record that every other part of the package takes and returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import atomic_weight, hill_formula, nuclide, nuclide_symbol, symbol
from densnet_core.errors import DataError, InputError
from densnet_core.files.header import check_header, check_moments, positions_of, stated
from densnet_core.files.xyz import XYZFrame, read_frames
from densnet_core.fragments import Fragment, check_fragments, check_spin, fragment_labels, fragments_from
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
MASS_RATIO = 10.0
"""An isotope is not so many times heavier or lighter than its element: such masses are in another unit."""


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
        if not np.array_equal(numbers, self.numbers):
            raise InputError(f"Atomic numbers must be whole, not {np.asarray(self.numbers)}.")
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
        return hill_formula(self.numbers.tolist())

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


def read_xyz(path: str | Path, charge: int | None = None, multiplicity: int | None = None) -> list[Structure]:
    """All frames of an XYZ or extended XYZ file, as ``Structure`` in bohr.

    Symbols or atomic numbers, ``D`` and ``T`` for isotopes of hydrogen; of extended XYZ the columns ``masses`` (dalton)
    and ``fragment`` and the keys ``charge``, ``multiplicity``, ``length_unit`` (angstrom if there is none),
    ``fragment_charges`` and ``fragment_multiplicities`` (in ascending order of the fragments).

    Parameters
    ----------
    path : path
    charge, multiplicity : int or None
        Of frames that do not say, and what those that do must say; None means 0 and 1.

    Raises
    ------
    DataError
        If the file cannot be read, is not whole, or says what would not be read: a cell, other units, charge or spin
        under other names or other than asked for, unknown columns and keys. The message names file and line.
    InputError
        If the atoms are none, or charge and multiplicity do not suit their electrons.
    """
    structures = []
    for frame in read_frames(path):
        check_header(frame)
        structures.append(structure_of(frame, charge, multiplicity))
    return structures


def read_geometry(path: str | Path, charge: int | None = None, multiplicity: int | None = None) -> Structure:
    """The one frame of a file, as ``read_xyz`` reads it; ``DataError`` also if there are several."""
    structures = read_xyz(path, charge, multiplicity)
    if len(structures) > 1:
        raise DataError(f"{path} has {len(structures)} frames, and one geometry is wanted; leave one in the file.")
    return structures[0]


def structure_of(
    frame: XYZFrame, charge: int | None = None, multiplicity: int | None = None, length_unit: str | None = None
) -> Structure:
    """The molecule of a frame whose header ``check_header`` has passed.

    Parameters
    ----------
    frame : XYZFrame
    charge, multiplicity : int or None
        As in ``read_xyz``.
    length_unit : str or None
        Of the positions where the header does not say; None means angstrom.

    Raises
    ------
    DataError, InputError
        As ``read_xyz``.
    """
    total, spin = stated(frame, "charge", charge, 0), stated(frame, "multiplicity", multiplicity, 1)
    check_moments(frame, total, spin)
    positions = positions_of(frame, length_unit)
    try:
        atoms = _atoms(frame)
        numbers = np.array([number for number, _ in atoms])
        return Structure(numbers, positions, total, spin, _masses(frame, atoms), _fragments(frame, total, spin))
    except InputError as error:
        raise InputError(f"{frame.where}: {error}") from error


def _atoms(frame: XYZFrame) -> list[tuple[int, float | None]]:
    """Atomic numbers and isotopic masses; where the file has symbols and numbers they must agree."""
    names = [name for name in ("species", "Z") if name in frame.columns]
    atoms = []
    for index, words in enumerate(zip(*(frame.columns[name] for name in names), strict=True)):
        where = f"atom {index + 1} in line {frame.line + 1 + index}"
        try:
            found = [nuclide(word) for (word,) in words]
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if len({number for number, _ in found}) > 1:
            raise InputError(f"{where}: species and Z are {words[0][0]} and {words[1][0]}.")
        atoms.append(found[0])
    return atoms


def _masses(frame: XYZFrame, atoms: Sequence[tuple[int, float | None]]) -> Array | None:
    """Isotope masses, of the column or of the symbols; ``InputError`` for such as no isotope has."""
    if "masses" not in frame.columns:
        return masses_of(atoms)
    masses = frame.floats("masses", "masses", (frame.n_atoms,))
    for index, ((number, _), mass) in enumerate(zip(atoms, masses, strict=True)):
        usual = atomic_weight(number)
        if not usual / MASS_RATIO < mass < usual * MASS_RATIO:
            raise InputError(
                f"atom {index + 1} in line {frame.line + 1 + index}: {symbol(number)} has the mass {mass:g}, usual is "
                f"{usual:g} dalton, and masses are read in dalton."
            )
    return masses


def _fragments(frame: XYZFrame, charge: int, multiplicity: int) -> tuple[Fragment, ...]:
    """Fragments from the column ``fragment`` and the header.

    A single fragment whose charge and multiplicity the header does not say has those of the frame.
    """
    labels = [word for row in frame.columns.get("fragment", ()) for word in row]
    keys = ("fragment_charges", "fragment_multiplicities")
    if not labels:
        if said := [key for key in keys if key in frame.header]:
            raise InputError(f"{said[0]} is there without a column fragment.")
        return ()
    try:
        charges, multiplicities = (
            [int(word) for word in frame.words(key)] if key in frame.header else None for key in keys
        )
        found = [int(label) for label in labels]
    except ValueError:
        raise InputError("fragments, their charges and multiplicities must be whole numbers.") from None
    if len(set(found)) == 1:
        charges, multiplicities = charges or [charge], multiplicities or [multiplicity]
    return fragments_from(found, charges, multiplicities)


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
