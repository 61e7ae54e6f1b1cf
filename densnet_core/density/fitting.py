"""Fits of a density to a basis: the difference to the superposed atoms, with the electron count exact."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import Basis, Metric
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.structures import Structure

FitMetric = Literal["coulomb", "overlap", "weighted"]
"""Metrics of a fit; the real-space weighted one is that of ``densnet_core.density.weighted``."""

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
    solved_condition_number : float
        Of what was inverted: without the directions that were left out, or with the Tikhonov term.
    dropped : int
        Directions left out because of near-linear dependence.
    """

    coefficients: NDArray[np.float64]
    condition_number: float
    solved_condition_number: float
    dropped: int


def fit_density(
    metric: Tensor,
    projection: Tensor,
    counts: Tensor,
    electrons: float | None = None,
    tikhonov: float | None = None,
) -> DensityFit:
    """Minimise (rho - rho_hat | M | rho - rho_hat), optionally with integral rho_hat = ``electrons``.

    Parameters
    ----------
    metric : (n, n)
        <P|Q>, (P|Q) or <P|w|Q>.
    projection : (n,)
        <P|rho>, (P|rho) or <P|w|rho>.
    counts : (n,)
        Integrals of the functions.
    electrons : float or None
        The constraint; None leaves it out.
    tikhonov : float or None
        Add this multiple of sum_P M_PP c_P^2 to what is minimised, instead of leaving directions out: all coefficients
        then stay small and change smoothly with the density, at the cost of a small bias.

    Raises
    ------
    InputError
        Shapes that do not match, values that are not finite, a constraint on a basis without s functions, or a Tikhonov
        parameter that is not positive.

    Notes
    -----
    c = M^-1 (b - lambda q), with lambda from q.c = electrons. The inverse is taken in the eigenbasis of the metric
    scaled to unit diagonal, so exponents of any size are treated alike; there the Tikhonov term adds its parameter to
    every eigenvalue (Hansen, Rank-Deficient and Discrete Ill-Posed Problems, SIAM 1998, section 5.1). Without it
    directions below ``EIGENVALUE_CUT`` are left out.
    """
    if metric.shape != (len(projection), len(projection)) or counts.shape != projection.shape:
        raise InputError(
            f"A metric of shape {tuple(metric.shape)}, a projection of {tuple(projection.shape)} and counts of "
            f"{tuple(counts.shape)} do not belong to one basis."
        )
    if not bool(torch.isfinite(metric).all() & torch.isfinite(projection).all()):
        raise InputError("The metric or the projection has values that are not finite; compute the frame again.")
    if tikhonov is not None and not (isfinite(tikhonov) and tikhonov > 0.0):
        raise InputError(f"The Tikhonov parameter must be positive, for example 1e-8, not {tikhonov}.")
    scale = 1.0 / torch.sqrt(torch.diagonal(metric))
    values, vectors = torch.linalg.eigh(metric * scale[:, None] * scale[None, :])
    keep = torch.ones_like(values, dtype=torch.bool) if tikhonov else values > EIGENVALUE_CUT * values[-1]
    basis, solved = vectors[:, keep], values[keep] + (tikhonov or 0.0)
    if tikhonov is not None and not float(solved[0]) > 0.0:
        raise InputError(
            f"The metric has an eigenvalue of {float(values[0]):.1e} by rounding; the Tikhonov parameter {tikhonov:g} "
            "is too small to make up for it. Raise it, or leave it out to have such directions left out."
        )

    def solve(right: Tensor) -> Tensor:
        solution: Tensor = scale * (basis @ ((basis.T @ (scale * right)) / solved))
        return solution

    coefficients = solve(projection)
    if electrons is not None:
        response = solve(counts)
        weight = float(counts @ response)
        if not weight > 0:
            raise InputError("The basis has no s function, so the number of electrons cannot be constrained.")
        coefficients = coefficients + response * ((electrons - counts @ coefficients) / weight)
    smallest = float(values[0].clamp(min=1e-300))
    return DensityFit(
        coefficients.numpy(), float(values[-1]) / smallest, float(solved[-1] / solved[0]), int((~keep).sum())
    )


def difference_projection(
    structure: Structure,
    projection: NDArray[np.float64],
    basis: Basis,
    prior: AtomicPrior,
    metric: Metric = "coulomb",
) -> Tensor:
    """Right-hand side (n_functions,) of a fit of rho minus the superposed atoms, from that of rho.

    Raises
    ------
    InputError
        If the projection is not of this structure in this basis.
    """
    positions = torch.tensor(structure.positions)
    functions = MolecularBasis(basis, structure.numbers)
    if np.shape(projection) != (functions.n_functions,):
        raise InputError(
            f"A projection of shape {np.shape(projection)} does not belong to basis {basis.name!r}, which has "
            f"{functions.n_functions} functions on {structure.formula}."
        )
    atoms = MolecularBasis(prior.basis, structure.numbers)
    from_atoms = two_center(metric, functions, positions, atoms, positions) @ prior.coefficients(structure.numbers)
    return torch.as_tensor(projection, dtype=torch.float64) - from_atoms


def fit_difference(
    structure: Structure,
    projection: NDArray[np.float64],
    basis: Basis,
    prior: AtomicPrior,
    metric: Metric = "coulomb",
    constrained: bool = True,
    tikhonov: float | None = None,
) -> DensityFit:
    """Fit rho minus the superposed atoms; in a real-space weighted metric, see ``fit_weighted_difference``.

    Parameters
    ----------
    projection : (n_functions,)
        ``ReferenceBackend.project`` of the total electron density in ``basis`` and ``metric``.
    constrained : bool
        Keep the electron count exact: the difference then holds minus the charge of the molecule.
    tikhonov : float or None
        As ``fit_density``.

    Raises
    ------
    InputError
        As ``fit_density``; the projection must be that of this structure in this basis.
    """
    right = difference_projection(structure, projection, basis, prior, metric)
    functions = MolecularBasis(basis, structure.numbers)
    matrix = two_center(metric, functions, torch.tensor(structure.positions))
    electrons = -float(structure.charge) if constrained else None
    return fit_density(matrix, right, functions.electron_counts(), electrons, tikhonov)
