"""What the header of an XYZ frame may say: all that bears on the geometry is read, or the frame is refused.

Labels and notes that go with a geometry (energies, forces, names, times) are no part of it and are left to whoever
wants them. A key or column that nobody knows is refused: it might say that the geometry is another one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError, InputError, nearest
from densnet_core.files.units import ASE_UNITS, UNITS, unit_factor
from densnet_core.files.words import names_data, says_cell, says_electrons, says_units, whole_number
from densnet_core.files.xyz import XYZFrame

UNIT_KEYS: Final = tuple(f"{quantity}_unit" for quantity in UNITS)
KEYS: Final = (
    *("Properties", "pbc", "Lattice", "charge", "multiplicity", "fragment_charges", "fragment_multiplicities"),
    *UNIT_KEYS,
)
COLUMNS: Final = ("species", "Z", "pos", "masses", "fragment")
LABELS: Final = ("energy", "forces", "dipole")
_MOMENTS: Final = ("initial_charges", "initial_magmoms", "magmoms", "magmom")
"""As ASE has them; they must add up to the charge and the spin that are read."""
_LOOSE: Final = re.compile(
    r"\b(?:(?:charge|multiplicity|mult|spin)\s+[-+]?\d|(?:bohr|a\.u\.|2S\+1)(?!\w))", re.IGNORECASE
)


def check_header(frame: XYZFrame, labels: Mapping[str, str] | None = None, units: Collection[str] = ()) -> set[str]:
    """Refuse a frame that would be taken for another one than its header says.

    Parameters
    ----------
    frame : XYZFrame
    labels : mapping or None
        Names in the file of the labels that it may have, by label; None: their own names.
    units : collection of str
        Quantities whose unit is named elsewhere.

    Returns
    -------
    set of str
        Names of keys and columns with data that are no part of the geometry, and none of the labels.

    Raises
    ------
    DataError
        A key or column is not known, may be misspelt or not be read; the frame is periodic; units are named in part.
    """
    own = dict(zip(LABELS, LABELS, strict=True)) if labels is None else dict(labels)
    there = set(frame.header) | set(frame.columns)
    known = {*KEYS, *COLUMNS, *own.values()}
    unknown = there - known
    for name in sorted(unknown - set(_MOMENTS)):
        _refuse(frame, name, unknown)
    if loose := _LOOSE.search(frame.text):
        raise DataError(
            f"{frame.where}: the comment says {loose.group()!r}, which would not be read. Write charge=, multiplicity= "
            "or length_unit= and the value, or remove it."
        )
    _check_cell(frame)
    _check_units(frame, {label for label, name in own.items() if name in there}, units)
    return unknown if frame.is_extended else set()


def stated(frame: XYZFrame, name: str, asked: int | None, usual: int) -> int:
    """Charge or multiplicity of a frame: what its header says and what is asked for must be the same.

    Raises
    ------
    DataError
        If they are not, or the header's is no whole number.
    """
    if name not in frame.header:
        return usual if asked is None else asked
    said = whole_number(f"{frame.where}: {name}", frame.header[name])
    if asked is not None and asked != said:
        raise DataError(
            f"{frame.where}: the frame has {name} {said}; ask for that {name}, found {asked}. If its geometry is to "
            f"serve for another, remove {name} from the header."
        )
    return said


def positions_of(frame: XYZFrame, length_unit: str | None = None) -> NDArray[np.float64]:
    """(n_atoms, 3) positions in bohr; in the unit of the header, else ``length_unit``, else angstrom."""
    unit = frame.header.get("length_unit", length_unit or ASE_UNITS["length"])
    return np.asarray(frame.floats("pos", "pos", (frame.n_atoms, 3)) / factor(frame, "length", unit))


def factor(frame: XYZFrame, quantity: str, unit: str) -> float:
    """Value of one atomic unit of a quantity in ``unit``; ``InputError`` for a unit that is not known for it."""
    try:
        return unit_factor(quantity, unit)
    except InputError as error:
        raise InputError(f"{frame.where}: {error}") from None


def _refuse(frame: XYZFrame, name: str, unknown: set[str]) -> None:
    is_unit_of_data = name.endswith("_unit") and name.removesuffix("_unit") in unknown
    if is_unit_of_data:
        return
    known: Collection[str] = ()
    if says_electrons(name):
        known = ("charge", "multiplicity")
    elif says_units(name):
        known = UNIT_KEYS
    elif says_cell(name):
        known = ("Lattice", "pbc")
    elif close := difflib.get_close_matches(name.lower(), [k.lower() for k in (*KEYS, *COLUMNS)], n=1, cutoff=0.75):
        known = [k for k in (*KEYS, *COLUMNS) if k.lower() == close[0]]
    elif not frame.is_extended or names_data(name) or f"{name}_unit" in frame.header:
        return
    hint = nearest(name.lower(), known) if known else f"If it holds data of the frame, name its unit as {name}_unit."
    raise DataError(
        f"{frame.where}: {name} is not a known key or column and would not be read. {hint} Rename or remove it. Found: "
        f"{frame.found}."
    )


def _check_cell(frame: XYZFrame) -> None:
    pbc = frame.header.get("pbc", "T T T" if "Lattice" in frame.header else "F")
    directions = pbc.replace(",", " ").upper().split()
    if len(directions) not in (1, 3) or set(directions) - {"F", "FALSE", "0"}:
        raise DataError(f'{frame.where} is periodic; DenSNet computes molecules. Remove Lattice, or set pbc="F F F".')


def check_moments(frame: XYZFrame, charge: int, multiplicity: int) -> None:
    """Charges and magnetic moments of atoms, with which ASE says charge and spin, against what is read."""
    for name in set(_MOMENTS) & {*frame.header, *frame.columns}:
        shape = (frame.n_atoms,) if name in frame.columns else ()
        total = float(np.sum(frame.floats(name, name, shape)))
        what, read = "charge", charge
        if "magmom" in name:
            what, total, read = "multiplicity", abs(total) + 1, multiplicity
        if abs(total - read) > 0.1:
            raise DataError(
                f"{frame.where}: {name} add up to {what} {total:g}, but it would be read as {read}. Say {what}= in the "
                f"header, or remove {name}."
            )


def _check_units(frame: XYZFrame, labels: Collection[str], asked: Collection[str]) -> None:
    """``DataError`` where a header names other units than ASE's for some quantities, and none for the rest."""
    named = {quantity for quantity in UNITS if f"{quantity}_unit" in frame.header}
    others = {
        quantity
        for quantity in named - {"dipole"}
        if factor(frame, quantity, frame.header[f"{quantity}_unit"]) != unit_factor(quantity, ASE_UNITS[quantity])
    }
    wanted = {"length", *labels} - named - set(asked)
    if others and wanted:
        raise DataError(
            f"{frame.where}: the header gives a unit of {', '.join(sorted(others))} that is not ASE's, and none of "
            f"{', '.join(sorted(wanted))}; name all of them, in the header or by --{sorted(wanted)[0]}-unit."
        )
