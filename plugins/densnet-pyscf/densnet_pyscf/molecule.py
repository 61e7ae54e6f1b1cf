"""Structures and bases in PySCF's terms, with every check of what PySCF itself would let pass or crash on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from pyscf import gto
from pyscf.gto.basis import ALIAS, GTH_ALIAS, load_ecp

from densnet_core.basis.base import MAX_L, GaussianBasis, Shell
from densnet_core.elements import SYMBOLS, symbol
from densnet_core.errors import InputError, nearest
from densnet_core.reference.checks import check_structure
from densnet_core.structures import Structure


def make_molecule(structure: Structure, basis: str, max_memory_mb: float) -> gto.Mole:
    """A built ``Mole`` in bohr with spherical functions and the nuclei exactly where the structure has them.

    Raises
    ------
    InputError
        Coincident atoms, an element without functions, no electrons, or more electrons of one spin than functions.
    """
    check_structure(structure, orbital_basis(structure.numbers, basis))
    return _build(structure, basis, max_memory_mb, structure.charge, structure.multiplicity - 1)


def bare_molecule(structure: Structure, basis: str, max_memory_mb: float) -> gto.Mole:
    """A ``Mole`` for integrals and evaluation only, whatever its electrons."""
    for number in np.unique(structure.numbers):
        element_shells(int(number), basis)
    return _build(structure, basis, max_memory_mb, charge=0, spin=None)


def _build(structure: Structure, basis: str, max_memory_mb: float, charge: int, spin: int | None) -> gto.Mole:
    molecule = gto.Mole()
    molecule.verbose, molecule.max_memory = 0, max_memory_mb
    molecule.cart = molecule.symmetry = False
    # PySCF's own bohr differs from CODATA 2018 in the seventh digit, so nothing is handed over in angstrom.
    molecule.unit = "Bohr"
    molecule.atom = [
        (symbol(int(z)), tuple(r)) for z, r in zip(structure.numbers, structure.positions.tolist(), strict=True)
    ]
    molecule.basis, molecule.charge, molecule.spin = basis, charge, spin
    molecule.build(dump_input=False, parse_arg=False)
    return molecule


def check_basis_name(basis: str) -> None:
    """``InputError`` if ``basis`` names no all-electron basis set that PySCF (or basis_set_exchange) knows."""
    if os.path.exists(basis) or any(mark in basis for mark in "/\\\n"):
        raise InputError(
            f"The basis {basis!r} is a file or a path; the pyscf backend takes the names of published basis sets, "
            "so that a level of theory means the same everywhere."
        )
    if "gth" in basis.lower() or _plain(basis) in GTH_ALIAS:
        raise InputError(
            f"{basis!r} is made for pseudopotentials, which the pyscf backend does not support: the density would lack "
            "the core electrons. Use an all-electron basis such as def2-SVP or aug-cc-pVDZ."
        )
    ignored = basis.rpartition(")")[2] if ")" in basis else ""  # PySCF reads 6-31G(d)x as 6-31G(d)
    # Few bases cover none of these: relativistic and core-correlation sets start at heavier elements.
    if ignored or not any(_load(basis, number) for number in (1, 6, 8, 11, 21, 31, 37, 55, 72)):
        raise InputError(
            f"PySCF has no basis set {basis!r}. {nearest(basis.lower(), _basis_names())} "
            "Names that are not built in need the package basis_set_exchange."
        )


@lru_cache(maxsize=1024)
def element_shells(number: int, basis: str) -> tuple[Shell, ...]:
    """Shells of an element in the order of PySCF's functions: by l, then as listed, contraction by contraction.

    Raises
    ------
    InputError
        The basis has no functions for the element, or functions that need an effective core potential.
    """
    entries = _load(basis, number)
    if not entries:
        check_basis_name(basis)
        raise InputError(
            f"Basis {basis!r} has no functions for {symbol(number)}. It covers, of the elements up to Kr: "
            f"{' '.join(SYMBOLS[z] for z in range(1, 37) if _load(basis, z))}."
        )
    if _needs_core_potential(basis, number):
        raise InputError(
            f"Basis {basis!r} describes {symbol(number)} with an effective core potential, which the pyscf backend "
            "does not support: the density would lack the core electrons. Use an all-electron basis."
        )
    shells = tuple(shell for entry in entries for shell in _contractions(entry))
    if max(shell.l for shell in shells) > MAX_L:
        raise InputError(f"Basis {basis!r} has functions beyond l = {MAX_L} for {symbol(number)}; the limit is l = 6.")
    return shells


def orbital_basis(numbers: Iterable[int], basis: str) -> GaussianBasis:
    """The orbital basis of these elements in the core's record, in the order of PySCF's functions."""
    return GaussianBasis(basis, {z: element_shells(z, basis) for z in sorted({int(z) for z in numbers})})


def _contractions(entry: list[Any]) -> Iterable[Shell]:
    """One shell per column of ``[l, (kappa,) [exponent, c_1, c_2, ...], ...]``, PySCF's record."""
    rows = np.array([row for row in entry[1:] if not isinstance(row, int | np.integer)], dtype=float)
    for column in rows[:, 1:].T:
        used = column != 0.0
        yield Shell(int(entry[0]), tuple(rows[used, 0].tolist()), tuple(column[used].tolist()))


@lru_cache(maxsize=4096)
def _load(basis: str, number: int) -> tuple[Any, ...]:
    """PySCF's entries for an element, sorted by l as ``Mole.build`` sorts them; empty if there are none."""
    name = symbol(number)
    try:
        return tuple(gto.format_basis({name: basis})[name])
    except (RuntimeError, KeyError, AssertionError, OSError):  # what PySCF raises for unknown names and elements
        return ()


@lru_cache(maxsize=1024)
def _needs_core_potential(basis: str, number: int) -> bool:
    known = ALIAS.get(_plain(basis))
    if known is not None and not isinstance(known, str):
        return _plain(basis).endswith("pp")  # several files; load_ecp takes only one
    try:
        return bool(load_ecp(basis, symbol(number)))
    except (RuntimeError, KeyError, OSError):  # no core potential of this name
        return False


def _plain(basis: str) -> str:
    return basis.lower().replace("-", "").replace("_", "").replace(" ", "")


@lru_cache(maxsize=1)
def _basis_names() -> tuple[str, ...]:
    return tuple(sorted(name for name, target in ALIAS.items() if not _plain(name).endswith(("fit", "ri", "pp"))))
