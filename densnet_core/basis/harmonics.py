"""Real solid harmonics and their coupling (Gaunt) coefficients.

S_lm(r) = |r|^l Y_lm(r/|r|) with Y_lm the orthonormal real spherical harmonics without the Condon-Shortley phase, in
the core's order: m = -l..l for l >= 2, and x, y, z for l = 1.
"""

from __future__ import annotations

from functools import cache
from math import pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import sph_harm_y
from torch import Tensor

from densnet_core.basis.conventions import from_magnetic_order


def _spherical_harmonics(l: int, theta: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: E741
    """Reference values (n, 2l+1) at polar angle theta and azimuth phi, from scipy's complex harmonics."""
    columns = []
    for m in range(-l, l + 1):
        values = sph_harm_y(l, abs(m), theta, phi) * (-1) ** m
        columns.append(values.real if m == 0 else sqrt(2.0) * (values.real if m > 0 else values.imag))
    return np.stack(columns, axis=-1)[:, from_magnetic_order(l)]


@cache
def gaunt(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Integrals of three real spherical harmonics over the sphere, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1).

    Y_1 Y_2 = sum_3 G_123 Y_3, and for solid harmonics S_1 S_2 = sum_3 G_123 |r|^(l1+l2-l3) S_3. The integrand is a
    polynomial, so the product quadrature (Gauss-Legendre in cos theta, uniform in phi) is exact to rounding.
    """
    n = l1 + l2 + l3 + 1
    nodes, weights = np.polynomial.legendre.leggauss(n)
    azimuth = np.arange(2 * n) * (pi / n)
    theta = np.repeat(np.arccos(nodes), 2 * n)
    phi = np.tile(azimuth, n)
    weight = np.repeat(weights, 2 * n) * (pi / n)
    y1, y2, y3 = (_spherical_harmonics(l_, theta, phi) for l_ in (l1, l2, l3))
    result = np.asarray(np.einsum("g,ga,gb,gc->abc", weight, y1, y2, y3, optimize=True))
    result[np.abs(result) < 1e-14] = 0.0
    result.setflags(write=False)
    return result


@cache
def _raising(l: int, dtype: torch.dtype, device: torch.device) -> Tensor:  # noqa: E741
    """(3 (2l+1), 2l+3) matrix that takes the products S_l S_1 to S_(l+1)."""
    coupling = gaunt(l, 1, l + 1)
    scale = (coupling**2).sum(axis=(0, 1))
    matrix = (coupling / scale).reshape(3 * (2 * l + 1), 2 * l + 3)
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return torch.tensor(matrix, dtype=dtype, device=device)


def solid_harmonics(vectors: Tensor, l_max: int) -> list[Tensor]:
    """S_l of vectors for l = 0..l_max: a list of tensors (..., 2l+1).

    Built by coupling with l = 1 one step at a time, which is stable and needs few operations at any l.

    Parameters
    ----------
    vectors : (..., 3)
        x, y, z; for spherical harmonics pass unit vectors.
    """
    lead = vectors.shape[:-1]
    harmonics = [torch.full((*lead, 1), 1.0 / sqrt(4.0 * pi), dtype=vectors.dtype, device=vectors.device)]
    if l_max >= 1:
        first = vectors * sqrt(3.0 / (4.0 * pi))
        harmonics.append(first)
        for l in range(1, l_max):  # noqa: E741
            product = (harmonics[l].unsqueeze(-1) * first.unsqueeze(-2)).reshape(*lead, 3 * (2 * l + 1))
            harmonics.append(product @ _raising(l, vectors.dtype, vectors.device))
    return harmonics


@cache
def _couplings(
    pairs: tuple[tuple[int, int], ...], l3: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Gaunt coefficients (2 l3 + 1, sum of (2 l1 + 1) (2 l2 + 1)) of the pairs (l1, l2) that couple to l3."""
    coupled = [(l1, l2) for l1, l2 in pairs if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 - l3) % 2 == 0]
    columns = [gaunt(l1, l2, l3).reshape(-1, 2 * l3 + 1).T for l1, l2 in coupled]
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return torch.tensor(np.concatenate(columns, axis=1), dtype=dtype, device=device), coupled


def coupled_harmonics(vectors: Tensor, pairs: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], Tensor]:
    """For pairs (l1, l2) the solid harmonics S_L coupled by Gaunt coefficients to products of l1 and l2.

    Parameters
    ----------
    vectors : (..., 3)
    pairs : tuple of (l1, l2)

    Returns
    -------
    dict
        For every pair (..., min(l1, l2) + 1, (2 l1 + 1) (2 l2 + 1)), terms t = 0, 1, ... with L = l1 + l2 - 2t.
    """
    highest = max(l1 + l2 for l1, l2 in pairs)
    terms: dict[tuple[int, int], list[Tensor]] = {pair: [] for pair in pairs}
    harmonics = solid_harmonics(vectors, highest)
    for l3 in range(highest, -1, -1):
        if not any(abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 - l3) % 2 == 0 for l1, l2 in pairs):
            continue
        matrix, coupled = _couplings(pairs, l3, vectors.dtype, vectors.device)
        parts = torch.split(harmonics[l3] @ matrix, [(2 * l1 + 1) * (2 * l2 + 1) for l1, l2 in coupled], dim=-1)
        for pair, part in zip(coupled, parts, strict=True):
            terms[pair].append(part)
    return {pair: torch.stack(parts, dim=-2) for pair, parts in terms.items()}
