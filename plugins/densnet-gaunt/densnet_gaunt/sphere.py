"""Products of equivariant features, taken as products of functions on the sphere.

Features f_lm are a function f(u) = sum_lm f_lm Y_lm(u) of the direction u. The product of such functions at each point
of a quadrature, expanded again, is the Clebsch-Gordan product with the weights of Gaunt's coefficients (Luo, Chen and
Krishnapriyan, arXiv 2401.10216): all paths of natural parity at once, in two matrix products whose cost does not depend
on the number of paths. Lebedev's rules make it exact.
"""

from __future__ import annotations

from functools import cache
from math import pi

import torch
from torch import Tensor, nn

from densnet_core.density.quadrature import lebedev
from densnet_core.models.features import harmonics

DEGREES = (*range(3, 32, 2), *range(35, 132, 6))
"""Degrees of the rules of Lebedev and Laikov."""


@cache
def _rule(degree: int, l_max: int) -> tuple[Tensor, Tensor]:
    """Harmonics (n_points, (l_max + 1)^2) and weights (n_points,), which add up to one, of a rule of a degree."""
    directions, weights = lebedev(next(d for d in DEGREES if d >= degree))
    with torch.inference_mode(False):
        return harmonics(torch.tensor(directions), l_max), torch.tensor(weights / (4.0 * pi))


class SphereProduct(nn.Module):
    """Products of two and of three sets of features of l <= l_in, up to l_out.

    Every component of the output has unit variance for independent inputs whose components have unit variance.

    Parameters
    ----------
    l_in, l_out : int
        l_out of at most 3 l_in; beyond 2 l_in products of two are zero.
    """

    def __init__(self, l_in: int, l_out: int) -> None:
        super().__init__()
        n_in, n_out = (l_in + 1) ** 2, (l_out + 1) ** 2
        values, weights = _rule(3 * l_in + l_out, max(l_in, l_out))
        to_points = values[:, :n_in] * n_in**-0.5
        expansion = (values[:, :n_out] * weights[:, None]).T
        covariance = to_points @ to_points.T  # of the values at two points
        self.to_points: Tensor
        self.from_two: Tensor
        self.from_three: Tensor
        self.register_buffer("to_points", to_points, persistent=False)
        self.register_buffer("from_two", _normalised(expansion, covariance**2), persistent=False)
        self.register_buffer("from_three", _normalised(expansion, covariance**3), persistent=False)

    def forward(self, first: Tensor, second: Tensor, third: Tensor, n_out: int) -> Tensor:
        """(n_out, n_atoms, 2 * channels): components of the products of the first two, and of all three.

        Parameters
        ----------
        first, second, third : ((l_in + 1)^2, n_atoms, channels)
        """
        dtype, shape, to_points = first.dtype, first.shape[1:], self.to_points.to(first.dtype)
        one, other, another = (to_points @ factor.flatten(1) for factor in (first, second, third))
        two = one * other
        from_two, from_three = self.from_two[:n_out].to(dtype), self.from_three[:n_out].to(dtype)
        products = (from_two @ two, from_three @ (two * another))
        return torch.cat([product.reshape(-1, *shape) for product in products], dim=2)


def _normalised(expansion: Tensor, covariance: Tensor) -> Tensor:
    """Rows of an expansion, so that components have unit variance where values have a covariance; zero rows stay."""
    variance = torch.einsum("cp,pq,cq->c", expansion, covariance, expansion)
    reached = variance > 1e-12
    return torch.where(reached, variance, 1.0).rsqrt()[:, None] * expansion * reached[:, None]
