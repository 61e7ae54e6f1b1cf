"""Two-centre integrals between solid-harmonic Gaussians, batched and differentiable.

A solid-harmonic Gaussian is a derivative of a spherical one (Hobson's theorem),
S_lm(r - A) exp(-a |r-A|^2) = (2a)^-l S_lm(d/dA) exp(-a |r-A|^2), so an integral between two of them is
S_1(d/dR) S_2(d/dR) applied to the integral F(R^2) between two spherical Gaussians, R = A - B. The product of the
two harmonics couples with Gaunt coefficients, S_1 S_2 = sum_L G_L |.|^2k S_L with 2k = l1 + l2 - L, and
S_L(d/dR) f(R^2) = 2^L f^(L)(R^2) S_L(R). The angular part then depends on the pair of atoms only and the radial part
on the pair of shells only; no Cartesian intermediates appear. See Hobson, The Theory of Spherical and Ellipsoidal
Harmonics (1931), section 79; for overlaps the Laguerre form is derived from d/dx [exp(-x) L_k^a] = -exp(-x) L_k^(a+1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import factorial, pi
from typing import Literal

import torch
from torch import Tensor

from densnet_core.basis.boys import boys
from densnet_core.basis.harmonics import gaunt, solid_harmonics
from densnet_core.basis.molecular import MolecularBasis, ShellGroup
from densnet_core.errors import InputError

Metric = Literal["coulomb", "overlap"]
Derivative = Callable[[int, int], Tensor]


def _laguerre(order: int, alpha: float, x: Tensor) -> Tensor:
    """Generalised Laguerre polynomial L_order^alpha(x) by its three-term recursion."""
    previous, current = torch.zeros_like(x), torch.ones_like(x)
    for n in range(order):
        previous, current = current, ((2 * n + 1 + alpha - x) * current - (n + alpha) * previous) / (n + 1)
    return current


def _overlap_derivative(a: Tensor, b: Tensor, squared: Tensor) -> Derivative:
    """(k, L) -> d^L/du^L of the k-fold Laplacian of the overlap of two spherical Gaussians, u = R^2."""
    total = a + b
    reduced = a * b / total
    x = reduced * squared
    value = (pi / total) ** 1.5 * torch.exp(-x)

    def derivative(k: int, order: int) -> Tensor:
        polynomial = _laguerre(k, order + 0.5, x) if k else 1.0
        sign_and_count = factorial(k) * (-4.0) ** k * (-1.0) ** order
        result: Tensor = value * polynomial * sign_and_count * reduced ** (k + order)
        return result

    return derivative


def _coulomb_derivative(a: Tensor, b: Tensor, squared: Tensor, highest: int) -> Derivative:
    """The same for the Coulomb repulsion; its Laplacian is -4 pi times the overlap."""
    total = a + b
    reduced = a * b / total
    values = boys(reduced * squared, highest)
    prefactor = 2.0 * pi**2.5 / (a * b * torch.sqrt(total))
    overlap = _overlap_derivative(a, b, squared)

    def derivative(k: int, order: int) -> Tensor:
        if k:
            return -4.0 * pi * overlap(k - 1, order)
        result: Tensor = prefactor * (-reduced) ** order * values[order]
        return result

    return derivative


@cache
def _coupling(l1: int, l2: int, l3: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return torch.tensor(gaunt(l1, l2, l3), dtype=dtype, device=device)


def _block(metric: Metric, left: ShellGroup, right: ShellGroup, offsets: Tensor, harmonics: list[Tensor]) -> Tensor:
    """(..., n_left, 2 l1 + 1, n_right, 2 l2 + 1) integrals between two groups of shells."""
    a = left.exponents[..., :, None, :, None]
    b = right.exponents[..., None, :, None, :]
    squared = (offsets**2).sum(-1)[..., left.atoms[:, None], right.atoms[None, :]][..., None, None]
    if metric == "coulomb":
        derivative = _coulomb_derivative(a, b, squared, left.l + right.l)
    else:
        derivative = _overlap_derivative(a, b, squared)
    weight = (
        (left.coefficients / (2.0 * left.exponents) ** left.l)[..., :, None, :, None]
        * (right.coefficients / (2.0 * right.exponents) ** right.l)[..., None, :, None, :]
        * (-1.0) ** right.l
    )
    result: Tensor | None = None
    for total in range(abs(left.l - right.l), left.l + right.l + 1, 2):
        radial = (weight * derivative((left.l + right.l - total) // 2, total)).sum((-2, -1)) * 2.0**total
        coupling = _coupling(left.l, right.l, total, radial.dtype, radial.device)
        angular = torch.einsum("...ABM,mnM->...AmBn", harmonics[total], coupling)
        angular = angular.index_select(-4, left.atoms).index_select(-2, right.atoms)
        term = radial[..., :, None, :, None] * angular
        result = term if result is None else result + term
    assert result is not None
    return result


def two_center(
    metric: Metric,
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis | None = None,
    right_positions: Tensor | None = None,
) -> Tensor:
    """Overlap <P|Q> or Coulomb (P|Q) integrals: (..., n_left, n_right), atomic units.

    Parameters
    ----------
    metric : {"overlap", "coulomb"}
    left, right : MolecularBasis
        ``right`` omitted means ``left`` (only half of the blocks are then computed).
    left_positions, right_positions : (..., n_atoms, 3)
        Bohr; leading dimensions are a batch of geometries.

    Raises
    ------
    InputError
        For an unknown metric.
    """
    if metric not in ("overlap", "coulomb"):
        raise InputError(f"Unknown metric {metric!r}; known: 'coulomb', 'overlap'.")
    symmetric = right is None
    right = left if right is None else right
    right_positions = left_positions if right_positions is None else right_positions
    offsets = left_positions[..., :, None, :] - right_positions[..., None, :, :]
    highest = max(g.l for g in left.groups) + max(g.l for g in right.groups)
    harmonics = solid_harmonics(offsets, highest)
    batch = torch.broadcast_shapes(
        offsets.shape[:-3], *(group.exponents.shape[:-2] for functions in (left, right) for group in functions.groups)
    )
    result = offsets.new_empty((*batch, left.n_functions, right.n_functions))
    mirrored: dict[tuple[int, int], Tensor] = {}
    for i, first in enumerate(left.groups):
        columns = []  # transposed blocks of all groups on the right
        for j, second in enumerate(right.groups):
            if symmetric and j < i:
                columns.append(mirrored.pop((j, i)))
                continue
            block = _block(metric, first, second, offsets, harmonics).flatten(-4, -3).flatten(-2, -1)
            columns.append(block.transpose(-2, -1))
            if symmetric and j > i:
                mirrored[i, j] = block
        # Moving whole rows is several times faster than single entries of every row, and strips spare a second array of
        # the size of the result, whose fresh memory costs as much as filling it.
        strip = torch.cat(columns, dim=-2).index_select(-2, right.places)
        result.index_copy_(-2, first.functions.reshape(-1), strip.transpose(-2, -1))
    return result


def contracted_two_center(
    metric: Metric,
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis,
    right_positions: Tensor,
    right_coefficients: Tensor,
) -> Tensor:
    """Integrals (P|rho) or <P|rho> with a density rho = sum_Q c_Q Q: (..., n_left), atomic units.

    Parameters
    ----------
    metric : {"overlap", "coulomb"}
    left, right : MolecularBasis
    left_positions, right_positions : (..., n_atoms, 3)
        Bohr; leading dimensions are a batch of geometries.
    right_coefficients : (..., n_right)
        Of the density.

    Raises
    ------
    InputError
        For an unknown metric.
    """
    matrix = two_center(metric, left, left_positions, right, right_positions)
    return (matrix @ right_coefficients.unsqueeze(-1)).squeeze(-1)
