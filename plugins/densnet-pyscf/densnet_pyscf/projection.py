"""Right-hand side of a density fit: three-centre integrals contracted with the density matrix, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyscf import gto
from pyscf.gto.moleintor import ascint3, getints3c, make_cintopt

from densnet_core.basis.base import Basis
from densnet_core.errors import InputError
from densnet_core.reference.base import Metric
from densnet_core.structures import Structure

Array = NDArray[np.float64]
INTEGRALS: Final[dict[Metric, str]] = {"coulomb": "int3c2e_sph", "overlap": "int3c1e_sph"}
MAX_BLOCK_MB: Final = 256.0
"""Larger blocks are not faster: the contraction is bound by the integrals."""


def project_density(
    molecule: gto.Mole, density_matrices: Array, structure: Structure, basis: Basis, metric: Metric
) -> Array:
    """<P|rho> or (P|rho) for every density and every function P of ``basis``: (n_densities, n_functions).

    Parameters
    ----------
    molecule : Mole
        With the orbital basis.
    density_matrices : (n_densities, n_basis, n_basis)
        Symmetric.
    structure : Structure
        The same molecule.
    basis : Basis
        Density basis; the result follows its order of functions.
    metric : {"coulomb", "overlap"}
    """
    if metric not in INTEGRALS:
        raise InputError(f"Metric {metric!r} is unknown; it must be one of {', '.join(INTEGRALS)}.")
    auxiliary_bas, auxiliary_env = _auxiliary_shells(molecule, structure, basis)
    atm, bas, env = molecule._atm, np.vstack([molecule._bas, auxiliary_bas]), auxiliary_env
    name = ascint3(INTEGRALS[metric])
    locations = gto.moleintor.make_loc(bas, name)
    optimiser = make_cintopt(atm, bas, env, name)
    n_shells, n_basis = molecule.nbas, molecule.nao_nr()
    packed = np.stack([_packed(matrix) for matrix in density_matrices])
    result = np.empty((len(packed), int(locations[-1] - locations[n_shells])))
    for start, stop in _blocks(locations[n_shells:], packed.shape[1], molecule.max_memory):
        shells = (0, n_shells, 0, n_shells, n_shells + start, n_shells + stop)
        block = getints3c(name, atm, bas, env, shells, 1, "s2ij", locations, optimiser)
        first, last = (int(locations[n_shells + i]) - n_basis for i in (start, stop))
        result[:, first:last] = packed @ block
    return result


def _auxiliary_shells(
    molecule: gto.Mole, structure: Structure, basis: Basis
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """libcint's records of the density basis behind the molecule's own, in the order of ``basis``.

    They are written here rather than through ``Mole.build``, which sorts the shells of an atom by l.
    Slots of a shell: atom, l, primitives, contractions, kappa, pointer to exponents, pointer to coefficients, unused.
    """
    rows, values, end = [], [molecule._env], len(molecule._env)
    pointers: dict[tuple[int, int], tuple[int, int]] = {}
    for atom, number in enumerate(structure.numbers.tolist()):
        for position, shell in enumerate(basis.shells(number)):
            n_primitives = len(shell.exponents)
            if (number, position) not in pointers:
                pointers[number, position] = end, end + n_primitives
                values += [np.array(shell.exponents), shell.radial_coefficients()]
                end += 2 * n_primitives
            rows.append([atom, shell.l, n_primitives, 1, 0, *pointers[number, position], 0])
    return np.array(rows, dtype=np.int32), np.concatenate(values)


def _packed(density_matrix: Array) -> Array:
    """Lower triangle with the off-diagonal doubled: its product with packed integrals is the full trace."""
    doubled = density_matrix + density_matrix.T
    np.fill_diagonal(doubled, density_matrix.diagonal())
    return np.asarray(doubled[np.tril_indices(len(doubled))])


def _blocks(locations: NDArray[np.int32], n_pairs: int, max_memory_mb: float) -> Iterator[tuple[int, int]]:
    """Ranges of auxiliary shells whose integrals fit into a quarter of the memory allowed."""
    functions = max(1, int(min(max_memory_mb / 4.0, MAX_BLOCK_MB) * 1e6 / (8 * n_pairs)))
    start, n_shells = 0, len(locations) - 1
    while start < n_shells:
        stop = int(np.searchsorted(locations, locations[start] + functions, side="right")) - 1
        stop = min(max(stop, start + 1), n_shells)
        yield start, stop
        start = stop
