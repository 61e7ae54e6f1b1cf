"""Pairs of atoms sorted by their elements, and the matrix that their blocks of integrals make up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.species import Momentum, Species


@dataclass(frozen=True, eq=False)
class SpeciesPair:
    """Pairs of atoms of two elements, the blocks of which have equal shapes.

    Parameters
    ----------
    left, right : Species
    left_atoms, right_atoms : (n_pairs,) int64
        Places of the atoms among those of their species.
    corners : sequence of (row, column)
        First function of the left and of the right atom of every pair.
    mirrored : bool
        Whether the transposed block belongs into the matrix, too.
    same_atom : bool
        Whether left and right are the same atom in every pair.
    """

    left: Species
    right: Species
    left_atoms: Tensor
    right_atoms: Tensor
    corners: tuple[tuple[int, int], ...]
    mirrored: bool
    same_atom: bool

    @property
    def momenta(self) -> list[tuple[Momentum, Momentum]]:
        """All pairs of a momentum on the left and one on the right."""
        return [(first, second) for first in self.left.momenta for second in self.right.momenta]


def species_pairs(left: Sequence[Species], right: Sequence[Species], symmetric: bool) -> list[SpeciesPair]:
    """The pairs of atoms between two molecules, or, if symmetric, of one molecule with itself, each taken once."""
    result = []
    for i, first in enumerate(left):
        for j, second in enumerate(right):
            if symmetric and j < i:
                continue
            a, b = np.indices((len(first.starts), len(second.starts))).reshape(2, -1)
            if symmetric and i == j:
                diagonal = np.arange(len(first.starts))
                result.append(_pair(first, second, diagonal, diagonal, mirrored=False, same_atom=True))
                a, b = np.triu_indices(len(first.starts), 1)
            if len(a):
                result.append(_pair(first, second, a, b, mirrored=symmetric, same_atom=False))
    return result


def _pair(left: Species, right: Species, a: Any, b: Any, *, mirrored: bool, same_atom: bool) -> SpeciesPair:
    device = left.atoms.device
    corners = tuple((left.starts[i], right.starts[j]) for i, j in zip(a, b, strict=True))
    return SpeciesPair(
        left, right, torch.tensor(a, device=device), torch.tensor(b, device=device), corners, mirrored, same_atom
    )


def place(matrix: Tensor, pair: SpeciesPair, blocks: Iterable[Tensor]) -> None:
    """Write the blocks of all momenta of a species pair into the matrix.

    Parameters
    ----------
    matrix : (n_batch, n_left, n_right)
    pair : SpeciesPair
    blocks : (n_batch or 1, n_pairs or 1, n_left_shells * n_right_shells, (2 l1 + 1) (2 l2 + 1)) for each of its momenta
    """
    whole: Tensor | None = None
    for (first, second), block in zip(pair.momenta, blocks, strict=True):
        if whole is None:
            whole = block.new_empty((*block.shape[:2], pair.left.size, pair.right.size))
        shape = (*block.shape[:2], first.n_shells, second.n_shells, 2 * first.l + 1, 2 * second.l + 1)
        target = whole[..., first.functions, second.functions]
        target = target.unflatten(-1, (shape[3], shape[5])).unflatten(-3, (shape[2], shape[4]))
        target.copy_(block.view(shape).transpose(-3, -2))
    assert whole is not None
    if pair.left.order is not None:
        whole = whole.index_select(-2, pair.left.order)
    if pair.right.order is not None:
        whole = whole.index_select(-1, pair.right.order)
    for index, (row, column) in enumerate(pair.corners):
        block = whole[:, index if whole.shape[1] > 1 else 0]
        rows, columns = slice(row, row + pair.left.size), slice(column, column + pair.right.size)
        matrix[:, rows, columns] = block
        if pair.mirrored:
            matrix[:, columns, rows] = block.transpose(-2, -1)


def _taken(matrix: Tensor, pair: SpeciesPair, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The transpose of ``place``: what a linear function of the matrix is as a function of the blocks."""
    parts = []
    for row, column in pair.corners:
        rows, columns = slice(row, row + pair.left.size), slice(column, column + pair.right.size)
        part = matrix[:, rows, columns]
        parts.append(part + matrix[:, columns, rows].transpose(-2, -1) if pair.mirrored else part)
    whole = torch.stack(parts, dim=1)
    if pair.left.order is not None:
        whole = whole.index_select(-2, torch.argsort(pair.left.order))
    if pair.right.order is not None:
        whole = whole.index_select(-1, torch.argsort(pair.right.order))
    blocks = []
    for (first, second), shape in zip(pair.momenta, shapes, strict=True):
        block = whole[..., first.functions, second.functions]
        block = block.unflatten(-1, (second.n_shells, -1)).unflatten(-3, (first.n_shells, -1)).transpose(-3, -2)
        block = block.flatten(-4, -3).flatten(-2, -1)
        blocks.append(block.sum_to_size(shape))
    return blocks


class Assemble(torch.autograd.Function):
    """``place`` as a function of all blocks, differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, pairs: list[SpeciesPair], shape: tuple[int, int, int], *blocks: Tensor) -> Tensor:
        ctx.pairs, ctx.shapes = pairs, [block.shape for block in blocks]
        matrix = blocks[0].new_empty(shape)
        remaining = iter(blocks)
        for pair in pairs:
            place(matrix, pair, [next(remaining) for _ in pair.momenta])
        return matrix

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shapes, blocks = iter(ctx.shapes), []
        for pair in ctx.pairs:
            blocks += _taken(gradient, pair, [next(shapes) for _ in pair.momenta])
        return None, None, *blocks
