"""Electron densities as objects: predicted or fitted ones, and those of molecular orbitals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import Basis
from densnet_core.basis.gradients import function_gradients
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import second_moments, traceless
from densnet_core.density.electrostatics import (
    Part,
    atom_field,
    atom_potential,
    electron_field,
    electron_potential,
    hartree_energy,
    hellmann_feynman_forces,
    nuclear_attraction_energy,
)
from densnet_core.density.expansion import scaled_functions
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

    @abstractmethod
    def gradient(self, points: Array) -> Array:
        """Gradients (n_points, 3), electrons per bohr^4, at points (n_points, 3) in bohr."""

    @abstractmethod
    def electron_count(self) -> float:
        """Number of electrons, analytic."""

    @abstractmethod
    def dipole(self) -> Array:
        """Dipole moment (3,) of nuclei and electrons, e bohr; about the origin if charged."""

    @abstractmethod
    def second_moments(self) -> Array:
        """Second moments (3, 3) of nuclei and electrons, sum q r_i r_j about the origin, e bohr^2."""

    def quadrupole(self, origin: Array | None = None) -> Array:
        """Traceless quadrupole (3, 3) of nuclei and electrons, e bohr^2.

        Buckingham's convention, 1/2 sum q (3 r_i r_j - r^2 delta_ij) (Adv. Chem. Phys. 12, 107, 1967).

        Parameters
        ----------
        origin : (3,), optional
            Bohr; the origin of the coordinates if omitted. It matters if there is a charge or a dipole.
        """
        moments = self.second_moments()
        if origin is not None:
            shift = np.outer(origin, self.dipole())
            charge = float(self.structure.numbers.sum()) - self.electron_count()
            moments = moments - shift - shift.T + charge * np.outer(origin, origin)
        return np.asarray(traceless(torch.tensor(moments)).numpy())


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
    scales : (n_atoms, l_max + 1), optional
        Factors of the exponents of each atom and angular momentum; None: the exponents of the basis.
    """

    structure: Structure
    basis: Basis
    coefficients: Array
    prior: AtomicPrior
    scales: Array | None = None

    def __repr__(self) -> str:
        return f"ExpandedDensity({self.structure.formula}, {len(self.coefficients)} functions of {self.basis.name})"

    @cached_property
    def functions(self) -> MolecularBasis:
        """The functions of the basis on the atoms, with the exponents that this density has."""
        functions = MolecularBasis(self.basis, self.structure.numbers)
        return scaled_functions(functions, None if self.scales is None else torch.tensor(self.scales))

    @cached_property
    def difference_part(self) -> Part:
        """The difference to the superposed atoms."""
        return Part(self.functions, torch.tensor(self.coefficients))

    @cached_property
    def atoms_part(self) -> Part:
        """The superposed atoms: one function for each."""
        atoms = MolecularBasis(self.prior.basis, self.structure.numbers)
        return Part(atoms, self.prior.coefficients(self.structure.numbers))

    @property
    def _positions(self) -> Tensor:
        return torch.tensor(self.structure.positions)

    @property
    def _charges(self) -> Tensor:
        return torch.tensor(self.structure.numbers, dtype=torch.float64)

    def evaluate(self, points: Array) -> Array:
        return self.difference(points) + self.atoms(points)

    def difference(self, points: Array) -> Array:
        """The difference to the superposed atoms at points."""
        return self._values(self.difference_part, points)

    def atoms(self, points: Array) -> Array:
        """The superposed atoms at points."""
        return self._values(self.atoms_part, points)

    def _values(self, part: Part, points: Array) -> Array:
        values = part.functions.density(self._positions, part.coefficients, torch.tensor(points), CHUNK)
        return np.asarray(values.numpy())

    def gradient(self, points: Array) -> Array:
        total = np.zeros((len(points), 3))
        for part in (self.atoms_part, self.difference_part):
            for start in range(0, len(points), CHUNK // 4):
                some = slice(start, start + CHUNK // 4)
                gradients = function_gradients(part.functions, self._positions, torch.tensor(points[some]))
                total[some] += (gradients @ part.coefficients).numpy()
        return total

    def electron_count(self) -> float:
        parts = (self.atoms_part, self.difference_part)
        return sum(float(part.functions.electron_counts() @ part.coefficients) for part in parts)

    def dipole(self) -> Array:
        """Dipole moment (3,), e bohr; the neutral spherical atoms have none. About the origin if charged."""
        part = self.difference_part
        return np.asarray(-(part.coefficients @ part.functions.dipoles(self._positions)).numpy())

    def second_moments(self) -> Array:
        nuclei = np.einsum("a,ai,aj->ij", self.structure.numbers, self.structure.positions, self.structure.positions)
        for part in (self.atoms_part, self.difference_part):
            moments = second_moments(part.functions, self._positions)
            nuclei = nuclei - torch.einsum("f,fij->ij", part.coefficients, moments).numpy()
        return np.asarray(nuclei)

    def electrostatic_potential(self, points: Array) -> Array:
        """Potential (n_points,) of nuclei and electrons at points (n_points, 3) in bohr, hartree/e.

        That which a positive unit charge feels: positive near nuclei, infinite at one.
        """
        where = torch.tensor(points)
        atoms = atom_potential(self.atoms_part, self._positions, where)
        return np.asarray((atoms - electron_potential(self.difference_part, self._positions, where)).numpy())

    def electric_field(self, points: Array) -> Array:
        """Field (n_points, 3), minus the gradient of ``electrostatic_potential``, hartree/(e bohr)."""
        where = torch.tensor(points)
        atoms = atom_field(self.atoms_part, self._positions, where)
        return np.asarray((atoms - electron_field(self.difference_part, self._positions, where)).numpy())

    def hartree_energy(self) -> float:
        """Classical repulsion of the electrons with themselves, hartree, analytic and with the atoms' cores."""
        return float(hartree_energy((self.atoms_part, self.difference_part), self._positions))

    def nuclear_attraction_energy(self) -> float:
        """Energy of the electrons in the field of the nuclei, hartree; negative."""
        parts, positions = (self.atoms_part, self.difference_part), self._positions
        return float(nuclear_attraction_energy(parts, positions, positions, self._charges))

    def hellmann_feynman_forces(self) -> Array:
        """Electrostatic forces on the nuclei (n_atoms, 3), hartree/bohr; a diagnostic of the density at the nuclei.

        See ``densnet_core.density.electrostatics.hellmann_feynman_forces``.
        """
        parts = (self.atoms_part, self.difference_part)
        return np.asarray(hellmann_feynman_forces(parts, self._positions, self._charges).numpy())


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

    @cached_property
    def functions(self) -> MolecularBasis:
        return MolecularBasis(self.basis, self.structure.numbers)

    def evaluate(self, points: Array) -> Array:
        positions, orbitals = torch.tensor(self.structure.positions), torch.tensor(self.orbitals)
        occupations = torch.tensor(self.occupations)
        parts = [
            ((self.functions.evaluate(positions, part) @ orbitals) ** 2) @ occupations
            for part in torch.split(torch.tensor(points), CHUNK)
        ]
        return np.asarray(torch.cat(parts).numpy())

    def gradient(self, points: Array) -> Array:
        positions, orbitals = torch.tensor(self.structure.positions), torch.tensor(self.orbitals)
        weighted = 2.0 * torch.tensor(self.occupations)
        parts = [
            torch.einsum(
                "pi,pxi,i->px",
                self.functions.evaluate(positions, part) @ orbitals,
                function_gradients(self.functions, positions, part) @ orbitals,
                weighted,
            )
            for part in torch.split(torch.tensor(points), CHUNK // 4)
        ]
        return np.asarray(torch.cat(parts).numpy())

    def electron_count(self) -> float:
        overlap = two_center("overlap", self.functions, torch.tensor(self.structure.positions)).numpy()
        return float(np.einsum("pi,pq,qi,i->", self.orbitals, overlap, self.orbitals, self.occupations, optimize=True))

    def second_moments(self, n_radial: int = 60, degree: int = 29) -> Array:
        """Second moments (3, 3), e bohr^2, about the origin, by quadrature."""
        points, weights = quadrature(self.structure, n_radial, degree)
        electronic = np.einsum("p,pi,pj->ij", weights * self.evaluate(points), points, points, optimize=True)
        positions = self.structure.positions
        return np.asarray(np.einsum("a,ai,aj->ij", self.structure.numbers, positions, positions) - electronic)

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

    ``fit`` and ``model`` are of that structure; their priors may differ, and their bases where exponents move.
    """
    points, weights = quadrature(reference.structure, n_radial, degree)
    electrons = float(reference.structure.n_electrons)
    exact = reference.evaluate(points)
    atoms = fit.atoms(points)
    model_atoms = atoms if model.prior.to_dict() == fit.prior.to_dict() else model.atoms(points)
    if model.scales is None and model.basis is fit.basis:  # the functions are evaluated once
        both = torch.tensor(np.stack([fit.coefficients, model.coefficients], axis=1))
        positions = torch.tensor(fit.structure.positions)
        differences = fit.functions.density(positions, both, torch.tensor(points), CHUNK).numpy()
        fitted, predicted = atoms + differences[:, 0], model_atoms + differences[:, 1]
    else:
        fitted, predicted = atoms + fit.difference(points), model_atoms + model.difference(points)
    return DensityErrors(
        nmae_percent(exact, fitted, weights, electrons),
        nmae_percent(fitted, predicted, weights, electrons),
        nmae_percent(exact, predicted, weights, electrons),
    )
