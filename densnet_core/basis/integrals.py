"""Two-centre integrals between solid-harmonic Gaussians, batched and differentiable.

A solid-harmonic Gaussian is a derivative of a spherical one (Hobson's theorem),
S_lm(r - A) exp(-a |r-A|^2) = (2a)^-l S_lm(d/dA) exp(-a |r-A|^2), so an integral between two of them is
S_1(d/dR) S_2(d/dR) applied to the integral F(R^2) between two spherical Gaussians, R = A - B. The product of the
two harmonics couples with Gaunt coefficients, S_1 S_2 = sum_L G_L |.|^2t S_L with 2t = l1 + l2 - L, and
S_L(d/dR) f(R^2) = 2^L f^(L)(R^2) S_L(R). The angular part then depends on the pair of atoms only and the radial part
on the pair of shells only; no Cartesian intermediates appear. See Hobson, The Theory of Spherical and Ellipsoidal
Harmonics (1931), section 79.

For a pair of elements the radial parts between all primitives of two atoms are one table; a block of integrals is then
one small matrix product, (shell pairs x L) times (L x m1 m2), for every pair of atoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.base import Metric
from densnet_core.basis.batches import batch_of, flat, precision_of
from densnet_core.basis.blocks import PairIntegrals
from densnet_core.basis.contracted import contracted_two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.pairs import Assemble, SpeciesPair, arrange, place, species_pairs
from densnet_core.basis.radial import check_metric

__all__ = ["contracted_two_center", "two_center"]

_CHUNK_BYTES = 64_000_000  # of the matrices of a part of the batch: what is computed for it stays in the cache
_HUGE_BYTES = 4_000_000


@lru_cache(maxsize=128)
def _fixed_integrals(
    metric: Metric, pairs: tuple[SpeciesPair, ...], left: MolecularBasis, right: MolecularBasis
) -> list[PairIntegrals]:
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return [PairIntegrals(metric, pair, left, right, ()) for pair in pairs]


def _pair_integrals(
    metric: Metric,
    pairs: tuple[SpeciesPair, ...],
    left: MolecularBasis,
    right: MolecularBasis,
    batch: tuple[int, ...],
) -> list[PairIntegrals]:
    """One for each species pair, kept where nothing in them can change."""
    if left.is_uniform and right.is_uniform:
        return _fixed_integrals(metric, pairs, left, right)
    return [PairIntegrals(metric, pair, left, right, batch) for pair in pairs]


@lru_cache(maxsize=128)
def _one_centre(metric: Metric, pairs: tuple[SpeciesPair, ...], functions: MolecularBasis) -> dict[int, Tensor]:
    """The integrals between the functions of one atom, by index of the species pair."""
    with torch.inference_mode(False), torch.no_grad():
        here = functions.groups[0].exponents.new_zeros((1, len(functions.numbers), 3))
        return {
            index: arrange(pair, blocks)
            for index, (pair, blocks) in enumerate(_all_blocks(metric, pairs, functions, here, functions, here, ()))
            if pair.same_atom
        }


def _all_blocks(
    metric: Metric,
    pairs: tuple[SpeciesPair, ...],
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis,
    right_positions: Tensor,
    batch: tuple[int, ...],
) -> Iterator[tuple[SpeciesPair, Iterator[Tensor]]]:
    """The blocks of each species pair, for positions (n_batch, n_atoms, 3)."""
    for pair, integrals in zip(pairs, _pair_integrals(metric, pairs, left, right, batch), strict=True):
        if pair.same_atom:
            offsets = left_positions.new_zeros((1, 1 if left.is_uniform else len(pair.corners), 3))
        else:
            offsets = _offsets(pair, left_positions, right_positions)
        yield pair, integrals.blocks(pair, offsets)


def _offsets(pair: SpeciesPair, left_positions: Tensor, right_positions: Tensor) -> Tensor:
    """(n_batch, n_pairs, 3) from right to left atoms."""
    left = left_positions[:, pair.left.atoms[pair.left_atoms]]
    return left - right_positions[:, pair.right.atoms[pair.right_atoms]]


def _empty(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Memory for a result. NumPy asks the system for huge pages, which are four times faster to fill when new."""
    if like.device.type == "cpu" and shape[0] * shape[1] * shape[2] * like.element_size() > _HUGE_BYTES:
        return torch.from_numpy(np.empty(shape, dtype=np.float64 if like.dtype == torch.float64 else np.float32))
    return like.new_empty(shape)


def two_center(
    metric: Metric,
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis | None = None,
    right_positions: Tensor | None = None,
) -> Tensor:
    """Overlap <P|Q> or Coulomb (P|Q) integrals: (..., n_left, n_right), atomic units.

    Parameters
    ----------
    metric : {"overlap", "coulomb"}
    left, right : MolecularBasis
        ``right`` omitted means ``left`` (only half of the blocks are then computed).
    left_positions, right_positions : (..., n_atoms, 3)
        Bohr; leading dimensions are a batch of geometries, with which those of scaled exponents are broadcast.

    Raises
    ------
    InputError
        For an unknown metric, or bases of different dtypes; the integrals are of theirs.
    """
    check_metric(metric)
    symmetric = right is None
    right = left if right is None else right
    right_positions = left_positions if right_positions is None else right_positions
    bases = (left, right)
    batch = batch_of((left_positions, 2), (right_positions, 2), bases=bases)
    variables = [left_positions, right_positions]
    variables += [t for functions in bases for group in functions.groups for t in (group.exponents, group.coefficients)]
    precision = precision_of(left, right)
    left_positions = flat(left_positions.to(precision), 2, batch)
    right_positions = flat(right_positions.to(precision), 2, batch)
    pairs = species_pairs(left.species, right.species, symmetric)
    shape = (left_positions.shape[0], left.n_functions, right.n_functions)
    if torch.is_grad_enabled() and any(variable.requires_grad for variable in variables):
        found = _all_blocks(metric, pairs, left, left_positions, right, right_positions, batch)
        every = [block for _, blocks in found for block in blocks]
        matrix: Tensor = Assemble.apply(pairs, shape, *every)  # type: ignore[no-untyped-call]
        return matrix.view(*batch, *shape[1:])
    fixed = _one_centre(metric, pairs, left) if symmetric and left.is_uniform else {}
    result = _empty(shape, left_positions)
    chunk = max(1, _CHUNK_BYTES // (shape[1] * shape[2] * result.element_size()))
    if any(group.exponents.dim() > 2 for functions in bases for group in functions.groups):
        chunk = shape[0]
    for start in range(0, shape[0], max(chunk, 1)):
        part = slice(start, start + chunk)
        found = _all_blocks(metric, pairs, left, left_positions[part], right, right_positions[part], batch)
        for index, (pair, blocks) in enumerate(found):
            place(result[part], pair, fixed[index] if index in fixed else arrange(pair, blocks))
    return result.view(*batch, *shape[1:])
