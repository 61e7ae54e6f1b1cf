"""Electrostatic potential and field of the functions of a basis, and their attraction by nuclei.

The potential of a spherical Gaussian is (2 pi / a) F_0(a d^2) with the Boys function F_0. Hobson's theorem (see
``densnet_core.basis.integrals``) turns it into that of a solid-harmonic one,

    integral S_lm(r - A) exp(-a |r - A|^2) / |r - C| dr = (2 pi / a) F_l(a d^2) S_lm(d),   d = C - A,

because d^l/du^l F_0(a u) = (-a)^l F_l(a u). The closed form has no cancellation, at A as well as far away.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from densnet_core.basis.assembly import in_function_order
from densnet_core.basis.boys import boys_of_order
from densnet_core.basis.gradients import harmonic_gradients
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.basis.molecular import MolecularBasis


def potentials(functions: MolecularBasis, positions: Tensor, points: Tensor) -> Tensor:
    """Integrals of P(r) / |r - C| for every function P and point C, (..., n_points, n_functions), atomic units.

    Parameters
    ----------
    functions : MolecularBasis
    positions : (..., n_atoms, 3), bohr
    points : (..., n_points, 3), bohr
        Leading dimensions of both are a batch of geometries.

    Notes
    -----
    Of a number density: multiply by the charge, -1 for electrons.
    """
    offsets = points[..., :, None, :] - positions[..., None, :, :]
    squares = (offsets**2).sum(-1)
    harmonics = solid_harmonics(offsets, max(group.l for group in functions.groups))
    blocks = []
    for group in functions.groups:
        exponents = group.exponents.unsqueeze(-3)
        primitives = (2.0 * pi) * group.coefficients.unsqueeze(-3) / exponents
        values = _boys(squares[..., group.atoms, None] * exponents, group.l, group.l)
        radial = (primitives * values).sum(-1)
        blocks.append(radial[..., None] * harmonics[group.l][..., group.atoms, :])
    return in_function_order(functions, blocks)


def fields(functions: MolecularBasis, positions: Tensor, points: Tensor) -> Tensor:
    """Electric fields of the functions as positive charge densities, (..., n_points, 3, n_functions).

    The field is minus the gradient of ``potentials`` with respect to the point; parameters as there.
    """
    offsets = points[..., :, None, :] - positions[..., None, :, :]
    squares = (offsets**2).sum(-1)
    harmonics = solid_harmonics(offsets, max(group.l for group in functions.groups))
    gradients = harmonic_gradients(harmonics)
    blocks = []
    for group in functions.groups:
        exponents, coefficients = group.exponents.unsqueeze(-3), group.coefficients.unsqueeze(-3)
        arguments, highest = squares[..., group.atoms, None] * exponents, group.l + 1
        radial = (2.0 * pi * coefficients / exponents * _boys(arguments, group.l, highest)).sum(-1)
        # dF_l(a d^2)/dd = -2 a d F_(l+1)
        slope = (4.0 * pi * coefficients * _boys(arguments, group.l + 1, highest)).sum(-1)
        direction = offsets[..., group.atoms, :, None] * harmonics[group.l][..., group.atoms, None, :]
        block = slope[..., None, None] * direction
        block = block - radial[..., None, None] * gradients[group.l][..., group.atoms, :, :]
        blocks.append(block.transpose(-3, -2))
    return in_function_order(functions, blocks)


def _boys(x: Tensor, order: int, highest: int) -> Tensor:
    """F_order(x), shape of x; ``highest`` is the largest order that is needed with it."""
    return boys_of_order(x, torch.tensor(order, device=x.device), highest)


def nuclear_attractions(functions: MolecularBasis, positions: Tensor, nuclei: Tensor, charges: Tensor) -> Tensor:
    """Energies -sum_A Z_A integral P(r) / |r - R_A| of the functions as electrons, (..., n_functions), hartree.

    Parameters
    ----------
    functions : MolecularBasis
    positions : (..., n_atoms, 3)
        Centres of the functions, bohr.
    nuclei : (..., n_nuclei, 3)
        Positions of the nuclei, bohr; usually the same as ``positions``.
    charges : (n_nuclei,)
    """
    return -torch.einsum("...cf,c->...f", potentials(functions, positions, nuclei), charges.to(positions.dtype))
