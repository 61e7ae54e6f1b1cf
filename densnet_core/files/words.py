"""What the names in a file speak of: charge and spin, units, a cell, or data that go with a geometry."""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError

_ELECTRONS: Final = ("charge", "spin", "multiplicity", "mult")
_COUNTED: Final = {"electrons", "nelec", "nelectrons", "unpaired", "uhf", "magmom", "magmoms", "spins"}
_CELL: Final = {"lattice", "cell", "box", "pbc", "periodic", "supercell"}
_LABELS: Final = (
    "energy energies force forces gradient gradients stress virial virials dipole dipoles quadrupole polarizability "
    "polarisability hessian charges population populations moment momenta velocity velocities velo vel acceleration "
    "homo lumo frequency frequencies"
)
_NOTES: Final = (
    "config type name names id ids uuid index indices label labels tag tags title comment description source origin "
    "author date doi version program code calculator generator created hash checksum smiles inchi formula dataset "
    "subset split head level theory method functional basis xc dispersion step time iteration frame replica "
    "temperature pressure ensemble seed rmsd converged"
)
_DATA: Final = frozenset((*_LABELS.split(), *_NOTES.split()))


def words(name: str) -> list[str]:
    """The words of a name such as ``total_charge`` or ``unitsOfEnergy``, in small letters."""
    return [word.lower() for word in re.split(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])", name) if word]


def says_units(name: str) -> bool:
    """Whether a key or an array looks as if it named a unit."""
    return name.lower().endswith(("unit", "units")) or bool({"unit", "units"} & set(words(name)))


def says_electrons(name: str) -> bool:
    """Whether a key or an array looks as if it held charge or spin of the whole molecule; partial charges do not."""
    lower = name.lower()
    near = difflib.get_close_matches(lower, ("charge", "multiplicity"), n=1, cutoff=0.75)
    return bool(near) or lower.endswith(_ELECTRONS) or bool({*_ELECTRONS, *_COUNTED} & set(words(name)))


def says_cell(name: str) -> bool:
    """Whether a key looks as if it spoke of a periodic system."""
    return bool(_CELL & set(words(name)))


def names_data(name: str) -> bool:
    """Whether a key or a column holds labels or notes: what goes with a geometry and is no part of it."""
    return bool(_DATA & set(words(name)))


def whole_number(what: str, value: Any) -> int:
    """The integer that a charge or multiplicity is; ``DataError`` if it is not one, or absurdly large."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not (abs(number) < 1e6 and number == round(number)):
        raise DataError(f"{what}={value if len(str(value)) < 40 else number} is not a sensible whole number.")
    return int(number)
