"""Fits of a density to a basis: the difference to the superposed atoms, with the electron count exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import Basis
from densnet_core.basis.integrals import Metric, two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.structures import Structure

EIGENVALUE_CUT = 1e-12
"""Relative to the largest eigenvalue of the metric scaled to unit diagonal; below it a direction is left out."""


@dataclass(frozen=True, eq=False)
class DensityFit:
    """Coefficients of a fitted density.

    Parameters
    ----------
    coefficients : (n_functions,) float64
    condition_number : float
        Of the metric scaled to unit diagonal.
    dropped : int
        Directions left out because of near-linear dependence.
    """

    coefficients: NDArray[np.float64]
    condition_number: float
    dropped: int


def fit_density(metric: Tensor, projection: Tensor, counts: Tensor, electrons: float | None = None) -> DensityFit:
    """Minimise (rho - rho_hat | M | rho - rho_hat), optionally with integral rho_hat = ``electrons``.

    Parameters
    ----------
    metric : (n, n)
        <P|Q> or (P|Q).
    projection : (n,)
        <P|rho> or (P|rho).
    counts : (n,)
        Integrals of the functions.
    electrons : float or None
        The constraint; None leaves it out.

    Raises
    ------
    InputError
        Shapes that do not match, values that are not finite, or a constraint on a basis without s functions.

    Notes
    -----
    c = M^-1 (b - lambda q), with lambda from q.c = electrons. The inverse is taken in the eigenbasis of the metric
    scaled to unit diagonal, so exponents of any size are treated alike; directions below ``EIGENVALUE_CUT`` are left
    out.
    """
    if metric.shape != (len(projection), len(projection)) or counts.shape != projection.shape:
        raise InputError(
            f"A metric of shape {tuple(metric.shape)}, a projection of {tuple(projection.shape)} and counts of "
            f"{tuple(counts.shape)} do not belong to one basis."
        )
    if not bool(torch.isfinite(metric).all() & torch.isfinite(projection).all()):
        raise InputError("The metric or the projection has values that are not finite; compute the frame again.")
    scale = 1.0 / torch.sqrt(torch.diagonal(metric))
    values, vectors = torch.linalg.eigh(metric * scale[:, None] * scale[None, :])
    keep = values > EIGENVALUE_CUT * values[-1]
    basis = vectors[:, keep]

    def solve(right: Tensor) -> Tensor:
        solution: Tensor = scale * (basis @ ((basis.T @ (scale * right)) / values[keep]))
        return solution

    coefficients = solve(projection)
    if electrons is not None:
        response = solve(counts)
        weight = float(counts @ response)
        if not weight > 0:
            raise InputError("The basis has no s function, so the number of electrons cannot be constrained.")
        coefficients = coefficients + response * ((electrons - counts @ coefficients) / weight)
    smallest = float(values[0].clamp(min=1e-300))
    return DensityFit(coefficients.numpy(), float(values[-1]) / smallest, int((~keep).sum()))


def fit_difference(
    structure: Structure,
    projection: NDArray[np.float64],
    basis: Basis,
    prior: AtomicPrior,
    metric: Metric = "coulomb",
    constrained: bool = True,
) -> DensityFit:
    """Fit rho minus the superposed atoms.

    Parameters
    ----------
    projection : (n_functions,)
        ``ReferenceBackend.project`` of the total electron density in ``basis`` and ``metric``.
    constrained : bool
        Keep the electron count exact: the difference then holds minus the charge of the molecule.

    Raises
    ------
    InputError
        As ``fit_density``; the projection must be that of this structure in this basis.
    """
    positions = torch.tensor(structure.positions)
    functions = MolecularBasis(basis, structure.numbers)
    atoms = MolecularBasis(prior.basis, structure.numbers)
    from_atoms = two_center(metric, functions, positions, atoms, positions) @ prior.coefficients(structure.numbers)
    if np.shape(projection) != (functions.n_functions,):
        raise InputError(
            f"A projection of shape {np.shape(projection)} does not belong to basis {basis.name!r}, which has "
            f"{functions.n_functions} functions on {structure.formula}."
        )
    right = torch.as_tensor(projection, dtype=torch.float64) - from_atoms
    matrix = two_center(metric, functions, positions)
    return fit_density(matrix, right, functions.electron_counts(), -float(structure.charge) if constrained else None)
