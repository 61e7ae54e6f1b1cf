"""Spherically averaged densities of free atoms."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf import gto, scf
from pyscf.data.elements import NRSRHF_CONFIGURATION, NRSRHFS_CONFIGURATION
from pyscf.scf.atom_hf import AtomHF1e, AtomSphAverageRHF
from pyscf.scf.atom_ks import AtomSphAverageRKS

from densnet_core.density.radial import RadialDensity
from densnet_core.errors import ConvergenceError
from densnet_core.reference.radial import checked_density, radial_grid
from densnet_pyscf.functional import is_hartree_fock

Array = NDArray[np.float64]
ENERGY_TOLERANCE: Final = 1e-11
"""Hartree. The atomic solvers watch the energy alone, so it must be tighter than a molecule's."""
MAX_CYCLE: Final = 200
ATOM_GRID: Final = (200, 110)
"""Radial and angular points; 110 Lebedev points are exact to order 17, a product of two i functions to order 12."""


def atomic_density(molecule: gto.Mole, method: str) -> RadialDensity:
    """Radial density of the neutral atom that is the only atom of ``molecule``.

    Spin-restricted, with the electrons of an open shell spread evenly over its functions: the configurations are the
    lowest of that kind, from Lehtola, Phys. Rev. A 101, 012516 (2020). Integrals are exact: an atom is small.

    Raises
    ------
    ConvergenceError
        The SCF did not converge, or the density misses the number of electrons by more than 1e-7 (relative).
    """
    number = int(molecule.atom_charge(0))
    density_matrix = _solve(molecule, method)
    radii, weights = radial_grid(min(float(molecule.bas_exp(shell).min()) for shell in range(molecule.nbas)))
    points = np.zeros((radii.size, 3))
    points[:, 2] = radii  # the density is spherical, so one direction is enough
    orbitals = molecule.eval_gto("GTOval_sph", points)
    values = np.einsum("pi,ij,pj->p", orbitals, density_matrix, orbitals, optimize=True)
    return checked_density(number, radii, weights, values)


def _solve(molecule: gto.Mole, method: str) -> Array:
    """Density matrix (n_basis, n_basis) of the spherically averaged atom."""
    solver: Any
    if not is_hartree_fock(method):
        solver = AtomSphAverageRKS(molecule)
        solver.xc, solver.atomic_configuration = method, NRSRHFS_CONFIGURATION
        solver.grids.atom_grid, solver.grids.prune = ATOM_GRID, None
        solver.diis = scf.ADIIS()
        solver.diis.space = 12
    elif molecule.nelectron == 1:
        solver = AtomHF1e(molecule)  # the restricted equations would let the electron repel itself
    else:
        solver = AtomSphAverageRHF(molecule)
        solver.atomic_configuration = NRSRHF_CONFIGURATION
    solver.conv_tol, solver.max_cycle, solver.chkfile = ENERGY_TOLERANCE, MAX_CYCLE, None
    solver.kernel()
    if not solver.converged and not is_hartree_fock(method):
        solver.diis = scf.CDIIS()
        solver.kernel(solver.make_rdm1())
    if not solver.converged:
        raise ConvergenceError(
            f"The SCF of the free atom {molecule.atom_symbol(0)} with {method} did not converge in {MAX_CYCLE} cycles."
        )
    density_matrix = np.asarray(solver.make_rdm1())
    return density_matrix if density_matrix.ndim == 2 else density_matrix.sum(axis=0)
