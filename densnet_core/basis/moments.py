"""Second moments of the functions of a basis, and the quadrupoles made of them."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor

from densnet_core.basis.harmonics import gaunt
from densnet_core.basis.molecular import MolecularBasis


def second_moments(functions: MolecularBasis, positions: Tensor) -> Tensor:
    """Integrals of r_i r_j times every function about the origin, (..., n_functions, 3, 3).

    Parameters
    ----------
    functions : MolecularBasis
    positions : (..., n_atoms, 3)
        Bohr; leading dimensions are a batch of geometries.

    Notes
    -----
    About its own centre A a function has moments for l = 0 and 2 only, since r_i r_j is a sum of solid harmonics of
    these degrees; moving the origin adds d_i A_j + A_i d_j + q A_i A_j, with d the dipole of the function about A and
    q its integral.
    """
    counts = functions.electron_counts()
    centres = positions[..., functions.function_atoms, :]
    dipoles = functions.dipoles(positions)
    local_dipoles = dipoles - counts[..., None] * centres
    # q A_i A_j + d_i A_j = (dipole about the origin)_i A_j
    moments = dipoles[..., :, None] * centres[..., None, :] + centres[..., :, None] * local_dipoles[..., None, :]
    return moments + _local_moments(functions)


def _local_moments(functions: MolecularBasis) -> Tensor:
    """(..., n_functions, 3, 3) second moments of the functions about their own centres."""
    result = torch.zeros((functions.n_functions, 3, 3), dtype=functions.dtype, device=functions.device)
    for group in functions.groups:
        exponents, coefficients = group.exponents, group.coefficients
        if group.l == 0:
            # integral x^2 exp(-a r^2) = (pi/a)^(3/2) / 2a
            radial = (coefficients * (pi / exponents) ** 1.5 / (2.0 * exponents)).sum(-1) / sqrt(4.0 * pi)
            angular = torch.eye(3, dtype=functions.dtype, device=functions.device)[None]
        elif group.l == 2:
            # r_i r_j = (4 pi / 3) sum_m G_ijm S_2m + r^2 delta_ij / 3, and integral S_2m^2 exp(-a r^2) is radial only
            radial = (coefficients * (15.0 / 16.0) * sqrt(pi) / exponents**3.5).sum(-1)
            coupling = torch.tensor(gaunt(1, 1, 2), dtype=functions.dtype, device=functions.device)
            angular = coupling.permute(2, 0, 1) * (4.0 * pi / 3.0)
        else:
            continue
        own = (radial[..., None, None, None] * angular).flatten(-4, -3)  # the functions of the shells, in order
        result = torch.index_add(result.expand(*own.shape[:-3], -1, 3, 3), -3, group.functions.reshape(-1), own)
    return result


def traceless(moments: Tensor) -> Tensor:
    """Traceless quadrupole (..., 3, 3) of second moments (..., 3, 3): (3 M_ij - delta_ij trace M) / 2.

    Buckingham's convention (Adv. Chem. Phys. 12, 107, 1967): Theta_ij = 1/2 sum q (3 r_i r_j - r^2 delta_ij).
    """
    trace = moments.diagonal(dim1=-2, dim2=-1).sum(-1)
    identity = torch.eye(3, dtype=moments.dtype, device=moments.device)
    return 1.5 * moments - 0.5 * trace[..., None, None] * identity


def quadrupoles(functions: MolecularBasis, positions: Tensor) -> Tensor:
    """Traceless quadrupoles of the functions about the origin in Buckingham's convention, (..., n_functions, 3, 3).

    Of a number density: multiply by the charge, -1 for electrons. See ``traceless``.
    """
    return traceless(second_moments(functions, positions))
