"""The Boys function F_n(x) = integral_0^1 t^2n exp(-x t^2) dt, differentiable to any order."""

from __future__ import annotations

from functools import cache
from math import factorial, pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gamma, gammainc
from torch import Tensor

_STEP = 0.1
_LARGE = 33.0  # beyond it upward recursion is stable for every order in use
_TERMS = 9  # |x - node| <= 0.05, so the first neglected term is below 1e-17


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
def _table(order: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n_nodes, _TERMS) Taylor coefficients of F_order around the nodes: (-1)^j F_(order+j) / j!."""
    nodes = np.arange(int(_LARGE / _STEP) + 2, dtype=np.float64) * _STEP
    columns = [(-1) ** j * _reference(order + j, nodes) / factorial(j) for j in range(_TERMS)]
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return torch.tensor(np.stack(columns, axis=1), dtype=dtype, device=device)


def _boys(x: Tensor, order: int) -> Tensor:
    """(order + 1, ...) values; Taylor expansion and downward recursion below _LARGE, upward recursion above."""
    small = x.clamp(max=_LARGE)
    node = (small / _STEP).round()
    shift = small - node * _STEP
    coefficients = _table(order, x.dtype, x.device)[node.long()]
    top = coefficients[..., -1]
    for j in range(_TERMS - 2, -1, -1):
        top = torch.addcmul(coefficients[..., j], top, shift)
    exponential = torch.exp(-x)
    values = torch.empty((order + 1, *x.shape), dtype=x.dtype, device=x.device)
    values[order] = top
    twice = 2.0 * small
    for n in range(order - 1, -1, -1):
        torch.addcmul(exponential, twice, values[n + 1], out=values[n]).div_(2 * n + 1)
    large = (x.reshape(-1) > _LARGE).nonzero().squeeze(1)
    if len(large):
        far, decay = x.reshape(-1)[large], exponential.reshape(-1)[large]
        upward = [0.5 * torch.sqrt(pi / far) * torch.erf(torch.sqrt(far))]
        for n in range(order):
            upward.append(((2 * n + 1) * upward[-1] - decay) / (2.0 * far))
        values.view(order + 1, -1).index_copy_(1, large, torch.stack(upward))
    return values


class _Boys(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.order = order
        return _boys(x, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        higher = boys(x, ctx.order + 1)[1:]
        return -(gradients[0] * higher).sum(dim=0), None


def boys(x: Tensor, order: int) -> Tensor:
    """F_0..F_order at x >= 0: (order + 1, *x.shape), to about 1e-14 relative in float64.

    The derivative dF_n/dx = -F_(n+1) is exact, so the function can be differentiated any number of times. See
    Helgaker, Jorgensen, Olsen, Molecular Electronic-Structure Theory, section 9.8.
    """
    result: Tensor = _Boys.apply(x, order)  # type: ignore[no-untyped-call]
    return result
