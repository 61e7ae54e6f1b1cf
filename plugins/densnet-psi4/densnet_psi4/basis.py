"""Basis sets as Psi4 takes them and as it gives them back: one record, the core's, on both sides.

Every basis comes from the Basis Set Exchange and is handed over in full, so that a name means the same functions in
every program, whatever files the installed Psi4 has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import SHELL_LETTERS, Basis, GaussianBasis
from densnet_core.basis.conventions import to_psi4_order
from densnet_core.basis.library import basis_by_name
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError, nearest
from densnet_core.structures import Structure


def check_basis_name(name: str) -> str:
    """The name as the Basis Set Exchange writes it.

    Hyphens, underscores, spaces and capitals do not matter; ``(d)`` and ``(d,p)`` are ``*`` and ``**``.

    Raises
    ------
    InputError
        There is no such basis; the message has the nearest names.
    """
    known = _names()
    plain = _plain(name)
    if plain not in known:
        raise InputError(
            f"The Basis Set Exchange has no basis set {name!r}. {nearest(name.lower(), known.values())} The psi4 "
            "backend takes published basis sets by name."
        )
    return known[plain]


def basis_of(name: str, numbers: Iterable[int]) -> GaussianBasis:
    """Shells of these elements; ``InputError`` if the basis lacks one or has a core potential for it."""
    return _basis_of(name, tuple(sorted({int(z) for z in numbers})))


@lru_cache(maxsize=64)
def _basis_of(name: str, numbers: tuple[int, ...]) -> GaussianBasis:
    import basis_set_exchange as exchange

    found = check_basis_name(name)
    basis = basis_by_name(found, numbers)
    for z, record in exchange.get_basis(found, elements=list(numbers))["elements"].items():
        if "ecp_potentials" in record:
            raise InputError(
                f"Basis {name!r} describes {symbol(int(z))} with an effective core potential, which the psi4 backend "
                "does not support: the density would lack the core electrons. Use an all-electron basis."
            )
    return GaussianBasis(name, {z: basis.shells(z) for z in basis.elements})


def gaussian_text(shells_of: Basis, numbers: Iterable[int], part: slice = slice(None)) -> str:
    """The format of Gaussian 94, every number to the last digit; ``part`` chooses among the shells of each element."""
    lines = ["spherical", "****"]
    for number in sorted({int(z) for z in numbers}):
        lines.append(f"{symbol(number)} 0")
        for shell in shells_of.shells(number)[part]:
            lines.append(f"{SHELL_LETTERS[shell.l].upper()} {len(shell.exponents)} 1.0")
            lines += [f"  {a!r} {c!r}" for a, c in zip(shell.exponents, shell.coefficients, strict=True)]
        lines.append("****")
    return "\n".join(lines) + "\n"


def psi4_order(basis: Basis, numbers: Iterable[int], part: slice = slice(None)) -> NDArray[np.int64]:
    """(n_functions,) index with psi4 = core[index], for atoms with these atomic numbers."""
    pieces, first = [], 0
    for number in numbers:
        for shell in basis.shells(int(number))[part]:
            pieces.append(first + to_psi4_order(shell.l))
            first += shell.size
    return np.concatenate(pieces)


def check_basis_used(
    record: Mapping[str, Any], prefix: str, basis: Basis, structure: Structure, part: slice = slice(None)
) -> None:
    """``DataError`` unless the shells that Psi4 reports are those of ``basis``, in order and to the last digit."""
    wanted = [(atom, shell) for atom, z in enumerate(structure.numbers.tolist()) for shell in basis.shells(z)[part]]
    expected: dict[str, list[Any]] = {
        "shell_l": [shell.l for _, shell in wanted],
        "shell_centre": [atom for atom, _ in wanted],
        "shell_primitives": [len(shell.exponents) for _, shell in wanted],
        "exponents": [a for _, shell in wanted for a in shell.exponents],
        "contraction": [c for _, shell in wanted for c in shell.coefficients],
    }
    for name, values in expected.items():
        if not np.array_equal(record[prefix + name], values):
            raise DataError(
                f"Psi4 did not use the basis {basis.name!r} of {structure.formula} as given: its {name} differ. Please "
                "report this with the version of Psi4."
            )


def _plain(name: str) -> str:
    text = re.sub(r"[-_ ]", "", name.lower())
    return re.sub(r"\(d\)$", "*", re.sub(r"\(d,p\)$", "**", text))


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    import basis_set_exchange as exchange

    return {_plain(name): name for name in exchange.get_all_basis_names()}
