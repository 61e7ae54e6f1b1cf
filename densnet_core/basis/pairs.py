"""Pairs of atoms sorted by their elements, and the matrix that their blocks of integrals make up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
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

    @cached_property
    def momenta(self) -> list[tuple[Momentum, Momentum]]:
        """All pairs of a momentum on the left and one on the right."""
        return [(first, second) for first in self.left.momenta for second in self.right.momenta]

    @cached_property
    def degrees(self) -> tuple[tuple[int, int], ...]:
        """Their l."""
        return tuple((first.l, second.l) for first, second in self.momenta)


@lru_cache(maxsize=256)
def species_pairs(left: tuple[Species, ...], right: tuple[Species, ...], symmetric: bool) -> tuple[SpeciesPair, ...]:
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
    return tuple(result)


def _pair(left: Species, right: Species, a: Any, b: Any, *, mirrored: bool, same_atom: bool) -> SpeciesPair:
    corners = tuple((left.starts[i], right.starts[j]) for i, j in zip(a, b, strict=True))
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        places = [torch.tensor(index, device=left.atoms.device) for index in (a, b)]
    return SpeciesPair(left, right, places[0], places[1], corners, mirrored, same_atom)


def arrange(pair: SpeciesPair, blocks: Iterable[Tensor]) -> Tensor:
    """The integrals between all functions of two atoms.

    Parameters
    ----------
    pair : SpeciesPair
    blocks : (n_batch or 1, n_pairs or 1, n_left_shells * n_right_shells, (2 l1 + 1) (2 l2 + 1)) for each of its momenta

    Returns
    -------
    Tensor
        (n_batch or 1, n_pairs or 1, n_left, n_right), in the order of the basis.
    """
    whole: Tensor | None = None
    for (first, second), block in zip(pair.momenta, blocks, strict=True):
        lead = block.shape[:2]
        if whole is None:
            whole = block.new_empty((*lead, pair.left.size, pair.right.size))
        n1, m1, n2, m2 = first.n_shells, 2 * first.l + 1, second.n_shells, 2 * second.l + 1
        target = whole[:, :, first.functions, second.functions].view(*lead, n1, m1, n2, m2)
        target.copy_(block.view(*lead, n1, n2, m1, m2).transpose(-3, -2))
    assert whole is not None
    if pair.left.order is not None:
        whole = whole.index_select(-2, pair.left.order)
    if pair.right.order is not None:
        whole = whole.index_select(-1, pair.right.order)
    return whole


def place(matrix: Tensor, pair: SpeciesPair, whole: Tensor) -> None:
    """Write the integrals between the atoms of a species pair into the matrix (n_batch, n_left, n_right)."""
    for index, (row, column) in enumerate(pair.corners):
        block = whole[:, index if whole.shape[1] > 1 else 0]
        rows, columns = slice(row, row + pair.left.size), slice(column, column + pair.right.size)
        matrix[:, rows, columns] = block
        if pair.mirrored:
            matrix[:, columns, rows] = block.transpose(-2, -1)


def _taken(matrix: Tensor, pair: SpeciesPair, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Transpose of ``arrange`` and ``place``: from the gradient in the matrix to that in the blocks."""
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
        block = whole[:, :, first.functions, second.functions]
        block = block.view(*whole.shape[:2], first.n_shells, 2 * first.l + 1, second.n_shells, 2 * second.l + 1)
        block = block.transpose(-3, -2).flatten(-4, -3).flatten(-2, -1)
        blocks.append(block.sum_to_size(shape))
    return blocks


class Assemble(torch.autograd.Function):
    """``arrange`` and ``place`` as one function of all blocks, differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, pairs: Sequence[SpeciesPair], shape: tuple[int, int, int], *blocks: Tensor) -> Tensor:
        ctx.pairs, ctx.shapes = pairs, [block.shape for block in blocks]
        matrix = blocks[0].new_empty(shape)
        remaining = iter(blocks)
        for pair in pairs:
            place(matrix, pair, arrange(pair, [next(remaining) for _ in pair.momenta]))
        return matrix

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shapes, blocks = iter(ctx.shapes), []
        for pair in ctx.pairs:
            blocks += _taken(gradient, pair, [next(shapes) for _ in pair.momenta])
        return None, None, *blocks
