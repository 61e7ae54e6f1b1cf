"""Integrals between the atoms of two elements as blocks of a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from densnet_core.basis.base import Metric
from densnet_core.basis.harmonics import coupled_harmonics
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.pairs import SpeciesPair
from densnet_core.basis.radial import RadialTable
from densnet_core.basis.species import Species


class _Side:
    """Exponents and contractions of the atoms of a species, for every pair of atoms or once if all are the same."""

    def __init__(self, functions: MolecularBasis, species: Species, atoms: Tensor, batch: tuple[int, ...]) -> None:
        uniform = functions.is_uniform
        chosen, groups = slice(0, 1) if uniform else slice(None), functions.groups

        def rows(values: Tensor, n_dims: int) -> Tensor:
            """(n_batch or 1, n_pairs or 1, ...) from (..., n_atoms, ...) with n_dims dimensions from the atoms on."""
            if values.dim() > n_dims:
                values = values.expand(*batch, *values.shape[-n_dims:])
            values = values.reshape(-1, *values.shape[-n_dims:])
            return values if uniform else values[:, atoms]

        self.exponents = rows(torch.cat([m.exponents(groups, chosen) for m in species.momenta], -1), 2)
        self.factors = rows(torch.cat([m.factors(groups, chosen) for m in species.momenta], -1), 2)
        contractions = [momentum.contraction(groups, chosen) for momentum in species.momenta]
        self.contractions = [None if matrix is None else rows(matrix, 3) for matrix in contractions]
        """For each momentum (n_batch or 1, n_pairs or 1, n_shells, n_primitives), or None."""


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Matrix product over the last two dimensions; a matrix that is the same for all pairs is one large product."""
    if first.shape[:-2].numel() == 1:
        first = first.view(first.shape[-2:])
    if second.shape[:-2].numel() == 1:
        second = second.reshape(second.shape[-2:])
    return first @ second


class PairIntegrals:
    """The radial integrals of a species pair at any distance."""

    def __init__(
        self,
        metric: Metric,
        pair: SpeciesPair,
        left: MolecularBasis,
        right: MolecularBasis,
        batch: tuple[int, ...],
    ) -> None:
        self.left = _Side(left, pair.left, pair.left_atoms, batch)
        self.right = _Side(right, pair.right, pair.right_atoms, batch)
        self.table = RadialTable(
            metric,
            pair.left.primitive_l,
            pair.right.primitive_l,
            self.left.exponents,
            self.right.exponents,
            self.left.factors,
            self.right.factors,
        )

    def blocks(self, pair: SpeciesPair, offsets: Tensor) -> Iterator[Tensor]:
        """For each pair of momenta (n_batch or 1, n_pairs or 1, shell pairs, (2 l1 + 1) (2 l2 + 1)).

        Parameters
        ----------
        pair : SpeciesPair
        offsets : (n_batch or 1, n_pairs or 1, 3)
            Left minus right atom.
        """
        harmonics = coupled_harmonics(offsets, pair.degrees)
        table = self.table.at((offsets**2).sum(-1)[..., None, None])
        lead = table.shape[:2]
        contractions = product(self.left.contractions, self.right.contractions)
        for (first, second), degrees, (left, right) in zip(pair.momenta, pair.degrees, contractions, strict=True):
            n_terms = min(degrees) + 1
            radial = table[:, :, :n_terms, first.primitives, second.primitives]
            if right is not None:
                radial = _product(radial, right.unsqueeze(2).transpose(-2, -1))
            if left is not None:
                radial = _product(left.unsqueeze(2), radial)
            radial = radial.reshape(-1, n_terms, first.n_shells * second.n_shells)
            angular = harmonics[degrees]
            angular = angular.expand(*lead, *angular.shape[2:]).flatten(0, 1)
            yield torch.bmm(radial.transpose(1, 2), angular).view(*lead, radial.shape[-1], -1)
