"""What the suites of networks and the quick check have in common: transformations, comparisons, derivatives, export.

Needs no pytest. A suite is a class whose methods ``test_...`` take no argument and raise ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from math import ceil
from typing import Final, TypeVar
from unittest import SkipTest

import numpy as np
import torch
from torch import Tensor, nn

from densnet_core.basis.base import Basis
from densnet_core.basis.conventions import from_magnetic_order, to_magnetic_order
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.potentials.outputs import energy_outputs
from densnet_core.potentials.trace import flatten
from densnet_core.structures import Array

TOLERANCE: Final = 1e-9
"""Of float64, relative to the largest value."""
SINGLE: Final = 1e-4
"""Of float32."""
FAR: Final = 1e4
"""Bohr. Rounded to float32, positions so far from the origin are wrong by 5e-4 bohr."""
GAPS: Final = (0.4, 0.4 / 32)
"""Bohr inside the cutoff, where what must vanish there is compared."""


Network = TypeVar("Network", bound=nn.Module)


def _orthogonal(seed: int, determinant: int) -> Array:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return np.asarray(matrix * np.sign(np.linalg.det(matrix)) * determinant)


TRANSFORMATIONS: Final[Mapping[str, Array]] = {
    "turned": _orthogonal(3, 1),
    "turned and mirrored": _orthogonal(4, -1),
    "inverted": -np.eye(3),
    "mirrored": np.diag([1.0, 1.0, -1.0]),
}


def harmonic_rotation(l: int, matrix: Array) -> Tensor:  # noqa: E741
    """D (2l + 1, 2l + 1) with Y_l(R r) = D Y_l(r) for the real harmonics in magnetic order, R orthogonal.

    By least squares over random directions, so that it rests on the core's harmonics alone.
    """
    directions = np.random.default_rng(l).normal(size=(8 * l + 8, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    order = to_magnetic_order(l)
    before, after = (
        solid_harmonics(torch.tensor(points), l)[l][:, order] for points in (directions, directions @ matrix.T)
    )
    solution: Tensor = torch.linalg.lstsq(before, after).solution
    return solution.T


def feature_rotation(l_max: int, matrix: Array) -> Tensor:
    """((l_max + 1)^2, (l_max + 1)^2) rotation of features of natural parity, l = 0..l_max in magnetic order."""
    return torch.block_diag(*(harmonic_rotation(l_, matrix) for l_ in range(l_max + 1)))


def coefficient_rotation(basis: Basis, numbers: Sequence[int], matrix: Array) -> Tensor:
    """(n_functions, n_functions) rotation of the coefficients of a molecule, in the core's order of functions."""
    blocks = []
    for z in numbers:
        for shell in basis.shells(int(z)):
            order = from_magnetic_order(shell.l)
            blocks.append(harmonic_rotation(shell.l, matrix)[order][:, order])
    return torch.block_diag(*blocks)


def degrees_of(basis: Basis, numbers: Sequence[int]) -> Tensor:
    """(n_functions,) angular momentum of every function."""
    return torch.tensor([s.l for z in numbers for s in basis.shells(int(z)) for _ in range(s.size)])


def atoms_of_functions(basis: Basis, numbers: Sequence[int]) -> Tensor:
    """(n_functions,) the atom of every function."""
    return torch.repeat_interleave(torch.tensor([basis.n_functions([int(z)]) for z in numbers]))


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


def failures(suite: object) -> dict[str, str]:
    """Run the tests of an instance of a suite without pytest: the names of those that fail, and why."""
    found = {}
    for name in sorted(name for name in dir(suite) if name.startswith("test_")):
        try:
            getattr(suite, name)()
        except SkipTest:
            continue
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
    return found


def as_after_training(module: nn.Module, dtype: torch.dtype = torch.float64, seed: int = 7) -> None:
    """Random values for parameters that start at zero, the precision, no dropout: nothing is zero by accident."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if not bool(parameter.detach().any()):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    cast_parameters(module, dtype)
    module.eval()


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Parameters without gradient, as in the model that users hold."""
    held = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def in_double_precision(module: Network) -> Network:
    """A copy in float64, in which derivatives can be compared with differences."""
    copy = deepcopy(module)
    cast_parameters(copy, torch.float64)
    return copy.eval()


def buffers_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all buffers."""
    return {name: buffer.detach().clone() for name, buffer in module.named_buffers()}


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of what a model package keeps."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


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


def density_values(specification: DensitySpecification, graph: Graph, expansion: Expansion, points: Tensor) -> Tensor:
    """Values (n_points,) of an expansion of one molecule."""
    functions = scaled_functions(functions_of(specification.basis, graph.numbers), expansion.scales)
    return functions.density(graph.positions, expansion.coefficients, points)


def electron_counts(specification: DensitySpecification, graph: Graph, expansion: Expansion) -> Tensor:
    """(..., n_molecules) electrons of expansions with coefficients (..., n_functions)."""
    functions = functions_of(specification.basis, graph.numbers)
    counts = scaled_functions(functions, expansion.scales).electron_counts() * expansion.coefficients
    owner = graph.molecule[functions.function_atoms]
    return counts.new_zeros((*counts.shape[:-1], graph.n_molecules)).index_add(-1, owner, counts)


def energies_and_forces(density: DensityModel, energy: EnergyModel, graph: Graph) -> tuple[Tensor, Tensor]:
    """Energies (n_molecules,) and forces (n_atoms, 3) through both models."""
    found, _ = energy_outputs(density, energy, graph)
    return found["energy"], found["forces"]


def losses_of_training(modules: Sequence[nn.Module], loss: Callable[[], Tensor], steps: int = 20) -> list[float]:
    """Losses before and during some steps of Adam."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    told = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        value = loss()
        told.append(value.item())
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return told


def on_a_grid(positions: Array) -> Array:
    """Positions rounded to 2^-32 bohr: moved by a whole number they keep their differences to the last bit."""
    return np.asarray(np.round(positions * 2.0**32) / 2.0**32)


def far_shift() -> Array:
    """(3,) whole numbers of bohr, about ``FAR``."""
    return np.array([ceil(FAR), -ceil(0.7 * FAR), ceil(0.4 * FAR)], dtype=float)
