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

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.harmonics import coupled_harmonics
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.pairs import Assemble, SpeciesPair, place, species_pairs
from densnet_core.basis.radial import Metric, RadialTable
from densnet_core.basis.species import Species
from densnet_core.errors import InputError

__all__ = ["Metric", "contracted_two_center", "two_center"]

_CHUNK_BYTES = 16_000_000  # of the matrices of a part of the batch: what is computed for it stays in the cache
_HUGE_BYTES = 4_000_000
_EVERY = slice(None)
_FIRST = slice(0, 1)


class _Side:
    """Exponents and contraction of the atoms of one species, one row for each pair of atoms or one for all."""

    def __init__(self, functions: MolecularBasis, species: Species, atoms: Tensor) -> None:
        chosen = _FIRST if functions.is_uniform else _EVERY
        groups = functions.groups

        def rows(values: Tensor, dim: int) -> Tensor:
            """(n_batch or 1, n_pairs or 1, ...) from (..., n_atoms, ...)."""
            values = values.reshape(-1, *values.shape[dim:])
            return values if functions.is_uniform else values[:, atoms]

        self.exponents = rows(torch.cat([m.exponents(groups, chosen) for m in species.momenta], -1), -2)
        factors = [
            m.factors(groups, chosen) if m.members is None else torch.ones_like(m.exponents(groups, chosen))
            for m in species.momenta
        ]
        self.factors = rows(torch.cat(factors, -1), -2)
        self.contractions = []
        for momentum in species.momenta:
            contraction = momentum.contraction(groups, chosen)
            self.contractions.append(None if contraction is None else rows(contraction, -3).unsqueeze(2))


def _radial_table(metric: Metric, pair: SpeciesPair, left: _Side, right: _Side) -> RadialTable:
    return RadialTable(
        metric,
        pair.left.primitive_l,
        pair.right.primitive_l,
        left.exponents,
        right.exponents,
        left.factors,
        right.factors,
    )


def _contracted(table: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """(..., n_terms, n_left, n_right) integrals between shells from those between primitives."""
    if right is not None:
        table = table @ (right.transpose(-2, -1) if right.shape[:3].numel() > 1 else right[0, 0, 0].T)
    if left is not None:
        table = (left if left.shape[:3].numel() > 1 else left[0, 0, 0]) @ table
    return table


def _blocks(
    metric: Metric,
    pair: SpeciesPair,
    left: _Side,
    right: _Side,
    offsets: Tensor,
    harmonics: dict[tuple[int, int], Tensor],
) -> Iterator[Tensor]:
    """For all momenta of a species pair (n_batch or 1, n_pairs or 1, shell pairs, (2 l1 + 1) (2 l2 + 1))."""
    table = _radial_table(metric, pair, left, right).at((offsets**2).sum(-1))
    for index, (first, second) in enumerate(pair.momenta):
        n_terms = min(first.l, second.l) + 1
        radial = table[..., :n_terms, first.primitives, second.primitives]
        i, j = divmod(index, len(pair.right.momenta))
        radial = _contracted(radial, left.contractions[i], right.contractions[j])
        yield radial.flatten(-2, -1).transpose(-2, -1) @ harmonics[first.l, second.l]


def _check(metric: str) -> None:
    if metric not in ("overlap", "coulomb"):
        raise InputError(f"Unknown metric {metric!r}; known: 'coulomb', 'overlap'.")


def _all_blocks(
    metric: Metric,
    pairs: list[SpeciesPair],
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis,
    right_positions: Tensor,
) -> Iterator[tuple[SpeciesPair, Iterator[Tensor]]]:
    """The blocks of each species pair, for positions (n_batch, n_atoms, 3)."""
    for pair in pairs:
        sides = _Side(left, pair.left, pair.left_atoms), _Side(right, pair.right, pair.right_atoms)
        if pair.same_atom:
            rows = 1 if left.is_uniform else len(pair.corners)
            offsets = left_positions.new_zeros((1, rows, 3))
        else:
            offsets = left_positions[:, pair.left.atoms[pair.left_atoms]]
            offsets = offsets - right_positions[:, pair.right.atoms[pair.right_atoms]]
        momenta = tuple((first.l, second.l) for first, second in pair.momenta)
        harmonics = coupled_harmonics(offsets, momenta)
        yield pair, _blocks(metric, pair, *sides, offsets, harmonics)


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
        Bohr; leading dimensions are a batch of geometries.

    Raises
    ------
    InputError
        For an unknown metric.
    """
    _check(metric)
    symmetric = right is None
    right = left if right is None else right
    right_positions = left_positions if right_positions is None else right_positions
    tensors = [left_positions, right_positions]
    tensors += [t for f in (left, right) for group in f.groups for t in (group.exponents, group.coefficients)]
    batch = torch.broadcast_shapes(*(t.shape[:-2] for t in tensors))
    left_positions, right_positions = (
        positions.expand(*batch, *positions.shape[-2:]).reshape(-1, *positions.shape[-2:])
        for positions in (left_positions, right_positions)
    )
    pairs = species_pairs(left.species, right.species, symmetric)
    shape = (left_positions.shape[0], left.n_functions, right.n_functions)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        found = [list(b) for _, b in _all_blocks(metric, pairs, left, left_positions, right, right_positions)]
        matrix: Tensor = Assemble.apply(pairs, shape, *[b for blocks in found for b in blocks])  # type: ignore[no-untyped-call]
        return matrix.view(*batch, *shape[1:])
    result = _empty(shape, left_positions)
    is_batch_of_bases = any(t.dim() > 2 for t in tensors[2:])
    chunk = max(1, _CHUNK_BYTES // (shape[1] * shape[2] * result.element_size()))
    for start in range(0, shape[0], shape[0] if is_batch_of_bases else chunk):
        part = slice(start, shape[0] if is_batch_of_bases else start + chunk)
        for pair, blocks in _all_blocks(metric, pairs, left, left_positions[part], right, right_positions[part]):
            place(result[part], pair, blocks)
    return result.view(*batch, *shape[1:])


def contracted_two_center(
    metric: Metric,
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis,
    right_positions: Tensor,
    right_coefficients: Tensor,
) -> Tensor:
    """Integrals (P|rho) or <P|rho> with a density rho = sum_Q c_Q Q: (..., n_left), atomic units.

    Parameters
    ----------
    metric : {"overlap", "coulomb"}
    left, right : MolecularBasis
    left_positions, right_positions : (..., n_atoms, 3)
        Bohr; leading dimensions are a batch of geometries.
    right_coefficients : (..., n_right)
        Of the density.

    Raises
    ------
    InputError
        For an unknown metric.
    """
    matrix = two_center(metric, left, left_positions, right, right_positions)
    return (matrix @ right_coefficients.unsqueeze(-1)).squeeze(-1)
