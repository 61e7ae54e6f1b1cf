"""Molecular geometries: the record that every other part of the package takes and returns."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import atomic_number, atomic_weight, symbol
from densnet_core.errors import InputError
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structure:
    """Nuclei, charge and spin of one molecule.

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

    Raises
    ------
    InputError
        For wrong shapes, non-finite positions, unknown elements or a multiplicity the electrons cannot have.
    """

    numbers: NDArray[np.int64]
    positions: Array
    charge: int = 0
    multiplicity: int = 1

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
        if self.n_electrons < 0:
            raise InputError(f"Charge {self.charge} leaves a negative number of electrons.")
        unpaired = self.multiplicity - 1
        if unpaired < 0 or unpaired > self.n_electrons or (self.n_electrons - unpaired) % 2:
            raise InputError(
                f"Multiplicity {self.multiplicity} is impossible with {self.n_electrons} electrons; "
                f"check charge ({self.charge}) and multiplicity."
            )

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
        """(n_atoms,) standard atomic weights in dalton."""
        return np.array([atomic_weight(int(z)) for z in self.numbers])

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

        Two frames with equal hash are the same calculation; splits and stores are keyed by it.
        """
        rounded = np.round(self.positions * 1e9).astype("<i8")
        digest = hashlib.sha256(b"densnet-structure-1")
        digest.update(np.array([self.charge, self.multiplicity, self.n_atoms], dtype="<i8").tobytes())
        digest.update(self.numbers.astype("<i8").tobytes())
        digest.update(rounded.tobytes())
        return digest.digest()

    def __str__(self) -> str:
        rows = [
            f"{symbol(int(z)):<2} {x:14.8f} {y:14.8f} {w:14.8f}"
            for z, (x, y, w) in zip(self.numbers, self.positions * BOHR_TO_ANGSTROM, strict=True)
        ]
        head = f"{self.formula}, charge {self.charge}, multiplicity {self.multiplicity}, positions in angstrom"
        return "\n".join([head, *rows])


def read_xyz(path: str | Path, charge: int = 0, multiplicity: int = 1) -> list[Structure]:
    """All frames of an XYZ file (angstrom), as ``Structure`` in bohr.

    Of an extended XYZ header only what contradicts this is looked at: other columns before the positions, another unit
    of length, a charge or multiplicity where the usual one is asked for.

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


def _check_header(where: str, header: str, charge: int, multiplicity: int) -> None:
    """Refuse a comment line that says that the frame is not what will be read."""
    said = {key.lower(): value for key, value in re.findall(r"(\w+)\s*=\s*\"?([^\s\"]+)", header)}
    if not _COLUMNS.match(said.get("properties", "species:S:1:pos:R:3")):
        raise InputError(f"{where}: the columns are {said['properties']!r}; expected species:S:1:pos:R:3 first.")
    if (unit := said.get("length_unit", "angstrom").lower()) not in ("angstrom", "ang", "å"):
        raise InputError(f"{where}: lengths are in {unit!r}; expected angstrom. Convert them.")
    # Geometries of a neutral molecule may serve for its ion, but nobody asked for a neutral one of an ion's.
    for name, value, usual in (("charge", charge, 0), ("multiplicity", multiplicity, 1)):
        if value == usual and not _is_number(said.get(name, str(value)), value):
            raise InputError(f"{where}: the frame has {name} {said[name]}; ask for that {name}, found {value}.")


def _read_frame(source: Path, lines: list[str], at: int, charge: int, multiplicity: int) -> Structure:
    try:
        count = int(lines[at].split()[0])
    except ValueError:
        raise InputError(f"{source}, line {at + 1}: expected the number of atoms, found {lines[at]!r}.") from None
    rows = lines[at + 2 : at + 2 + count]
    if count < 1 or len(rows) < count:
        raise InputError(f"{source}, line {at + 1}: {count} atoms announced, {len(rows)} lines follow.")
    _check_header(f"{source}, line {at + 2}", lines[at + 1], charge, multiplicity)
    numbers, positions = [], []
    for offset, row in enumerate(rows):
        fields = row.split()
        try:
            numbers.append(int(fields[0]) if fields[0].isascii() and fields[0].isdigit() else atomic_number(fields[0]))
            positions.append([float(value) for value in fields[1:4]])
        except (IndexError, ValueError):
            positions.append([])
        if len(positions[-1]) != 3:
            raise InputError(f"{source}, line {at + 3 + offset}: expected 'symbol x y z', found {row!r}.")
    try:
        return Structure(np.array(numbers), np.array(positions) / BOHR_TO_ANGSTROM, charge, multiplicity)
    except InputError as error:
        raise InputError(f"{source}, line {at + 1}: {error}") from error


def write_xyz(path: str | Path, structures: list[Structure], comments: list[str] | None = None) -> None:
    """Write structures as XYZ frames in angstrom with 12 decimals, a thousandth of what ``content_hash`` resolves."""
    blocks = []
    for index, structure in enumerate(structures):
        comment = comments[index] if comments else f"charge={structure.charge} multiplicity={structure.multiplicity}"
        rows = [
            f"{symbol(int(z)):<2} {x:18.12f} {y:18.12f} {w:18.12f}"
            for z, (x, y, w) in zip(structure.numbers, structure.positions * BOHR_TO_ANGSTROM, strict=True)
        ]
        blocks.append("\n".join([str(structure.n_atoms), comment, *rows]))
    Path(path).write_text("\n".join(blocks) + "\n", encoding="utf-8")
