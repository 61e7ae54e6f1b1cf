"""What the suites of networks and the quick check have in common: how things turn, and what every network must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from densnet_core.basis.base import Basis
from densnet_core.basis.conventions import from_magnetic_order, to_magnetic_order
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.specification import DensitySpecification, State
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.inputs import check_graph, check_specification
from densnet_core.potentials.outputs import energy_outputs
from densnet_core.structures import Array
from densnet_core.testing.comparisons import assert_close, assert_refused, assert_that
from densnet_core.testing.network_data import (
    WATER,
    example_specification,
    states_for,
    transformed_data,
)

SINGLE: Final = 1e-4
"""Of float32."""
BEYOND: Final = 200.0
"""Bohr. Farther apart than any interaction that is not electrostatic."""
FAR: Final = 1e4
"""Bohr. Rounded to float32, positions so far from the origin are wrong by 5e-4 bohr."""


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
    result: Tensor = torch.block_diag(*(harmonic_rotation(l_, matrix) for l_ in range(l_max + 1)))  # type: ignore[no-untyped-call]
    return result


def coefficient_rotation(basis: Basis, numbers: Sequence[int], matrix: Array) -> Tensor:
    """(n_functions, n_functions) rotation of the coefficients of a molecule, in the core's order of functions."""
    blocks = []
    for z in numbers:
        for shell in basis.shells(int(z)):
            order = from_magnetic_order(shell.l)
            blocks.append(harmonic_rotation(shell.l, matrix)[order][:, order])
    result: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return result


def degrees_of(basis: Basis, numbers: Sequence[int]) -> Tensor:
    """(n_functions,) angular momentum of every function."""
    return torch.tensor([s.l for z in numbers for s in basis.shells(int(z)) for _ in range(s.size)])


def atoms_of_functions(basis: Basis, numbers: Sequence[int]) -> Tensor:
    """(n_functions,) the atom of every function."""
    return torch.repeat_interleave(torch.tensor([basis.n_functions([int(z)]) for z in numbers]))


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


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of what a model package keeps."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def reach_of(cutoff: float | None) -> float:
    """Bohr: a cutoff, or a distance at which nothing may be left of a pair where there is none."""
    return BEYOND if cutoff is None else cutoff


def reloaded(
    make: Callable[[DensitySpecification], Network], model: Network, specification: DensitySpecification
) -> Network:
    """A new model with the saved tensors of another."""
    torch.manual_seed(1)
    other = make(specification)
    cast_parameters(other, torch.float64)
    other.load_state_dict(tensors_of(model))
    return other.eval()


def projections(model: DensityModel, graph: Graph, name: str) -> Callable[[Tensor], Tensor]:
    """From positions to four sums of coefficients (and scales) with random weights."""
    random = torch.Generator().manual_seed(6)
    n = model.specification.basis.n_functions(graph.numbers.tolist())
    weights = torch.randn(4, n, generator=random, dtype=torch.float64)

    def function(positions: Tensor) -> Tensor:
        found: Expansion = model(graph.with_positions(positions))[name]
        values = weights @ found.coefficients.reshape(-1, n).sum(0)
        return values if found.scales is None else values + found.scales.sum()

    return function


def total_energy(energy: EnergyModel, graph: Graph, densities: Mapping[str, Expansion]) -> Tensor:
    """() sum of the energies of a graph."""
    found: dict[str, Tensor] = energy(graph, densities)
    return found["energy"].sum()


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


def assert_loss_falls(model: nn.Module, loss: Callable[[], Tensor], steps: int = 20) -> None:
    """Some steps of Adam lower a loss, and every parameter takes part."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    told = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        value = loss()
        told.append(value.item())
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert_that(not idle, f"Parameters without a gradient: {', '.join(idle)}.")
    assert_that(
        told[-1] < 0.9 * told[0],
        f"{steps} steps of Adam take the loss from {told[0]:.3g} to {told[-1]:.3g}; it should fall by a tenth.",
    )


def assert_statistics(
    model: nn.Module,
    fit: Callable[[Dataset], None],
    data: Dataset,
    specification: DensitySpecification,
    tolerance: float,
) -> None:
    """Statistics do not depend on how molecules are turned, numbered or where they stand, and change buffers only."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    fit(data)
    first = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    cases = (("fitted again", data, 1e-14), ("from turned, moved and renumbered molecules", None, tolerance))
    for what, given, limit in cases:
        fit(transformed_data(data, specification) if given is None else given)
        for name, value in model.named_buffers():
            assert_close(value.double(), first[name].double(), limit, f"Buffer {name} {what}")
    for name, parameter in model.named_parameters():
        assert_that(bool((parameter == before[name]).all()), f"fit_statistics changes the parameter {name}.")


def assert_states_declared(inputs: frozenset[str]) -> None:
    """The core refuses a model for training data in which a state varies that it does not use, and no other."""
    declared = Declared(inputs, example_specification(states_for(frozenset({"charge", "multiplicity"}))))
    missing = {"charge", "multiplicity"} - inputs
    if missing:
        assert_refused(lambda: check_specification(declared), f"Training data in which {missing} differ")
    else:
        check_specification(declared)


def assert_optional_inputs(model: DensityModel | EnergyModel, function: Callable[[Graph], Tensor]) -> None:
    """Optional parts of a graph are refused, or declared and used: ``function`` is what must change with a field."""
    plain = graph_of([WATER])
    extended = {
        "field": replace(plain, field=torch.tensor([[0.01, 0.0, 0.02]], dtype=torch.float64)),
        "level": replace(plain, level=torch.tensor([0])),
        "cell": replace(plain, cell=60.0 * torch.eye(3, dtype=torch.float64)[None]),
    }
    for name, graph in extended.items():
        if name not in model.inputs:
            assert_refused(partial(check_graph, [model], graph), f"A graph with {name}")
    if "field" in model.inputs:
        changed = (function(extended["field"]) - function(plain)).abs().max()
        assert_that(float(changed) > 1e-10, f"{type(model).__name__} declares a field as an input and ignores it.")


def on_a_grid(positions: Array) -> Array:
    """Positions rounded to 2^-32 bohr: moved by a whole number they keep their differences to the last bit."""
    return np.asarray(np.round(positions * 2.0**32) / 2.0**32)


def far_shift() -> Array:
    """(3,) whole numbers of bohr, about ``FAR``."""
    return np.array([ceil(FAR), -ceil(0.7 * FAR), ceil(0.4 * FAR)], dtype=float)


def densities_of(model: DensityModel, graph: Graph) -> dict[str, Expansion]:
    """Densities of a graph without gradients."""
    with torch.no_grad():
        result: dict[str, Expansion] = model(graph)
    return result


def in_state(graph: Graph, state: State) -> Graph:
    """The graph with all fragments in a state."""
    charge = torch.full_like(graph.charge, state[0])
    return replace(graph, charge=charge, multiplicity=torch.full_like(graph.multiplicity, state[1]))


def joined(parts: list[dict[str, Expansion]]) -> dict[str, Expansion]:
    """Expansions of molecules, one after the other, as those of a batch."""

    def concatenated(name: str, entry: str, axis: int) -> Tensor | None:
        found = [getattr(part[name], entry) for part in parts]
        return None if found[0] is None else torch.cat(found, dim=axis)

    entries = {"coefficients": -1, "scales": 0, "invariants": 0}
    return {
        name: Expansion(**{entry: concatenated(name, entry, axis) for entry, axis in entries.items()})  # type: ignore[arg-type]
        for name in parts[0]
    }


def assert_same(found: dict[str, Expansion], expected: dict[str, Expansion], tolerance: float, what: str) -> None:
    """Raise ``AssertionError`` unless coefficients and scales of all densities agree."""
    for name, one in expected.items():
        assert_close(found[name].coefficients, one.coefficients, tolerance, f"The {name} {what}")
        scales = found[name].scales
        if one.scales is not None and scales is not None:
            assert_close(scales, one.scales, tolerance, f"The scales of the {name} {what}")


class Declared:
    """What the core asks a model about its inputs, for other training data."""

    def __init__(self, inputs: frozenset[str], specification: DensitySpecification) -> None:
        self.inputs, self.specification = inputs, specification
