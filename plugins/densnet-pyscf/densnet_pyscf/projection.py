"""Right-hand side of a density fit: three-centre integrals contracted with the density matrix, in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

from densnet_core.basis.base import Basis, Metric
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_pyscf.auxiliary import INTEGRALS, auxiliary_shells, three_center_blocks

Array = NDArray[np.float64]


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
    shells = auxiliary_shells(structure.numbers, basis)
    packed = np.stack([_packed(matrix) for matrix in density_matrices])
    result = np.empty((len(packed), basis.n_functions(structure.numbers)))
    for some, block in three_center_blocks(molecule, shells, metric):
        result[:, some] = packed @ block
    return result


def _packed(density_matrix: Array) -> Array:
    """Lower triangle with the off-diagonal doubled: its product with packed integrals is the full trace."""
    doubled = density_matrix + density_matrix.T
    np.fill_diagonal(doubled, density_matrix.diagonal())
    return np.asarray(doubled[np.tril_indices(len(doubled))])
