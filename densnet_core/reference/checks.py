"""What no program can compute, found before one is started."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from densnet_core.basis.base import Basis
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

COINCIDENT: Final = 0.1 / BOHR_TO_ANGSTROM
"""Two nuclei closer than this (bohr) are a mistake of the input."""


def check_structure(structure: Structure, basis: Basis) -> None:
    """Raise ``InputError`` unless a calculation of the structure in this orbital basis is possible.

    Coincident atoms, an element without functions, no electrons, or more electrons of one spin than functions.
    """
    check_distances(structure)
    functions = basis.n_functions(structure.numbers)
    if structure.n_electrons == 0:
        raise InputError(f"{structure.formula} with charge {structure.charge} has no electrons; nothing to compute.")
    if structure.n_alpha > functions:
        raise InputError(
            f"{structure.formula} with multiplicity {structure.multiplicity} has {structure.n_alpha} electrons of one "
            f"spin but {basis.name} only {functions} functions. Check charge and multiplicity or take a larger basis."
        )


def check_distances(structure: Structure) -> None:
    """``InputError`` that names the first two atoms closer than 0.1 angstrom, if there are any."""
    pairs = cKDTree(structure.positions).query_pairs(COINCIDENT)
    if pairs:
        first, second = min(pairs)
        distance = np.linalg.norm(structure.positions[first] - structure.positions[second]) * BOHR_TO_ANGSTROM
        names = [f"{symbol(int(structure.numbers[i]))} (atom {i + 1})" for i in (first, second)]
        raise InputError(
            f"{names[0]} and {names[1]} are {distance:.4f} angstrom apart; atoms must not coincide. "
            "Check the geometry and its unit."
        )
