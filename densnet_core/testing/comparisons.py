"""Comparisons that end in a sentence, derivatives against differences, smoothness and export. Needs no pytest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from densnet_core.errors import InputError
from densnet_core.potentials.trace import flatten

TOLERANCE: Final = 1e-9
"""Of float64, relative to the largest value."""
GAPS: Final = (0.4, 0.4 / 32)
"""Bohr inside the cutoff, where what must vanish there is compared."""


def difference(found: Tensor, expected: Tensor, relative: bool = True) -> float:
    """Largest difference of two tensors, relative to the largest value expected; infinite if shape or number fails."""
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    largest = float(expected.detach().abs().max()) if relative else 1.0
    return float((found - expected).detach().abs().max()) / (largest or 1.0)


def assert_close(found: Tensor, expected: Tensor, tolerance: float, what: str, relative: bool = True) -> None:
    """Raise ``AssertionError`` with a sentence unless two tensors agree."""
    if found.shape != expected.shape:
        raise AssertionError(f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}.")
    if not (error := difference(found, expected, relative)) <= tolerance:
        unit = " of the largest value" if relative else ""
        raise AssertionError(f"{what}: differs by {error:.1e}{unit}; at most {tolerance:.0e} is allowed.")


def assert_that(condition: bool, what: str) -> None:
    """Raise ``AssertionError`` with a sentence unless a condition holds."""
    if not condition:
        raise AssertionError(what)


def assert_refused(call: Callable[[], object], what: str) -> None:
    """Raise ``AssertionError`` unless a call raises ``InputError``."""
    try:
        call()
    except InputError:
        return
    raise AssertionError(f"{what} is not refused; expected an InputError that says why.")


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Of a scalar function, zero where it does not depend on its argument."""
    point = at.detach().clone().requires_grad_()
    value = function(point)
    if not value.requires_grad:
        return torch.zeros_like(point)
    (slope,) = torch.autograd.grad(value, point, allow_unused=True)
    return torch.zeros_like(point) if slope is None else slope


def slope(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor, step: float = 2e-3) -> Tensor:
    """Directional derivative by central differences of fourth order."""
    with torch.no_grad():
        far, near = (function(at + k * step * direction) - function(at - k * step * direction) for k in (2, 1))
    return (8.0 * near - far) / (12.0 * step)


def assert_slope(function: Callable[[Tensor], Tensor], at: Tensor, what: str, step: float = 2e-3) -> None:
    """The gradient of a scalar function along a random direction is not zero and that of central differences."""
    direction = torch.randn(at.shape, generator=torch.Generator().manual_seed(2), dtype=at.dtype)
    found = (gradient(function, at) * direction).sum()
    assert_that(bool(found != 0), f"{what} is zero.")
    assert_close(found, slope(function, at, direction, step), 1e-6, what)


def assert_learnable(loss: Callable[[], Tensor], parameters: Sequence[Tensor], what: str) -> None:
    """The gradient of a loss in the parameters, which may go through forces, is that of central differences."""
    random = torch.Generator().manual_seed(4)
    directions = [torch.randn(one.shape, generator=random, dtype=one.dtype) for one in parameters]
    slopes = torch.autograd.grad(loss(), parameters, allow_unused=True)
    products = [(s * d).sum() for s, d in zip(slopes, directions, strict=True) if s is not None]
    values = []
    for step in (-2, 1, 1, 1, 1):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data += step * 1e-4 * direction
        values.append(loss().detach())
    expected = (8.0 * (values[3] - values[1]) - (values[4] - values[0])) / 12e-4
    assert_close(torch.stack(products).sum(), expected, 1e-5, what)


def radial_derivatives(function: Callable[[Tensor], Tensor], distance: float, order: int) -> list[Tensor]:
    """Values (n,) of a function of a distance and their derivatives up to an order."""
    at = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    values = function(at)
    rows = [values.detach()]
    each = list(values)
    for _ in range(order):
        each = [_derivative(one, at) for one in each]
        rows.append(torch.stack([one.detach() for one in each]))
    return rows


def _derivative(value: Tensor, at: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(at)
    (result,) = torch.autograd.grad(value, at, create_graph=True, allow_unused=True)
    return torch.zeros_like(at) if result is None else result


def assert_smooth_at_cutoff(function: Callable[[Tensor], Tensor], cutoff: float, derivatives: int, what: str) -> None:
    """Values and derivatives of a pair become those of atoms apart towards the cutoff, and stay so beyond it.

    Parameters
    ----------
    function : callable
        From a distance () in bohr to values (n,).
    derivatives : int
        How many must vanish; the values themselves are always compared.
    """
    apart, *beyond = radial_derivatives(function, cutoff + 1.0, derivatives)
    assert_close(function(torch.tensor(cutoff + 1e-9)).detach(), apart, 1e-12, f"{what} just beyond the cutoff")
    for n, row in enumerate(beyond, 1):
        assert_close(row, torch.zeros_like(row), 0.0, f"Derivative {n} of {what} beyond the cutoff")
    far, near = ([r - a for r, a in zip(radial_derivatives(function, cutoff - gap, derivatives),
                                        [apart, *beyond], strict=True)] for gap in GAPS)  # fmt: skip
    middle = (function(torch.tensor(0.5 * cutoff)).detach() - apart).abs().max()
    assert_that(float(middle) > 0, f"{what} does not depend on the distance at half the cutoff.")
    rounding = 1e-13 * max(1.0, float(apart.abs().max()))
    for n, (one, other) in enumerate(zip(far, near, strict=True)):
        before, after = float(one.abs().max()), float(other.abs().max())
        name = what if n == 0 else f"derivative {n} of {what}"
        assert_that(
            after <= max(0.2 * before, rounding),
            f"Towards the cutoff of {cutoff:.2f} bohr {name} does not vanish: {before:.1e} is left at {GAPS[0]} bohr "
            f"and {after:.1e} at {GAPS[1]} bohr inside it. Multiply what comes from a pair by a smooth envelope.",
        )


def assert_exportable(
    function: Callable[[Tensor], tuple[Tensor, ...]], example: Tensor, elsewhere: Sequence[Tensor], what: str
) -> None:
    """The trace that engines run gives the same at other geometries as the function itself."""
    try:
        flat = flatten(function, example)
    except Exception as error:
        raise AssertionError(f"{what} cannot be exported: {error}") from error
    for positions in elsewhere:
        with torch.no_grad():
            found = flat(positions)
        for n, (one, other) in enumerate(zip(found, function(positions), strict=True)):
            assert_close(one, other.detach(), TOLERANCE, f"Output {n} of the exported {what} at another geometry")


def at_distance(function: Callable[[Tensor], Tensor], places: Tensor, distance: Tensor) -> Tensor:
    """A function of positions for a pair whose atoms are one bohr apart at the places."""
    return function(places * distance)


def total(function: Callable[[Tensor], Tensor], positions: Tensor) -> Tensor:
    """Sum of the values of a function."""
    return function(positions).sum()
