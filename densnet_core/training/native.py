"""Outputs of networks in training, and their gradients in the parameters, as native code for each kind of molecule.

What the networks do with a batch, forces included, is traced into one flat graph of operators whose arguments are
positions, senders and parameters; torch.compile makes two libraries of it, one for the outputs and one for the
gradients in the parameters. Losses stay what they are. Each function is compared with the networks before it is used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, concatenated
from densnet_core.graphs.neighbours import lacking_a_neighbour
from densnet_core.potentials.compiled import cache_folder, cpp_compiler, quietly
from densnet_core.potentials.trace import flatten
from densnet_core.training.batches import kind_of
from densnet_core.training.plan import CompileName

log = logging.getLogger(__name__)
Outputs = Callable[[Graph], dict[str, Any]]
Tensors = Sequence[Tensor]
WORTH_COMPILING: Final = 400_000
"""Steps times atoms of a batch for each kind of molecule. The code of ethanol in batches of five takes a minute and a
half to build and saves 10 ms a step."""
MOST_KINDS: Final = 8
DISPLACEMENT: Final = 0.05
"""Bohr; of the second geometry at which the code is compared."""
SINGLE, DOUBLE = 1e-3, 1e-8
"""For networks of these precisions: of the largest gradient in a parameter, and of the largest change of an output
between the geometries."""
SMALLEST: Final = 1e-3
"""Atomic units; changes that count as this. Of gradients: as a part of the largest in any parameter."""


def wants_native(choice: CompileName, dataset: Dataset, batch_size: int, steps: int, device: torch.device) -> bool:
    """Whether a training shall be compiled; see ``Plan.compile``.

    Raises
    ------
    InputError
        It must be and cannot.
    """
    if choice == "never" or os.environ.get("DENSNET_COMPILE") == "never":
        return False
    if device.type != "cpu" or cpp_compiler() is None:
        if choice == "always":
            raise InputError(
                '[training] compile = "always": training is compiled on the CPU, with a C++ compiler (on Debian: '
                'apt-get install g++). Take "auto", which does without where it must.'
            )
        return False
    sizes, kinds = 0, set[bytes]()
    for structure in dataset.structures:
        kinds.add(kind_of(structure))
        sizes += structure.n_atoms
        if len(kinds) > MOST_KINDS:
            if choice == "always":
                raise InputError(
                    f'[training] compile = "always": there are more than {MOST_KINDS} kinds of molecules, which differ '
                    'in atoms, charges or multiplicities, and each would have code of its own. Take "auto".'
                )
            return False
    atoms = min(batch_size, len(dataset)) * sizes / len(dataset)
    return choice == "always" or steps * atoms >= WORTH_COMPILING * len(kinds)


def outputs_in_training(
    module: nn.Module, outputs: Outputs, needed: Collection[str], native: bool
) -> Callable[[Sequence[Graph]], dict[str, Any]]:
    """A function from the parts of a batch to those outputs that are needed, by native code or by the networks."""

    def chosen(graph: Graph) -> dict[str, Any]:
        return {name: value for name, value in outputs(graph).items() if name in needed}

    return NativeOutputs(module, chosen) if native else lambda parts: chosen(*parts)


class NativeOutputs:
    """Stands in for the function from a graph to the outputs of networks that are trained.

    Where code cannot be made or gives something else, the networks are called, and the log says why. Buffers are
    constants of the code: make another when they have changed.

    Parameters
    ----------
    module : Module
        What is trained; its parameters that require gradients are arguments of the code, all else is constant.
    outputs : callable
        From a graph to tensors and expansions by name, each with the molecules, atoms or functions of the graph along
        its first axis, coefficients of an expansion along the last. It must keep the graph of operations.
    """

    def __init__(self, module: nn.Module, outputs: Outputs) -> None:
        self.module, self.outputs = module, outputs
        self._functions: dict[tuple[Any, ...], _Function | None] = {}

    def __call__(self, parts: Sequence[Graph]) -> dict[str, Any]:
        """The outputs for several graphs, as if they were one; of the networks if one of the graphs has no code."""
        functions = [function for part in parts if (function := self._of(part)) is not None]
        if len(functions) < len(parts):
            return self.outputs(concatenated(parts))
        return _joined([function(part) for function, part in zip(functions, parts, strict=True)])

    @property
    def n_compiled(self) -> int:
        """Kinds of molecules, or batches of one kind, that have native code so far."""
        return sum(function is not None for function in self._functions.values())

    def _of(self, graph: Graph) -> _Function | None:
        key = _key(graph)
        if key not in self._functions:
            self._functions[key] = self._made(graph)
        return self._functions[key]

    def _made(self, graph: Graph) -> _Function | None:
        function, why = None, _obstacle(graph)
        if not why:
            buffers = {name: value.clone() for name, value in self.module.named_buffers()}
            with torch.random.fork_rng(devices=[]):
                try:
                    with quietly(cache_folder("training")):
                        function = _Function(self.module, self.outputs, graph)
                        why = _difference(function, self.outputs, graph)
                except Exception as error:  # whatever a compiler can raise: slower is better than nothing
                    why = f"{type(error).__name__}: {str(error)[:300]}"
            for name, value in self.module.named_buffers():
                if not torch.equal(value, buffers[name]):
                    value.copy_(buffers[name])
                    why = why or f"{name} changes while it trains"
        if why:
            log.warning("Batches with some of the molecules are not compiled, their steps take longer: %s", why)
        return None if why else function


def _obstacle(graph: Graph) -> str:
    """Why there cannot be code for a graph; empty if there can."""
    if graph.optional:
        return "there are periodic cells, fields or levels"
    return "there are molecules whose atoms have no neighbours" if graph.width is None else ""


class _Function:
    """The code for graphs that differ in positions and senders alone."""

    def __init__(self, module: nn.Module, outputs: Outputs, graph: Graph) -> None:
        named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.parameters = list(named.values())
        self.form: dict[str, Any] = {}

        def flat(positions: Tensor, senders: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            with _reparametrize_module(module, dict(zip(named, values, strict=True))):
                self.form = outputs(replace(graph, positions=positions, senders=senders))
            return tuple(_tensors(self.form))

        detached = [parameter.detach() for parameter in self.parameters]
        traced = flatten(flat, graph.positions, graph.senders, *detached)
        self.form = _like(self.form, [torch.empty(0)] * len(_tensors(self.form)))  # nothing of the trace stays alive
        # One thread: several add to one place in another order each time, and no training would go on bit for bit;
        # torch 2.9 fails, too, where it is to vectorise additions to a single place. With "cpp_wrapper" all loops are
        # one source instead of one each, which takes half the time to build.
        options: dict[str, Any] = {"cpp.threads": 1, "compile_threads": 1, "cpp_wrapper": True}
        self.code = torch.compile(traced, fullgraph=True, dynamic=False, options=options)

    def __call__(self, graph: Graph) -> dict[str, Any]:
        return _like(self.form, self.code(graph.positions, graph.senders, *self.parameters))


def _key(graph: Graph) -> tuple[Any, ...]:
    """What is constant in the code for a graph."""
    constant = (graph.numbers, graph.masses, graph.sizes, graph.fragment, graph.charge, graph.multiplicity)
    return (graph.width, graph.optional, *(part.numpy().tobytes() for part in constant))


def _tensors(outputs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors in outputs, those of expansions one by one."""
    found: list[Tensor] = []
    for value in outputs.values():
        parts = (value.coefficients, value.scales, value.invariants) if isinstance(value, Expansion) else (value,)
        found += [part for part in parts if part is not None]
    return found


def _like(form: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """Outputs with the names and expansions of others; the inverse of ``_tensors``."""
    left = iter(tensors)
    found: dict[str, Any] = {}
    for name, value in form.items():
        if isinstance(value, Expansion):
            own = (value.coefficients, value.scales, value.invariants)
            found[name] = Expansion(*(None if part is None else next(left) for part in own))  # type: ignore[arg-type]
        else:
            found[name] = next(left)
    return found


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Outputs of several graphs one after another."""
    if len(parts) == 1:
        return parts[0]
    return {name: _concatenated([part[name] for part in parts]) for name in parts[0]}


def _concatenated(values: Sequence[Any]) -> Any:
    if not isinstance(values[0], Expansion):
        return torch.cat(list(values))
    per_atom = ([getattr(value, name) for value in values] for name in ("scales", "invariants"))
    coefficients = torch.cat([value.coefficients for value in values], dim=-1)
    return Expansion(coefficients, *(None if own[0] is None else torch.cat(own) for own in per_atom))


def _difference(function: _Function, outputs: Outputs, graph: Graph) -> str:
    """Where code and networks disagree, in words; empty if they agree.

    At the geometry of a graph and at one near it where every atom lacks a neighbour.
    """
    random = torch.Generator().manual_seed(0)
    noise = DISPLACEMENT * torch.randn(graph.positions.shape, generator=random)
    other = lacking_a_neighbour(graph).with_positions(graph.positions + noise.to(graph.positions))
    found, expected = ([_tensors(of(one)) for one in (graph, other)] for of in (function, outputs))
    weights = [torch.randn(one.shape, generator=random, dtype=torch.float64) for one in expected[0]]
    single = any(parameter.dtype == torch.float32 for parameter in function.parameters)
    tolerance = SINGLE if single else DOUBLE
    with torch.no_grad():
        for place, (first, second) in enumerate(zip(*expected, strict=True)):
            change = max(_largest(second - first), SMALLEST)
            worst = max(_largest(own[place] - one[place]) for own, one in zip(found, expected, strict=True))
            if not worst <= tolerance * change:
                return f"output {place} differs by {worst:.1e} where it changes by {change:.1e}"
    for own, one in zip(found, expected, strict=True):
        slopes, wanted = (_slopes(tensors, weights, function.parameters) for tensors in (own, one))
        scale = max(_largest(slope) for slope in wanted)
        for place, (slope, right) in enumerate(zip(slopes, wanted, strict=True)):
            worst, largest = _largest(slope - right), max(_largest(right), SMALLEST * scale)
            if not worst <= tolerance * largest:
                return f"the gradient in parameter {place} differs by {worst:.1e} of {largest:.1e}"
    return ""


def _slopes(tensors: Tensors, weights: Tensors, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Gradients of a weighted sum of outputs in the parameters."""
    differentiable = [(one, weight) for one, weight in zip(tensors, weights, strict=True) if one.requires_grad]
    total = torch.stack([(one.to(torch.float64) * weight).sum() for one, weight in differentiable]).sum()
    return list(torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True))


def _largest(values: Tensor) -> float:
    return float(values.detach().abs().max()) if values.numel() else 0.0
