"""The units that files of labelled frames may be in, and the names that they may have for the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from densnet_core.errors import InputError, nearest
from densnet_core.units import (
    AU_TO_DEBYE,
    BOHR_TO_ANGSTROM,
    HARTREE_TO_EV,
    HARTREE_TO_KCAL_PER_MOL,
    HARTREE_TO_KJ_PER_MOL,
)

ENERGIES: Final = {
    "hartree": 1.0,
    "eV": HARTREE_TO_EV,
    "kJ/mol": HARTREE_TO_KJ_PER_MOL,
    "kcal/mol": HARTREE_TO_KCAL_PER_MOL,
}
LENGTHS: Final = {"bohr": 1.0, "angstrom": BOHR_TO_ANGSTROM}
UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "energy": ENERGIES,
    "length": LENGTHS,
    "forces": {f"{e}/{x}": ENERGIES[e] / LENGTHS[x] for e in ENERGIES for x in LENGTHS},
    "dipole": {"e*bohr": 1.0, "e*angstrom": BOHR_TO_ANGSTROM, "debye": AU_TO_DEBYE},
}
"""What a quantity may be given in, and its value for one atomic unit."""
ASE_UNITS: Final = {"energy": "eV", "length": "angstrom", "forces": "eV/angstrom", "dipole": "e*angstrom"}
_SPELLINGS: Final = {"a": "angstrom", "ang": "angstrom", "å": "angstrom", "a0": "bohr", "ha": "hartree", "d": "debye"}


@dataclass(frozen=True)
class Keys:
    """How a file names its labels, and in what units it gives them.

    Parameters
    ----------
    names : mapping
        Key or column of ``energy``, ``forces`` and ``dipole`` where it is not called so.
    units : mapping
        Unit of ``energy``, ``length``, ``forces``, ``dipole``; what neither this nor a header names is in ASE's units.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for quantity, unit in self.units.items():
            unit_factor(quantity, unit)

    def name(self, label: str) -> str:
        return self.names.get(label, label)


def unit_factor(quantity: str, unit: str) -> float:
    """Value of one atomic unit of a quantity in ``unit``; ``InputError`` for a unit that is not known for it."""
    known = {name.lower(): factor for name, factor in UNITS[quantity].items()}
    spelt = unit.lower().replace(" ", "")
    for short, name in _SPELLINGS.items():
        spelt = re.sub(rf"\b{short}\b", name, spelt)
    if spelt not in known:
        raise InputError(f"{quantity} cannot be given in {unit!r}. {nearest(unit, UNITS[quantity])}")
    return known[spelt]
