"""Fits of a density in a real-space metric <f|w|g> = integral f(r) w(r) g(r) dr, by quadrature.

The weight is the inverse of the superposed atoms' density, w = 1 / (rho_atoms + floor). By Cauchy and Schwarz
(integral |d|)^2 <= integral d^2 / rho * integral rho, so the fit minimises an upper bound of the integrated absolute
error, NMAE, where the overlap metric looks at the dense regions only and the Coulomb metric at the potential.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from densnet_core.basis.base import Basis
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import CHUNK, Density
from densnet_core.density.fitting import Array, DensityFit, difference_constraints, fit_density
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.errors import InputError

FLOOR: Final = 1e-3
"""Electrons per bohr^3: where the atoms' density is lower, an error counts by its square as everywhere there."""

Weight = Callable[[Tensor], Tensor]


def inverse_density(atoms: Tensor) -> Tensor:
    """The weight 1 / (rho_atoms + FLOOR), bohr^3, from values of the superposed atoms' density."""
    return 1.0 / (atoms.clamp(min=0.0) + FLOOR)


def fit_weighted_difference(
    density: Density,
    basis: Basis,
    prior: AtomicPrior,
    dipole: Array | None = None,
    second_moments: Array | None = None,
    weight: Weight = inverse_density,
    constrained: bool = True,
    tikhonov: float | None = None,
    n_radial: int = 60,
    degree: int = 29,
) -> DensityFit:
    """Fit rho minus the superposed atoms in a real-space weighted metric.

    Parameters
    ----------
    density : Density
        The reference, evaluated on the quadrature.
    dipole, second_moments
        As ``densnet_core.density.fitting.fit_difference``.
    weight : callable
        From the density of the superposed atoms (n_points,) to the weight (n_points,), not negative.
    constrained, tikhonov
        As ``densnet_core.density.fitting.fit_difference``.
    n_radial, degree : int
        Of the quadrature.

    Raises
    ------
    InputError
        As ``fit_density``, or a weight that is negative or not finite.
    """
    structure = density.structure
    positions = torch.tensor(structure.positions)
    functions = MolecularBasis(basis, structure.numbers)
    atoms = MolecularBasis(prior.basis, structure.numbers)
    of_atoms = prior.coefficients(structure.numbers)
    points, shares = (torch.tensor(array) for array in quadrature(structure, n_radial, degree))
    metric = torch.zeros((functions.n_functions, functions.n_functions), dtype=torch.float64)
    projection = torch.zeros(functions.n_functions, dtype=torch.float64)
    for part, share in zip(torch.split(points, CHUNK), torch.split(shares, CHUNK), strict=True):
        superposed = atoms.density(positions, of_atoms, part)
        weights = weight(superposed)
        if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
            raise InputError("The weight of the metric is negative or not finite somewhere; give one that is neither.")
        values = functions.evaluate(positions, part)
        weighted = (share * weights)[:, None] * values
        metric += weighted.T @ values
        projection += weighted.T @ (torch.tensor(density.evaluate(part.numpy())) - superposed)
    constraints = difference_constraints(structure, functions, prior, dipole, second_moments) if constrained else ()
    return fit_density(0.5 * (metric + metric.T), projection, constraints, tikhonov)
