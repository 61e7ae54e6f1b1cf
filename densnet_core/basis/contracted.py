"""Two-centre integrals with a density: coefficients meet the angular parts before any matrix exists.

All primitives of both sides are one table of radial integrals, so that a small molecule costs few operations.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from densnet_core.basis.base import Metric
from densnet_core.basis.batches import batch_of, flat, precision_of
from densnet_core.basis.harmonics import coupled_harmonics
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.radial import RadialTable, check_metric


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
        Bohr; leading dimensions are a batch of geometries, with which those of scaled exponents are broadcast.
    right_coefficients : (..., n_right)
        Of the density.

    Raises
    ------
    InputError
        For an unknown metric, or bases of different dtypes; the integrals are of theirs.
    """
    check_metric(metric)
    batch = batch_of((left_positions, 2), (right_positions, 2), (right_coefficients, 1), bases=(left, right))
    precision = precision_of(left, right)
    offsets = flat(left_positions.to(precision), 2, batch)[:, :, None]
    offsets = offsets - flat(right_positions.to(precision), 2, batch)[:, None]
    rows, columns = left.primitives, right.primitives
    if left.is_uniform and right.is_uniform:
        table = _fixed_table(metric, left, right)
    else:
        table = RadialTable(metric, rows.l, columns.l, _exponents(left, batch), _exponents(right, batch))
    squared = (offsets**2).sum(-1)
    radial = table.at(squared[:, rows.atoms][:, :, columns.atoms])

    n_batch = len(offsets)
    terms = _weights(right, batch) * flat(right_coefficients.to(precision), 1, batch)[:, columns.functions]
    components = terms.new_zeros((n_batch, columns.n_components)).index_add(1, columns.components, terms)
    field = _field(left, right, offsets, components, radial.shape[1])
    parts = []
    for species, places in zip(left.species, rows.of_species, strict=True):
        # (n_batch, n_terms, n_atoms, n_primitives of an atom, n_columns) times (..., n_columns, n_angular)
        product = radial[:, :, places] @ field[:, :, species.atoms].transpose(-2, -1)
        parts.append(product.sum(1).flatten(1))
    values = torch.cat(parts, dim=1)[:, rows.angular_places]
    result = values.new_zeros((n_batch, left.n_functions))
    result = result.index_add(1, rows.functions, _weights(left, batch) * values[:, rows.components])
    return result.view(*batch, left.n_functions)


def _field(left: MolecularBasis, right: MolecularBasis, offsets: Tensor, components: Tensor, n_terms: int) -> Tensor:
    """Coefficients of the right primitives times the angular parts at every left atom.

    Returns
    -------
    Tensor
        (n_batch, n_terms, n_left_atoms, sum of (2 l1 + 1), n_right_primitives), to be met by the radial integrals.
    """
    left_l = [group.l for group in left.groups]
    degrees = tuple((l1, group.l) for l1 in left_l for group in right.groups)
    harmonics = coupled_harmonics(offsets.transpose(1, 2), degrees)
    n_batch, n_left = offsets.shape[:2]
    fields, start = [], 0
    for index, group in enumerate(right.groups):
        size = 2 * group.l + 1
        parts = [harmonics[l1, group.l] for l1 in left_l]
        parts = [part.view(*part.shape[:4], 2 * l1 + 1, size) for part, l1 in zip(parts, left_l, strict=True)]
        # (n_batch, n_right_atoms, n_left_atoms, n_terms, n_angular, 2 l2 + 1), zero where a pair of l has fewer terms
        most = max(part.shape[3] for part in parts)
        angular = torch.cat([pad(part, (0, 0, 0, 0, 0, most - part.shape[3])) for part in parts], dim=-2)
        for species in right.species:
            for momentum in species.momenta:
                if momentum.group == index:
                    n_atoms, n_primitives = len(species.starts), len(momentum.set_rows)
                    stop = start + n_atoms * n_primitives * size
                    local = components[:, start:stop].view(n_batch, n_atoms, n_primitives, size).transpose(-2, -1)
                    product = angular[:, species.atoms].flatten(2, 4) @ local
                    product = product.view(n_batch, n_atoms, n_left, most, -1, n_primitives)
                    product = product.permute(0, 3, 2, 4, 1, 5).flatten(-2)
                    fields.append(pad(product, (0, 0, 0, 0, 0, 0, 0, n_terms - most)))
                    start = stop
    return torch.cat(fields, dim=-1)


def _strung(functions: MolecularBasis, name: str) -> Tensor:
    return torch.cat([getattr(group, name).flatten(-2) for group in functions.groups], dim=-1)


def _exponents(functions: MolecularBasis, batch: tuple[int, ...]) -> Tensor:
    """(n_batch or 1, n_primitives)."""
    exponents = _strung(functions, "exponents")[..., functions.primitives.exponents]
    return flat(exponents, 1, batch if exponents.dim() > 1 else ())


def _weights(functions: MolecularBasis, batch: tuple[int, ...]) -> Tensor:
    """(n_batch or 1, n_terms) contraction coefficients."""
    coefficients = _strung(functions, "coefficients")[..., functions.primitives.coefficients]
    return flat(coefficients, 1, batch if coefficients.dim() > 1 else ())


@lru_cache(maxsize=128)
def _fixed_table(metric: Metric, left: MolecularBasis, right: MolecularBasis) -> RadialTable:
    with torch.inference_mode(False):  # kept for later calls, which may need derivatives
        sides = (left.primitives.l, right.primitives.l, _exponents(left, ()), _exponents(right, ()))
        return RadialTable(metric, *sides)
