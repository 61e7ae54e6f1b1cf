"""Fits of a density to a basis: the difference to the superposed atoms, with charge and dipole exact.

What is minimised and how rounding is dealt with is said in ``fit_density``; the conditions are those of
``densnet_core.density.constraints``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import Basis, Metric
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import second_moments as moments_of
from densnet_core.density.constraints import Constraint, independent_rows, moment_constraints
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.structures import Structure

Array = NDArray[np.float64]

TIKHONOV: Final = 1e-10
"""Of the metric's diagonal. Some 10^4 times the rounding of eigenvalues, and a hundredth of the smallest eigenvalue of
ethanol in aug-cc-pVQZ-JKFIT (1.2e-8), whose direction it changes by 7e-5. With 1e-11 rounding shows in the second
differences of coefficients along a path in nearly dependent sets (even-tempered, ratio 1.25)."""


@dataclass(frozen=True, eq=False)
class DensityFit:
    """Coefficients of a fitted density.

    Parameters
    ----------
    coefficients : (n_functions,) float64
    missed : mapping of str to float
        By name of a constraint, how far the fit without any constraint would be from it, atomic units.
    metric : (n_functions, n_functions)
        Scaled to unit diagonal.
    tikhonov : float
        What was added to its diagonal.
    """

    coefficients: Array
    missed: Mapping[str, float]
    metric: Tensor = field(repr=False)
    tikhonov: float

    @property
    def condition_number(self) -> float:
        """Of the metric scaled to unit diagonal."""
        smallest, largest = self._extreme_eigenvalues
        return largest / max(smallest, 1e-300)

    @property
    def solved_condition_number(self) -> float:
        """Of what was inverted, which has the Tikhonov term."""
        smallest, largest = self._extreme_eigenvalues
        return (largest + self.tikhonov) / (smallest + self.tikhonov)

    @cached_property
    def _extreme_eigenvalues(self) -> tuple[float, float]:
        # Not part of the fit: they cost several times as much as its Cholesky decomposition.
        eigenvalues = torch.linalg.eigvalsh(self.metric)
        return float(eigenvalues[0]), float(eigenvalues[-1])


def fit_density(
    metric: Tensor, projection: Tensor, constraints: Sequence[Constraint] = (), tikhonov: float | None = None
) -> DensityFit:
    """Minimise (rho - rho_hat | M | rho - rho_hat) under linear constraints, smoothly in all that is given.

    Parameters
    ----------
    metric : (n, n)
        <P|Q>, (P|Q) or <P|w|Q>.
    projection : (n,)
        <P|rho>, (P|rho) or <P|w|rho>.
    constraints : sequence of Constraint
        Held exactly, for example those of ``moment_constraints``.
    tikhonov : float or None
        Directions of the metric scaled to unit diagonal with eigenvalues below this are damped, all others hardly
        changed. None: ``TIKHONOV``, against rounding alone.

    Raises
    ------
    InputError
        Shapes that do not match, values that are not finite, a constraint that the basis cannot meet, or a Tikhonov
        parameter that is not positive or is below the rounding of the metric.

    Notes
    -----
    c = G (b + A^T lambda), with lambda from the small Schur system (A G A^T) lambda = v - A G b. G is the inverse of
    the metric by Tikhonov regularisation iterated once (Hansen, Rank-Deficient and Discrete Ill-Posed Problems, SIAM
    1998, sections 5.1 and 6.4): with t the parameter, an eigenvalue s of the metric scaled to unit diagonal is inverted
    to (s + 2t) / (s + t)^2. That is 1 / s but for a relative error of (t / s)^2, and 2 / t at most. In other words
    c minimises the error plus d.[t^2 / (M + 2t)] d, d being c in units of the functions' norms; no direction is ever
    left out, so c is a smooth function of the geometry.
    """
    if metric.shape != (len(projection), len(projection)):
        raise InputError(
            f"A metric of shape {tuple(metric.shape)} and a projection of {tuple(projection.shape)} do not belong to "
            "one basis."
        )
    if not bool(torch.isfinite(metric).all() & torch.isfinite(projection).all()):
        raise InputError("The metric or the projection has values that are not finite; compute the frame again.")
    if tikhonov is not None and not (isfinite(tikhonov) and tikhonov > 0.0):
        raise InputError(f"The Tikhonov parameter must be positive, for example 1e-8, not {tikhonov}.")
    added = TIKHONOV if tikhonov is None else tikhonov
    scale = torch.diagonal(metric).rsqrt()
    scaled = metric * scale[:, None] * scale[None, :]
    rows, values = independent_rows(constraints, scale)
    solutions = _solve(scaled, added, torch.cat([(scale * projection)[:, None], rows.T], dim=1))
    free, responses = solutions[:, 0], solutions[:, 1:]
    found = free
    schur = rows @ responses
    for _ in range(2):  # the second time against rounding
        found = found + responses @ torch.linalg.solve(0.5 * (schur + schur.T), values - rows @ found)
    missed = {constraint.name: constraint.missed(scale * free) for constraint in constraints}
    return DensityFit((scale * found).numpy(), missed, scaled, added)


def _solve(scaled: Tensor, tikhonov: float, columns: Tensor) -> Tensor:
    """Product (n, k) of the regularised inverse of a metric (n, n) of unit diagonal with columns (n, k)."""
    factor, failed = torch.linalg.cholesky_ex(
        scaled + tikhonov * torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
    )
    if int(failed):
        smallest = float(torch.linalg.eigvalsh(scaled)[0])
        raise InputError(
            f"The metric has an eigenvalue of {smallest:.1e} by rounding; the Tikhonov parameter {tikhonov:g} is too "
            "small to make up for it. Raise it, or leave it out."
        )
    once = torch.cholesky_solve(columns, factor)
    return once + tikhonov * torch.cholesky_solve(once, factor)


def difference_projection(
    structure: Structure,
    projection: Array,
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


def difference_constraints(
    structure: Structure,
    functions: MolecularBasis,
    prior: AtomicPrior,
    dipole: Array | None = None,
    second_moments: Array | None = None,
) -> tuple[Constraint, ...]:
    """Constraints on a fit of rho minus the superposed atoms, so that prior plus fit have the moments given.

    Parameters
    ----------
    dipole : (3,), optional
        Of nuclei and electrons about the origin, e bohr, as in ``ReferenceResult``. None does not constrain it.
    second_moments : (3, 3), optional
        The same, e bohr^2: ``ReferenceResult.quadrupole``.
    """
    positions = torch.tensor(structure.positions)
    electrons = -float(structure.charge)
    of_difference = None if dipole is None else -torch.tensor(np.asarray(dipole, dtype=np.float64))
    if second_moments is None:
        return moment_constraints(functions, positions, electrons, of_difference)
    nuclei = np.einsum("a,ai,aj->ij", structure.numbers, structure.positions, structure.positions)
    atoms = MolecularBasis(prior.basis, structure.numbers)
    of_atoms = torch.einsum("f,fij->ij", prior.coefficients(structure.numbers), moments_of(atoms, positions))
    of_rest = torch.tensor(nuclei - np.asarray(second_moments)) - of_atoms
    return moment_constraints(functions, positions, electrons, of_difference, of_rest)


def fit_difference(
    structure: Structure,
    projection: Array,
    basis: Basis,
    prior: AtomicPrior,
    metric: Metric = "coulomb",
    dipole: Array | None = None,
    second_moments: Array | None = None,
    constrained: bool = True,
    tikhonov: float | None = None,
) -> DensityFit:
    """Fit rho minus the superposed atoms; in a real-space weighted metric, see ``fit_weighted_difference``.

    Parameters
    ----------
    projection : (n_functions,)
        ``ReferenceBackend.project`` of the total electron density in ``basis`` and ``metric``.
    dipole, second_moments
        Of the reference, as ``difference_constraints``; held exactly where given.
    constrained : bool
        Keep the electron count exact: the difference then holds minus the charge of the molecule. False leaves out all
        constraints.
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
    constraints = difference_constraints(structure, functions, prior, dipole, second_moments) if constrained else ()
    return fit_density(matrix, right, constraints, tikhonov)
