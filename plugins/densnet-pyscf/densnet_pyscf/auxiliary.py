"""Functions of a density basis beside the orbitals of a PySCF molecule, as libcint takes them.

Without torch: processes that label frames do not import it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyscf import gto
from pyscf.gto.moleintor import ascint3, getints3c, make_cintopt

from densnet_core.basis.base import Basis, Metric

Array = NDArray[np.float64]
INTEGRALS: Final[dict[Metric, str]] = {"coulomb": "int3c2e_sph", "overlap": "int3c1e_sph"}
MAX_BLOCK_MB: Final = 256.0
"""Larger blocks are not faster: a contraction is bound by the integrals."""


@dataclass(frozen=True, eq=False)
class AuxiliaryShell:
    """One shell of a density basis on an atom: R(r) = sum_p c_p r^l exp(-a_p r^2).

    Parameters
    ----------
    atom : int
    l : int
    exponents, coefficients : (n_primitives,)
        The a_p (bohr^-2) and c_p.
    """

    atom: int
    l: int  # noqa: E741 - the field's name for it
    exponents: Array
    coefficients: Array


def auxiliary_shells(numbers: NDArray[np.int64], basis: Basis) -> list[AuxiliaryShell]:
    """Shells of ``basis`` on atoms ``numbers``: atoms in order, shells as in the basis."""
    return [
        AuxiliaryShell(atom, shell.l, np.array(shell.exponents), shell.radial_coefficients())
        for atom, number in enumerate(numbers.tolist())
        for shell in basis.shells(number)
    ]


def libcint_shells(molecule: gto.Mole, shells: Sequence[AuxiliaryShell]) -> tuple[NDArray[np.int32], Array]:
    """libcint's records of ``shells``, in their order, and the environment of ``molecule`` with them appended.

    They are written here rather than through ``Mole.build``, which sorts the shells of an atom by l. Neighbours that
    share atom, l and exponents become one record, so that libcint computes their primitives once.
    Slots of a record: atom, l, primitives, contractions, kappa, pointer to exponents, pointer to coefficients, unused.
    """
    rows, values, end = [], [molecule._env], len(molecule._env)
    pointers: dict[bytes, int] = {}
    for (atom, l_, _), group in groupby(shells, key=lambda shell: (shell.atom, shell.l, shell.exponents.tobytes())):
        members = list(group)
        data = np.concatenate([members[0].exponents, *(shell.coefficients for shell in members)])
        place = pointers.setdefault(data.tobytes(), end)
        if place == end:
            values.append(data)
            end += data.size
        count = members[0].exponents.size
        rows.append([atom, l_, count, len(members), 0, place, place + count, 0])
    return np.array(rows, dtype=np.int32), np.concatenate(values)


def three_center_blocks(
    molecule: gto.Mole, shells: Sequence[AuxiliaryShell], metric: Metric
) -> Iterator[tuple[slice, Array]]:
    """Three-centre integrals <ij|P> or (ij|P) in bounded memory.

    Parameters
    ----------
    molecule : Mole
        With the orbital basis, spherical functions.
    shells : sequence of AuxiliaryShell
        The functions P, on the same nuclei.
    metric : {"coulomb", "overlap"}

    Yields
    ------
    slice
        Which of the functions P.
    (n_basis (n_basis + 1) / 2, n_block)
        Lower triangle of ij, row by row.
    """
    auxiliary, env = libcint_shells(molecule, shells)
    atm, bas, name = molecule._atm, np.vstack([molecule._bas, auxiliary]), ascint3(INTEGRALS[metric])
    locations = gto.moleintor.make_loc(bas, name)
    optimiser = make_cintopt(atm, bas, env, name)
    n_shells, n_basis = molecule.nbas, molecule.nao_nr()
    for start, stop in _blocks(locations[n_shells:], n_basis * (n_basis + 1) // 2, molecule.max_memory):
        ranges = (0, n_shells, 0, n_shells, n_shells + start, n_shells + stop)
        block = getints3c(name, atm, bas, env, ranges, 1, "s2ij", locations, optimiser)
        first, last = (int(locations[n_shells + i]) - n_basis for i in (start, stop))
        yield slice(first, last), block


def _blocks(locations: NDArray[np.int32], n_pairs: int, max_memory_mb: float) -> Iterator[tuple[int, int]]:
    """Ranges of auxiliary shells whose integrals fit into a quarter of the memory allowed."""
    functions = max(1, int(min(max_memory_mb / 4.0, MAX_BLOCK_MB) * 1e6 / (8 * n_pairs)))
    start, n_shells = 0, len(locations) - 1
    while start < n_shells:
        stop = int(np.searchsorted(locations, locations[start] + functions, side="right")) - 1
        stop = min(max(stop, start + 1), n_shells)
        yield start, stop
        start = stop
