"""Properties of a converged calculation beyond energy, forces and dipole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def total_density_matrix(solver: Any) -> Array:
    """(n_basis, n_basis) density matrix of alpha and beta electrons together."""
    matrix = np.asarray(solver.make_rdm1())
    return np.asarray(matrix.sum(axis=0) if matrix.ndim == 3 else matrix)


def quadrupole(solver: Any) -> Array:
    """(3, 3) second moments sum_A Z_A R_A R_A^T - integral r r^T rho, e bohr^2, about the origin."""
    molecule = solver.mol
    n_basis, positions = molecule.nao_nr(), molecule.atom_coords()
    with molecule.with_common_origin((0.0, 0.0, 0.0)):
        products = molecule.intor("int1e_rr", comp=9).reshape(3, 3, n_basis, n_basis)
    electronic = np.einsum("xyij,ji->xy", products, total_density_matrix(solver))
    return np.asarray((positions.T * molecule.atom_charges()) @ positions - electronic)
