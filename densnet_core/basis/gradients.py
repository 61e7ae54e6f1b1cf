"""Gradients with respect to the point: of solid harmonics and of the functions of a basis."""

from __future__ import annotations

from functools import cache
from math import pi, sqrt

import torch
from torch import Tensor

from densnet_core.basis.assembly import in_function_order
from densnet_core.basis.harmonics import gaunt, solid_harmonics
from densnet_core.basis.molecular import MolecularBasis


@cache
def _lowering(l: int, dtype: torch.dtype, device: torch.device) -> Tensor:  # noqa: E741
    """(2l-1, 3 (2l+1)) matrix that takes S_(l-1) to the derivatives dS_lm/dr_i, i slower than m.

    The derivative of a harmonic polynomial of degree l is one of degree l-1. The inner product p(d/dr) q of polynomials
    makes d/dr_i the adjoint of multiplication by r_i, and S_lm has the squared norm (2l+1)!! / 4 pi in it, so the
    matrix is that of the products r_i S_(l-1) times the ratio 2l+1 of the norms.
    """
    coupling = (2 * l + 1) * sqrt(4.0 * pi / 3.0) * gaunt(l - 1, 1, l)
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return torch.tensor(coupling.reshape(2 * l - 1, 3 * (2 * l + 1)), dtype=dtype, device=device)


def harmonic_gradients(harmonics: list[Tensor]) -> list[Tensor]:
    """Gradients (..., 3, 2l+1) of the solid harmonics (..., 2l+1), l = 0, 1, ..., that ``solid_harmonics`` returned."""
    gradients = [torch.zeros_like(harmonics[0]).unsqueeze(-2).expand(*harmonics[0].shape[:-1], 3, 1)]
    for l in range(1, len(harmonics)):  # noqa: E741
        lower = harmonics[l - 1]
        gradients.append((lower @ _lowering(l, lower.dtype, lower.device)).reshape(*lower.shape[:-1], 3, 2 * l + 1))
    return gradients


def function_gradients(functions: MolecularBasis, positions: Tensor, points: Tensor) -> Tensor:
    """Gradients of all functions on points, (..., n_points, 3, n_functions).

    Parameters
    ----------
    functions : MolecularBasis
    positions : (..., n_atoms, 3), bohr
    points : (..., n_points, 3), bohr
        Leading dimensions of both are a batch of geometries.
    """
    offsets = points[..., :, None, :] - positions[..., None, :, :]
    squares = (offsets**2).sum(-1)
    harmonics = solid_harmonics(offsets, max(group.l for group in functions.groups))
    gradients = harmonic_gradients(harmonics)
    blocks = []
    for group in functions.groups:
        exponents = group.exponents.unsqueeze(-3)
        primitives = group.coefficients.unsqueeze(-3) * torch.exp(-squares[..., group.atoms, None] * exponents)
        radial, slope = primitives.sum(-1), (-2.0 * exponents * primitives).sum(-1)
        direction = offsets[..., group.atoms, :, None] * harmonics[group.l][..., group.atoms, None, :]
        block = radial[..., None, None] * gradients[group.l][..., group.atoms, :, :]
        block = block + slope[..., None, None] * direction
        blocks.append(block.transpose(-3, -2))
    return in_function_order(functions, blocks)
