"""Integrals between the atoms of two elements: blocks of a matrix, or at once the sum with a density's coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import pad

from densnet_core.basis.harmonics import coupled_harmonics
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.pairs import SpeciesPair
from densnet_core.basis.radial import Metric, RadialTable
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
        table = self.table.at((offsets**2).sum(-1))
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

    def with_density(self, pair: SpeciesPair, offsets: Tensor, coefficients: Tensor) -> Tensor:
        """Integrals of the left functions with all right ones times their coefficients.

        The coefficients meet the angular parts before any integral between two functions exists.

        Parameters
        ----------
        pair : SpeciesPair
            All pairs of their atoms, those of one left atom in a row.
        offsets : (n_batch, n_pairs, 3)
        coefficients : (n_batch, n_right_atoms, n_right)
            Sorted by angular momentum.

        Returns
        -------
        Tensor
            (n_batch, n_left_atoms, n_left), sorted by angular momentum.
        """
        harmonics = coupled_harmonics(offsets, pair.degrees)
        table = self.table.at((offsets**2).sum(-1))
        n_batch, n_left, n_right = len(offsets), len(pair.left.starts), len(pair.right.starts)
        n_terms, n_rows, n_columns = table.shape[-3:]
        fields = []  # for each right l: (n_batch * n_pairs, n_terms * sum of (2 l1 + 1), n_right_primitives)
        for second, right in zip(pair.right.momenta, self.right.contractions, strict=True):
            local = (
                coefficients[:, :, second.functions].reshape(n_batch, n_right, second.n_shells, -1).transpose(-2, -1)
            )
            if right is not None:
                local = local @ (right if right.shape[1] == 1 else right[:, :n_right])
            size = 2 * second.l + 1
            parts = [harmonics[first.l, second.l] for first in pair.left.momenta]
            parts = [part.view(*part.shape[:3], -1, size) for part in parts]
            parts = [pad(part, (0, 0, 0, 0, 0, n_terms - part.shape[2])) for part in parts]
            angular = torch.cat(parts, dim=-2).view(n_batch, n_left, n_right, -1, size)
            fields.append(angular @ local.unsqueeze(1))
        field = torch.cat(fields, dim=-1).view(n_batch * n_left, n_right, n_terms, -1, n_columns)
        field = field.transpose(-2, -1).reshape(n_batch * n_left, n_right * n_terms * n_columns, -1)
        table = table.expand(n_batch, *table.shape[1:]).view(n_batch * n_left, n_right, n_terms, n_rows, n_columns)
        radial = table.permute(0, 3, 1, 2, 4).reshape(n_batch * n_left, n_rows, -1)
        values = torch.bmm(radial, field).view(n_batch, n_left, n_rows, -1)
        results, start = [], 0
        for first, left in zip(pair.left.momenta, self.left.contractions, strict=True):
            value = values[:, :, first.primitives, start : start + 2 * first.l + 1]
            if left is not None:
                value = _product(left if left.shape[1] == 1 else left[:, ::n_right], value)
            results.append(value.flatten(-2))
            start += 2 * first.l + 1
        return torch.cat(results, dim=-1)
