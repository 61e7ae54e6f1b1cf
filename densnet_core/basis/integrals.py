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
from itertools import product

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.harmonics import coupled_harmonics
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.pairs import Assemble, SpeciesPair, arrange, place, species_pairs
from densnet_core.basis.radial import Metric, RadialTable
from densnet_core.basis.species import Species
from densnet_core.errors import InputError

__all__ = ["Metric", "contracted_two_center", "two_center"]

_CHUNK_BYTES = 64_000_000  # of the matrices of a part of the batch: what is computed for it stays in the cache
_HUGE_BYTES = 4_000_000


class _Side:
    """Exponents and contraction of the atoms of one species, one row for each pair of atoms or one for all."""

    def __init__(self, functions: MolecularBasis, species: Species, atoms: Tensor) -> None:
        uniform = functions.is_uniform
        chosen = slice(0, 1) if uniform else slice(None)
        groups = functions.groups

        def rows(values: Tensor, dim: int) -> Tensor:
            """(n_batch or 1, n_pairs or 1, ...) from (..., n_atoms, ...)."""
            values = values.reshape(-1, *values.shape[dim:])
            return values if uniform else values[:, atoms]

        exponents = [momentum.exponents(groups, chosen) for momentum in species.momenta]
        factors = [
            momentum.factors(groups, chosen) if momentum.members is None else torch.ones_like(values)
            for momentum, values in zip(species.momenta, exponents, strict=True)
        ]
        self.exponents, self.factors = rows(torch.cat(exponents, -1), -2), rows(torch.cat(factors, -1), -2)
        self.contractions: list[Tensor | None] = []
        """For each momentum (n_batch or 1, n_pairs or 1, 1, n_shells, n_primitives), or two dimensions if uniform."""
        for momentum in species.momenta:
            contraction = momentum.contraction(groups, chosen)
            if contraction is not None:
                contraction = contraction[0] if uniform else rows(contraction, -3).unsqueeze(2)
            self.contractions.append(contraction)


class _Radial:
    """The radial integrals of a species pair at any distance."""

    def __init__(self, metric: Metric, pair: SpeciesPair, left: MolecularBasis, right: MolecularBasis) -> None:
        first, second = _Side(left, pair.left, pair.left_atoms), _Side(right, pair.right, pair.right_atoms)
        self.table = RadialTable(
            metric,
            pair.left.primitive_l,
            pair.right.primitive_l,
            first.exponents,
            second.exponents,
            first.factors,
            second.factors,
        )
        self.contractions = list(product(first.contractions, second.contractions))

    def blocks(self, pair: SpeciesPair, offsets: Tensor) -> Iterator[Tensor]:
        """For each pair of momenta (n_batch or 1, n_pairs or 1, shell pairs, (2 l1 + 1) (2 l2 + 1)).

        Parameters
        ----------
        pair : SpeciesPair
        offsets : (n_batch or 1, n_pairs or 1, 3)
            Left minus right atom.
        """
        harmonics = coupled_harmonics(offsets, pair.degrees)
        table = self.table.at((offsets**2).sum(-1))
        lead = table.shape[:2]
        for (first, second), degrees, (left, right) in zip(pair.momenta, pair.degrees, self.contractions, strict=True):
            n_terms = min(degrees) + 1
            radial = table[:, :, :n_terms, first.primitives, second.primitives]
            if right is not None:
                radial = radial @ right.transpose(-2, -1)
            if left is not None:
                radial = left @ radial
            radial = radial.reshape(-1, n_terms, first.n_shells * second.n_shells)
            angular = harmonics[degrees]
            angular = angular.expand(*lead, *angular.shape[2:]).flatten(0, 1)
            yield torch.bmm(radial.transpose(1, 2), angular).view(*lead, radial.shape[-1], -1)


@lru_cache(maxsize=128)
def _fixed_radials(
    metric: Metric, pairs: tuple[SpeciesPair, ...], left: MolecularBasis, right: MolecularBasis
) -> list[_Radial]:
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        return [_Radial(metric, pair, left, right) for pair in pairs]


def _radials(
    metric: Metric, pairs: tuple[SpeciesPair, ...], left: MolecularBasis, right: MolecularBasis
) -> list[_Radial]:
    """One for each species pair, kept where nothing in them can change."""
    if left.is_uniform and right.is_uniform:
        return _fixed_radials(metric, pairs, left, right)
    return [_Radial(metric, pair, left, right) for pair in pairs]


@lru_cache(maxsize=128)
def _one_centre(metric: Metric, pairs: tuple[SpeciesPair, ...], functions: MolecularBasis) -> dict[int, Tensor]:
    """The integrals between the functions of one atom, by index of the species pair."""
    with torch.inference_mode(False), torch.no_grad():
        here = functions.groups[0].exponents.new_zeros((1, len(functions.numbers), 3))
        return {
            index: arrange(pair, blocks)
            for index, (pair, blocks) in enumerate(_all_blocks(metric, pairs, functions, here, functions, here))
            if pair.same_atom
        }


def _check(metric: str) -> None:
    if metric not in ("overlap", "coulomb"):
        raise InputError(f"Unknown metric {metric!r}; known: 'coulomb', 'overlap'.")


def _all_blocks(
    metric: Metric,
    pairs: tuple[SpeciesPair, ...],
    left: MolecularBasis,
    left_positions: Tensor,
    right: MolecularBasis,
    right_positions: Tensor,
) -> Iterator[tuple[SpeciesPair, Iterator[Tensor]]]:
    """The blocks of each species pair, for positions (n_batch, n_atoms, 3)."""
    for pair, radial in zip(pairs, _radials(metric, pairs, left, right), strict=True):
        if pair.same_atom:
            rows = 1 if left.is_uniform else len(pair.corners)
            offsets = left_positions.new_zeros((1, rows, 3))
        else:
            offsets = left_positions[:, pair.left.atoms[pair.left_atoms]]
            offsets = offsets - right_positions[:, pair.right.atoms[pair.right_atoms]]
        yield pair, radial.blocks(pair, offsets)


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
    batch = torch.broadcast_shapes(*(t.shape[:-2] for t in tensors))  # type: ignore[no-untyped-call]
    left_positions, right_positions = (
        positions.expand(*batch, *positions.shape[-2:]).reshape(-1, *positions.shape[-2:])
        for positions in (left_positions, right_positions)
    )
    pairs = species_pairs(left.species, right.species, symmetric)
    shape = (left_positions.shape[0], left.n_functions, right.n_functions)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        found = _all_blocks(metric, pairs, left, left_positions, right, right_positions)
        every = [block for _, blocks in found for block in blocks]
        matrix: Tensor = Assemble.apply(pairs, shape, *every)  # type: ignore[no-untyped-call]
        return matrix.view(*batch, *shape[1:])
    fixed = _one_centre(metric, pairs, left) if symmetric and left.is_uniform else {}
    result = _empty(shape, left_positions)
    is_batch_of_bases = any(t.dim() > 2 for t in tensors[2:])
    chunk = max(1, _CHUNK_BYTES // (shape[1] * shape[2] * result.element_size()))
    for start in range(0, shape[0], shape[0] if is_batch_of_bases else chunk):
        part = slice(start, shape[0] if is_batch_of_bases else start + chunk)
        found = _all_blocks(metric, pairs, left, left_positions[part], right, right_positions[part])
        for index, (pair, blocks) in enumerate(found):
            place(result[part], pair, fixed[index] if index in fixed else arrange(pair, blocks))
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
