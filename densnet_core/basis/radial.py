"""Radial parts of the two-centre integrals between primitives, for all pairs of shells of two atoms at once.

With u = R^2, p = a + b, reduced exponent d = a b / p and x = d u, the integral between r^l1 exp(-a r^2) and
r^l2 exp(-b r^2) needs for every L = l1 + l2 - 2t one number: the L-th derivative with respect to u of the t-fold
Laplacian of the integral between two spherical Gaussians. For the overlap, (pi/p)^(3/2) exp(-x), this is a Laguerre
polynomial of degree t times exp(-x), from d/dx [exp(-x) L_k^a] = -exp(-x) L_k^(a+1). For the Coulomb repulsion,
2 pi^(5/2) / (a b sqrt(p)) F_0(x), it is a Boys function of order l1 + l2 at t = 0; the Laplacian of the repulsion is
-4 pi times the overlap, so the other terms are those of the overlap with t - 1.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import factorial, gamma, pi

import torch
from torch import Tensor

from densnet_core.basis.base import Metric
from densnet_core.basis.boys import boys_of_order
from densnet_core.errors import InputError

Momenta = tuple[int, ...]
"""Angular momentum of every primitive of an atom, ascending."""


class RadialTable:
    """What the radial integrals between the primitives of two atoms have in common at any distance.

    Parameters
    ----------
    metric : {"overlap", "coulomb"}
    left_l, right_l : tuple of int
        Angular momentum of every primitive, ascending.
    left, right : (..., n_left), (..., n_right)
        Exponents.
    left_factors, right_factors : the same shapes, or None for ones
        Factors of r^l exp(-a r^2).
    """

    def __init__(
        self,
        metric: Metric,
        left_l: Momenta,
        right_l: Momenta,
        left: Tensor,
        right: Tensor,
        left_factors: Tensor | None = None,
        right_factors: Tensor | None = None,
    ) -> None:
        a, b = left.unsqueeze(-1), right.unsqueeze(-2)
        inverse = 1.0 / (a + b)
        self.metric = metric
        self.highest = left_l[-1] + right_l[-1]
        self.reduced = a * b * inverse
        """(..., n_left, n_right) reduced exponents."""
        # (d / 2a)^l1 (d / 2b)^l2 written so that no power of a tight exponent can overflow
        first = second = (pi * inverse) ** 0.75
        if left_factors is not None:
            first = left_factors.unsqueeze(-1) * first
        if right_factors is not None:
            second = right_factors.unsqueeze(-2) * second
        half = 0.5 * inverse
        scale = first * second * _power_of_blocks(b * half, left_l, -2) * _power_of_blocks(a * half, right_l, -1)
        coulomb = metric == "coulomb"
        n_terms = min(left_l[-1], right_l[-1]) + 1
        powers = [scale / self.reduced if coulomb else scale]
        for _ in range(n_terms - 1):
            powers.append(powers[-1] / self.reduced)
        self.scale = torch.stack(powers, dim=-3)
        """(..., n_terms, n_left, n_right) factors that depend on the exponents."""
        self.orders, self.numbers = _numbers(metric, left_l, right_l, left.dtype, left.device)

    def at(self, squared: Tensor) -> Tensor:
        """(..., n_terms, n_left, n_right) integrals; terms t > min(l1, l2) are zero.

        Parameters
        ----------
        squared : broadcast against (..., n_left, n_right)
            Squared distances.
        """
        x = self.reduced * squared
        decay = torch.exp(-x).unsqueeze(-3)
        if self.metric == "overlap":
            return self._polynomials(x.unsqueeze(-3), self.numbers) * (self.scale * decay)
        repulsion = boys_of_order(x, self.orders, self.highest).unsqueeze(-3)
        first = repulsion * (self.scale[..., :1, :, :] * self.numbers[0][:1])
        if self.scale.shape[-3] == 1:
            return first
        others = [number[1:] for number in self.numbers]
        rest = self._polynomials(x.unsqueeze(-3), others) * (self.scale[..., 1:, :, :] * decay)
        return torch.cat([first, rest], dim=-3)

    @staticmethod
    def _polynomials(x: Tensor, numbers: list[Tensor]) -> Tensor:
        """sum_j numbers[j] x^j by Horner's rule."""
        value = numbers[-1]
        for number in reversed(numbers[:-1]):
            value = torch.addcmul(number, value, x)
        return value


def check_metric(metric: str) -> None:
    """``InputError`` if there is no such metric."""
    if metric not in ("overlap", "coulomb"):
        raise InputError(f"Unknown metric {metric!r}; known: 'coulomb', 'overlap'.")


def _power_of_blocks(base: Tensor, momenta: Momenta, dim: int) -> Tensor:
    """base^l with the l of each row (dim -2) or column (dim -1); blocks of one l are contiguous."""
    edges = [0, *(i for i in range(1, len(momenta)) if momenta[i] != momenta[i - 1]), len(momenta)]
    blocks = [base.narrow(dim, start, stop - start) ** momenta[start] for start, stop in pairwise(edges)]
    return torch.cat(blocks, dim=dim)


@cache
def _numbers(
    metric: Metric, left_l: Momenta, right_l: Momenta, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """Orders l1 + l2 (n_left, n_right), and for each power of x the numbers (n_terms, n_left, n_right)."""
    n_terms = min(left_l[-1], right_l[-1]) + 1
    degree = n_terms - 1 if metric == "overlap" else max(n_terms - 2, 0)
    table = torch.zeros((degree + 1, n_terms, left_l[-1] + 1, right_l[-1] + 1), dtype=torch.float64)
    for l1 in set(left_l):
        for l2 in set(right_l):
            for t in range(min(l1, l2) + 1):
                order = l1 + l2 - 2 * t
                common = (-2.0) ** order * (-1.0) ** l2
                if metric == "coulomb" and t == 0:
                    table[0, 0, l1, l2] = 2.0 * pi * common
                    continue
                k = t if metric == "overlap" else t - 1
                common *= factorial(k) * (-4.0) ** k * (1.0 if metric == "overlap" else -4.0 * pi)
                for j in range(k + 1):
                    table[j, t, l1, l2] = common * _laguerre(k, order + 0.5, j)
    rows, columns = torch.tensor(left_l), torch.tensor(right_l)
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        numbers = table[:, :, rows[:, None], columns[None, :]].to(dtype=dtype, device=device)
        orders = (rows[:, None] + columns[None, :]).to(device)
    return orders, list(numbers)


def _laguerre(k: int, alpha: float, power: int) -> float:
    """Coefficient of x^power in the generalised Laguerre polynomial L_k^alpha."""
    binomial = gamma(k + alpha + 1) / (factorial(k - power) * gamma(alpha + power + 1))
    return (-1.0) ** power * binomial / factorial(power)
