"""Densities of a model that is kept fixed, with their first derivatives in the positions, computed once per frame.

Energies are learned at the same geometries again and again while the density model does not change. There
c(R) = c(R_0) + J (R - R_0) has the same value and the same gradient as the network, so that
dE/dR = dE/dR|_c + J^T dE/dc, and its derivative in the parameters of the energy model, are exact at R_0; neither needs
the density network. J costs three passes per atom once, so it pays if every frame is met often enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from densnet_core.basis.base import MAX_L
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DENSITIES, DensityModel, densities_up_to
from densnet_core.training.batches import Graphs

BYTES_AT_MOST: Final = 1_000_000_000
"""Of all frames together; a training that would need more goes through the density network at each step."""
BYTES_OF_TENSOR: Final = 500
"""Beside its elements."""
ATOMS_AT_ONCE: Final = 128
VISITS_PER_ATOM: Final = 2
"""Ethanol in densnet-m, one thread: 200 ms once for each frame, 12 ms less at each visit."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A tensor of an expansion of one frame, (..., n), and its derivatives (n_coordinates, ..., n)."""

    value: Tensor
    slope: Tensor

    def at(self, change: Tensor) -> Tensor:
        """The value after a change of the positions (n_coordinates,)."""
        flat = self.slope.flatten(1)
        return self.value + (change.to(flat.dtype) @ flat).to(self.value.dtype).view_as(self.value)


_Frame = dict[str, tuple[_Part, _Part | None]]
"""Coefficients and scales of each density."""


class LinearisedDensities:
    """The densities of all frames of a data set.

    Parameters
    ----------
    model : DensityModel
        Its parameters must not change any more.
    graphs : Graphs
    names : collection of str
        The densities that are needed.
    """

    def __init__(self, model: DensityModel, graphs: Graphs, names: Collection[str] = DENSITIES) -> None:
        self.positions: list[Tensor] = []
        self._frames: list[_Frame] = []
        dataset = graphs.dataset
        sizes = [structure.n_atoms for structure in dataset.structures]
        for portion in _portions(sizes):
            graph = graphs(portion)
            self._frames += _linearised(model, graph, dataset, portion, names)
            self.positions += torch.split(graph.positions, [sizes[i] for i in portion])

    def at(self, indices: Sequence[int]) -> _Chosen:
        """A stand-in for the density model on the graph of these frames."""
        return _Chosen([self._frames[i] for i in indices], [self.positions[i] for i in indices])


class _Chosen:
    """What the density model says of some frames and of small changes of their positions."""

    def __init__(self, frames: Sequence[_Frame], positions: Sequence[Tensor]) -> None:
        self.frames, self.positions = frames, positions

    def __call__(self, graph: Graph) -> dict[str, Expansion]:
        moved = torch.split(graph.positions, [len(one) for one in self.positions])
        changes = [(new - old).reshape(-1) for new, old in zip(moved, self.positions, strict=True)]
        found = {}
        for name in self.frames[0]:
            coefficients = [frame[name][0].at(change) for frame, change in zip(self.frames, changes, strict=True)]
            scales = [
                part.at(change)
                for frame, change in zip(self.frames, changes, strict=True)
                if (part := frame[name][1]) is not None
            ]
            found[name] = Expansion(torch.cat(coefficients, dim=-1), torch.cat(scales) if scales else None)
        return found


def pays(model: DensityModel, dataset: Dataset, visits: float, names: Collection[str] = DENSITIES) -> bool:
    """Whether derivatives of all frames fit in memory and are used often enough.

    Parameters
    ----------
    visits : float
        How often the training meets each frame.
    names : collection of str
        The densities that are needed.
    """
    sizes = [structure.n_atoms for structure in dataset.structures]
    return bytes_needed(model, dataset, names) <= BYTES_AT_MOST and visits > VISITS_PER_ATOM * max(sizes)


def bytes_needed(model: DensityModel, dataset: Dataset, names: Collection[str] = DENSITIES) -> int:
    """Memory of the densities of all frames with their derivatives and positions, scale factors included."""
    specification, width, total = model.specification, next(model.parameters()).element_size(), 0
    held = [name for name in model.densities if name in names]
    for structure in dataset.structures:
        n_coordinates = 3 * structure.n_atoms
        n_values = sum(
            specification.basis.n_functions(structure.numbers) * (3 if name == "density_response" else 1)
            + (structure.n_atoms * (MAX_L + 1) if specification.adapts_exponents else 0)
            for name in held
        )
        tensors = 4 * len(held) + 1
        total += n_values * (8 + n_coordinates * width) + 8 * n_coordinates + tensors * BYTES_OF_TENSOR
    return total


def _portions(sizes: Sequence[int]) -> list[list[int]]:
    """Frames in portions, those of similar size together would gain little: in their order."""
    found: list[list[int]] = [[]]
    for index, size in enumerate(sizes):
        if found[-1] and sum(sizes[i] for i in found[-1]) + size > ATOMS_AT_ONCE:
            found.append([])
        found[-1].append(index)
    return found


def _linearised(
    model: DensityModel, graph: Graph, dataset: Dataset, indices: Sequence[int], names: Collection[str]
) -> list[_Frame]:
    """Values and derivatives of the densities of the molecules of a graph.

    Molecules do not see each other, so one pass gives the derivatives in one coordinate of each of them. The product
    J t is the derivative, in v, of the gradient J^T v along t: only what forces need of the network is needed here.
    """
    structures = [dataset.structures[i] for i in indices]
    sizes = [s.n_atoms for s in structures]
    functions = [model.specification.basis.n_functions(s.numbers) for s in structures]
    dtype = next(model.parameters()).dtype
    frames: list[_Frame] = [{} for _ in structures]
    with torch.enable_grad():  # type: ignore[no-untyped-call]
        positions = graph.positions.detach().requires_grad_()
        found = densities_up_to(model, graph.with_positions(positions), None, names)
        for name, expansion in found.items():
            if name not in names:
                continue
            parts = [_derived(expansion.coefficients, -1, functions, positions, sizes, dtype)]
            if expansion.scales is not None:
                parts.append(_derived(expansion.scales, 0, sizes, positions, sizes, dtype))
            for place, frame in enumerate(frames):
                frame[name] = (parts[0][place], parts[1][place] if len(parts) > 1 else None)
    return frames


def _derived(
    values: Tensor, axis: int, lengths: Sequence[int], positions: Tensor, sizes: Sequence[int], dtype: torch.dtype
) -> list[_Part]:
    """Value and derivatives of the part of each molecule; ``lengths`` are those of the parts along an axis."""
    dummy = torch.zeros_like(values, requires_grad=True)
    (pulled,) = torch.autograd.grad(values, positions, dummy, create_graph=True)
    starts = torch.tensor([0, *sizes[:-1]], device=positions.device).cumsum(0)
    n_atoms = torch.tensor(list(sizes), device=positions.device)
    rows: list[list[Tensor]] = [[] for _ in sizes]
    for coordinate in range(3 * max(sizes)):
        atom, component = divmod(coordinate, 3)
        direction = torch.zeros_like(positions)
        direction[starts[n_atoms > atom] + atom, component] = 1.0
        (pushed,) = torch.autograd.grad(pulled, dummy, direction, retain_graph=True)
        for row, size, part in zip(rows, sizes, torch.split(pushed, list(lengths), dim=axis), strict=True):
            if atom < size:
                row.append(part.detach().to(dtype))
    parts = torch.split(values.detach(), list(lengths), dim=axis)
    return [_Part(value.clone(), torch.stack(row)) for value, row in zip(parts, rows, strict=True)]
