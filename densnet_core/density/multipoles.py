"""Multipoles of the atoms of a density, and their Coulomb interaction: what is left of densities that do not overlap.

Superposed neutral atoms have no multipoles, so those of a difference density are those of the molecule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import quadrupoles


@dataclass(frozen=True, eq=False)
class Multipoles:
    """Charges, dipoles and quadrupoles of atoms about their own nuclei, atomic units.

    Parameters
    ----------
    charges : (n_atoms,)
        e.
    dipoles : (n_atoms, 3)
        e bohr.
    quadrupoles : (n_atoms, 3, 3)
        e bohr^2, traceless, Buckingham's convention: 1/2 sum q (3 r_i r_j - r^2 delta_ij).
    """

    charges: Tensor
    dipoles: Tensor
    quadrupoles: Tensor


def atomic_multipoles(functions: MolecularBasis, coefficients: Tensor) -> Multipoles:
    """Of the functions on each atom, whose coefficients (n_functions,) are those of a number of electrons.

    Higher multipoles than the quadrupole are left out. Exact for the density as a whole: the multipoles of the atoms,
    moved to one origin, give those of the molecule up to the quadrupole.
    """
    own = coefficients[:, None] * _moments(functions)
    summed = -own.new_zeros((functions.n_atoms, own.shape[1])).index_add(0, functions.function_atoms, own)
    return Multipoles(summed[:, 0], summed[:, 1:4], summed[:, 4:].reshape(-1, 3, 3))


def _moments(functions: MolecularBasis) -> Tensor:
    """(n_functions, 13) integrals, dipoles and quadrupoles of the functions about their own centres."""
    origin = torch.zeros((functions.n_atoms, 3), dtype=functions.dtype, device=functions.device)
    parts = functions.electron_counts()[:, None], functions.dipoles(origin), quadrupoles(functions, origin).flatten(-2)
    return torch.cat(parts, dim=1)


def interactions(multipoles: Multipoles, positions: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Coulomb energies of pairs of atoms as point multipoles, (n_pairs,), hartree; differentiable.

    Derivatives of 1/r by the chain B_0 = 1/r, B_(n+1) = (2n + 1) B_n / r^2 with d B_n / d r_a = -r_a B_(n+1)
    (Smith, CCP5 Newsletter 46, 18, 1998).

    Parameters
    ----------
    positions : (n_atoms, 3)
        Bohr.
    first, second : (n_pairs,) int64
        Different atoms.
    """
    r = positions.index_select(0, first) - positions.index_select(0, second)
    inverse = 1.0 / (r * r).sum(-1)
    b0 = torch.sqrt(inverse)
    b1 = b0 * inverse
    b2 = 3.0 * b1 * inverse
    b3 = 5.0 * b2 * inverse
    b4 = 7.0 * b3 * inverse

    def of(atoms: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Charge, dipole, the dipole along r, the quadrupole (over three) times r, and times r twice."""
        dipole = multipoles.dipoles.index_select(0, atoms)
        turned = (multipoles.quadrupoles.index_select(0, atoms) * r[:, None, :]).sum(-1) / 3.0
        return multipoles.charges.index_select(0, atoms), dipole, (dipole * r).sum(-1), turned, (turned * r).sum(-1)

    q_1, d_1, along_1, turned_1, twice_1 = of(first)
    q_2, d_2, along_2, turned_2, twice_2 = of(second)
    pairs = [multipoles.quadrupoles.index_select(0, atoms) for atoms in (first, second)]
    both = (pairs[0] * pairs[1]).sum((-2, -1)) / 9.0
    return (
        b0 * q_1 * q_2
        + b1 * (q_1 * along_2 - along_1 * q_2 + (d_1 * d_2).sum(-1))
        + b2 * (q_1 * twice_2 + twice_1 * q_2 - along_1 * along_2)
        + b2 * 2.0 * ((d_1 * turned_2).sum(-1) - (turned_1 * d_2).sum(-1) + both)
        + b3 * (twice_1 * along_2 - along_1 * twice_2 - 4.0 * (turned_1 * turned_2).sum(-1))
        + b4 * twice_1 * twice_2
    )
