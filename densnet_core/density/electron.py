"""Electron densities as objects: predicted or fitted ones, and those of molecular orbitals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from densnet_core.basis.base import Basis
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.structures import Structure

Array = NDArray[np.float64]
CHUNK = 8192


class Density(ABC):
    """An electron density (positive, electrons per bohr^3) around the nuclei of a structure."""

    structure: Structure

    @abstractmethod
    def evaluate(self, points: Array) -> Array:
        """Values (n_points,) at points (n_points, 3) in bohr."""


@dataclass(frozen=True, eq=False)
class ExpandedDensity(Density):
    """Superposed atoms plus a difference in a Gaussian basis.

    Parameters
    ----------
    structure : Structure
    basis : Basis
    coefficients : (n_functions,)
        Of the difference.
    prior : AtomicPrior
    """

    structure: Structure
    basis: Basis
    coefficients: Array
    prior: AtomicPrior

    @cached_property
    def functions(self) -> MolecularBasis:
        return MolecularBasis(self.basis, self.structure.numbers)

    def evaluate(self, points: Array) -> Array:
        return self.difference(points) + self.atoms(points)

    def difference(self, points: Array) -> Array:
        """The difference to the superposed atoms at points."""
        positions = torch.tensor(self.structure.positions)
        coefficients = torch.tensor(self.coefficients)
        return np.asarray(self.functions.density(positions, coefficients, torch.tensor(points), CHUNK).numpy())

    def atoms(self, points: Array) -> Array:
        """The superposed atoms at points."""
        numbers, positions = self.structure.numbers, torch.tensor(self.structure.positions)
        atoms = MolecularBasis(self.prior.basis, numbers)
        coefficients = self.prior.coefficients(numbers)
        return np.asarray(atoms.density(positions, coefficients, torch.tensor(points), CHUNK).numpy())

    def electron_count(self) -> float:
        """Number of electrons, analytic."""
        atoms = MolecularBasis(self.prior.basis, self.structure.numbers)
        superposed = atoms.electron_counts() @ self.prior.coefficients(self.structure.numbers)
        return float(superposed + self.functions.electron_counts() @ torch.tensor(self.coefficients))

    def dipole(self) -> Array:
        """Dipole moment (3,), e bohr; the neutral spherical atoms have none. About the origin if charged."""
        positions = torch.tensor(self.structure.positions)
        return np.asarray(-(torch.tensor(self.coefficients) @ self.functions.dipoles(positions)).numpy())


@dataclass(frozen=True, eq=False)
class OrbitalDensity(Density):
    """Density of occupied molecular orbitals.

    Parameters
    ----------
    structure : Structure
    basis : Basis
        The orbital basis.
    orbitals : (n_basis, n_occupied)
    occupations : (n_occupied,)
    """

    structure: Structure
    basis: Basis
    orbitals: Array
    occupations: Array

    def evaluate(self, points: Array) -> Array:
        functions = MolecularBasis(self.basis, self.structure.numbers)
        positions, orbitals = torch.tensor(self.structure.positions), torch.tensor(self.orbitals)
        occupations = torch.tensor(self.occupations)
        parts = [
            ((functions.evaluate(positions, part) @ orbitals) ** 2) @ occupations
            for part in torch.split(torch.tensor(points), CHUNK)
        ]
        return np.asarray(torch.cat(parts).numpy())

    def dipole(self, n_radial: int = 60, degree: int = 29) -> Array:
        """Dipole moment (3,), e bohr, by quadrature; about the origin if charged."""
        points, weights = quadrature(self.structure, n_radial, degree)
        electronic = (weights * self.evaluate(points)) @ points
        return np.asarray(self.structure.numbers @ self.structure.positions - electronic)


def nmae_percent(reference: Array, other: Array, weights: Array, electrons: float) -> float:
    """100 * integral |rho - rho_hat| / N from values on a quadrature."""
    return 100.0 * float(weights @ np.abs(reference - other)) / electrons


@dataclass(frozen=True)
class DensityErrors:
    """The three density errors of one frame, NMAE in per cent, never mixed.

    Parameters
    ----------
    fit_floor : float
        Reference density against its own best fit in the basis.
    model_vs_fit : float
    model_vs_reference : float
    """

    fit_floor: float
    model_vs_fit: float
    model_vs_reference: float


def density_errors(
    reference: OrbitalDensity, fit: ExpandedDensity, model: ExpandedDensity, n_radial: int = 60, degree: int = 29
) -> DensityErrors:
    """Errors of a model's density on the quadrature of the reference's structure.

    ``fit`` and ``model`` are of that structure and in one basis; their priors may differ.
    """
    points, weights = quadrature(reference.structure, n_radial, degree)
    electrons = float(reference.structure.n_electrons)
    exact = reference.evaluate(points)
    both = torch.tensor(np.stack([fit.coefficients, model.coefficients], axis=1))
    positions = torch.tensor(fit.structure.positions)
    differences = fit.functions.density(positions, both, torch.tensor(points), CHUNK).numpy()
    atoms = fit.atoms(points)
    model_atoms = atoms if model.prior.to_dict() == fit.prior.to_dict() else model.atoms(points)
    fitted, predicted = atoms + differences[:, 0], model_atoms + differences[:, 1]
    return DensityErrors(
        nmae_percent(exact, fitted, weights, electrons),
        nmae_percent(fitted, predicted, weights, electrons),
        nmae_percent(exact, predicted, weights, electrons),
    )
