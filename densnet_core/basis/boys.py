"""The Boys function F_n(x) = integral_0^1 t^2n exp(-x t^2) dt, differentiable to any order."""

from __future__ import annotations

from functools import cache
from math import factorial, lgamma, log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gamma, gammainc
from torch import Tensor

_STEP = 0.1
_LARGE = 80.0  # beyond it F_n is a power of x to 1e-16 for every order in use, derivatives included (n <= 16)
_TERMS = 9  # |x - node| <= 0.05, so the first neglected term is below 1e-17
_NODES = int(_LARGE / _STEP) + 2


def _reference(order: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """F_order on nodes, from the incomplete gamma function; a series at small x where that one loses digits."""
    a = order + 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        closed = gammainc(a, x) * gamma(a) / (2.0 * x**a)
    series = np.zeros_like(x)
    small = np.minimum(x, 1.0)
    for k in range(25):
        series += (-small) ** k / (factorial(k) * (2 * order + 2 * k + 1))
    return np.asarray(np.where(x < 1.0, series, closed))


@cache
def _table(highest: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(_TERMS, (highest + 1) * _NODES) Taylor coefficients (-1)^j F_(n+j) / j! around the nodes, for n = 0..highest."""
    nodes = np.arange(_NODES, dtype=np.float64) * _STEP
    values = np.stack([_reference(n, nodes) for n in range(highest + _TERMS)])
    rows = [(-1) ** j / factorial(j) * values[j : j + highest + 1].reshape(-1) for j in range(_TERMS)]
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return torch.tensor(np.stack(rows), dtype=dtype, device=device)


@cache
def _powers(highest: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(highest + 1,) logarithms of the factors of x^-(n + 1/2) at large x, Gamma(n + 1/2) / 2."""
    with torch.inference_mode(False):
        return torch.tensor([lgamma(n + 0.5) - log(2.0) for n in range(highest + 1)], dtype=dtype, device=device)


def _boys(x: Tensor, orders: Tensor, highest: int) -> Tensor:
    near = x.clamp(max=_LARGE)
    node = (near * (1.0 / _STEP)).round_()
    place = torch.add(node.long(), orders, alpha=_NODES).reshape(-1)
    shift = torch.add(near, node, alpha=-_STEP)
    table = _table(highest, x.dtype, x.device)
    coefficients = torch.gather(table, 1, place.expand(_TERMS, -1)).view(_TERMS, *x.shape)
    value = coefficients[-1]
    for j in range(_TERMS - 2, -1, -1):
        value = torch.addcmul(coefficients[j], value, shift)
    exponent = _powers(highest, x.dtype, x.device)[orders]
    far = torch.exp(torch.addcmul(exponent, torch.log(x.clamp(min=1.0)), -(orders + 0.5).to(x.dtype)))
    return torch.where(x > _LARGE, far, value)


class _Boys(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, orders: Tensor, highest: int) -> Tensor:
        ctx.save_for_backward(x, orders)
        ctx.highest = highest
        return _boys(x, orders, highest)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, orders = ctx.saved_tensors
        return -gradient * boys_of_order(x, orders + 1, ctx.highest + 1), None, None


def boys_of_order(x: Tensor, orders: Tensor, highest: int) -> Tensor:
    """F_n(x) with an order for every x >= 0, to about 1e-14 relative in float64; shape of x.

    The derivative dF_n/dx = -F_(n+1) is exact, so the function can be differentiated any number of times. See
    Helgaker, Jorgensen, Olsen, Molecular Electronic-Structure Theory, section 9.8.

    Parameters
    ----------
    x : (...)
    orders : int64, broadcast against x
    highest : int
        The largest of the orders.
    """
    result: Tensor = _Boys.apply(x, orders, highest)  # type: ignore[no-untyped-call]
    return result


def boys(x: Tensor, order: int) -> Tensor:
    """F_0..F_order at x >= 0: (order + 1, *x.shape), differentiable any number of times."""
    orders = torch.arange(order + 1, device=x.device).reshape(-1, *[1] * x.dim())
    return boys_of_order(x.expand(order + 1, *x.shape), orders, order)
