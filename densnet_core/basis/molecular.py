"""The functions of a basis on the atoms of one molecule, as tensors ready for the integrals."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from math import pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import Basis
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.basis.species import Arrangement, Momentum, Primitives, ShellGroup, Species
from densnet_core.errors import InputError


class MolecularBasis:
    """Functions of ``basis`` on atoms ``numbers``: atoms in order, shells as in the basis, then the core's m order.

    Parameters
    ----------
    basis : Basis
    numbers : (n_atoms,) atomic numbers
    dtype, device : of the tensors; float64 unless asked otherwise.
    """

    def __init__(
        self,
        basis: Basis,
        numbers: Iterable[int] | NDArray[np.int64],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.basis = basis
        self.numbers = np.asarray(list(numbers), dtype=np.int64)
        self.dtype, self.device = dtype, torch.device(device)
        rows: dict[int, list[tuple[int, int, NDArray[np.float64], NDArray[np.float64]]]] = {}
        offset = 0
        for atom, number in enumerate(self.numbers):
            for shell in basis.shells(int(number)):
                rows.setdefault(shell.l, []).append(
                    (atom, offset, np.array(shell.exponents), shell.radial_coefficients())
                )
                offset += shell.size
        self.n_atoms = int(self.numbers.size)
        self.n_functions = offset
        self.groups = tuple(self._group(l_, rows[l_]) for l_ in sorted(rows))
        atom_of = torch.empty(offset, dtype=torch.long, device=self.device)
        for group in self.groups:
            atom_of[group.functions] = group.atoms[:, None]
        self.function_atoms = atom_of
        """(n_functions,) the atom of every function."""
        self._arrangement = Arrangement(self.numbers.tolist(), self.groups)
        self._unscaled = self.groups

    def _group(
        self,
        l: int,  # noqa: E741
        rows: list[tuple[int, int, NDArray[np.float64], NDArray[np.float64]]],
    ) -> ShellGroup:
        width = max(len(exponents) for _, _, exponents, _ in rows)
        exponents = np.ones((len(rows), width))
        coefficients = np.zeros((len(rows), width))
        for index, (_, _, values, factors) in enumerate(rows):
            exponents[index, : len(values)] = values
            coefficients[index, : len(values)] = factors
        functions = np.array([offset for _, offset, _, _ in rows])[:, None] + np.arange(2 * l + 1)
        numbers: dict[tuple[int, bytes], int] = {}
        sets = [numbers.setdefault((atom, values.tobytes()), len(numbers)) for atom, _, values, _ in rows]
        return ShellGroup(
            l,
            torch.tensor([atom for atom, _, _, _ in rows], device=self.device),
            torch.tensor(functions, device=self.device),
            torch.tensor(exponents, dtype=self.dtype, device=self.device),
            torch.tensor(coefficients, dtype=self.dtype, device=self.device),
            torch.tensor(sets, device=self.device),
            torch.tensor([len(values) for _, _, values, _ in rows], device=self.device),
        )

    @property
    def species(self) -> tuple[Species, ...]:
        """The atoms of each element, with their distinct primitives."""
        return self._arrangement.species

    @property
    def primitives(self) -> Primitives:
        """The distinct primitives of all atoms."""
        return self._arrangement.primitives

    @property
    def is_uniform(self) -> bool:
        """Whether atoms of one element have the same functions for good: exponents neither scaled nor variable."""
        return self.groups is self._unscaled and not any(
            group.exponents.requires_grad or group.coefficients.requires_grad for group in self.groups
        )

    def scaled(self, factors: Tensor) -> MolecularBasis:
        """The same functions with the exponents of every atom multiplied by factors, differentiable in these.

        R(r) becomes f^(3/4) R(sqrt(f) r): still normalised, with the same contraction of normalised primitives.

        Parameters
        ----------
        factors : (n_atoms,), (..., n_atoms, 1) or (..., n_atoms, l_max + 1)
            Positive; one for each atom, or for each atom and angular momentum. Leading dimensions are a batch, with
            which those of the positions are broadcast.

        Raises
        ------
        InputError
            If the shape is another one.
        """
        highest = max(group.l for group in self.groups)
        of_l = factors[:, None] if factors.dim() == 1 else factors
        if of_l.dim() < 2 or of_l.shape[-2] != self.n_atoms or of_l.shape[-1] not in (1, highest + 1):
            n = self.n_atoms
            raise InputError(
                f"Scale factors of shape {tuple(factors.shape)} do not fit {n} atoms with l up to {highest}: "
                f"give ({n},), (..., {n}, 1) or (..., {n}, {highest + 1})."
            )
        of_l = of_l.expand(*of_l.shape[:-1], highest + 1)
        groups = []
        for group in self.groups:
            factor = of_l[..., group.atoms, group.l].unsqueeze(-1)
            exponents = group.exponents * factor
            coefficients = group.coefficients * factor ** (0.75 + 0.5 * group.l)
            groups.append(replace(group, exponents=exponents, coefficients=coefficients))
        result = copy(self)
        result.groups = tuple(groups)
        return result

    def electron_counts(self) -> Tensor:
        """(..., n_functions) integrals of the functions over space; only l = 0 is not zero."""
        result = torch.zeros(self.n_functions, dtype=self.dtype, device=self.device)
        for group in self.groups:
            if group.l == 0:
                integral = (group.coefficients * (pi / group.exponents) ** 1.5).sum(-1) / (4.0 * pi) ** 0.5
                result = integral.new_zeros((*integral.shape[:-1], self.n_functions))
                result[..., group.functions[:, 0]] = integral
        return result

    def dipoles(self, positions: Tensor) -> Tensor:
        """Integrals of r times the functions, (..., n_functions, 3), for positions (..., n_atoms, 3) in bohr."""
        result = positions[..., self.function_atoms, :] * self.electron_counts().unsqueeze(-1)
        for group in self.groups:
            if group.l == 1:
                # <x^2 exp(-a r^2)> = (pi/a)^(3/2) / (2a), and Y_1x = sqrt(3 / 4 pi) x / r
                radial = (group.coefficients * (pi / group.exponents) ** 1.5 / (2.0 * group.exponents)).sum(-1)
                local = radial.new_zeros((*radial.shape[:-1], self.n_functions, 3))
                for axis in range(3):
                    local[..., group.functions[:, axis], axis] = radial * (3.0 / (4.0 * pi)) ** 0.5
                result = result + local
        return result

    def evaluate(self, positions: Tensor, points: Tensor) -> Tensor:
        """Values of all functions, (n_points, n_functions).

        Parameters
        ----------
        positions : (n_atoms, 3), bohr
        points : (n_points, 3), bohr
        """
        offsets = points[:, None, :] - positions[None, :, :]
        squares = (offsets**2).sum(-1)
        harmonics = solid_harmonics(offsets, max(group.l for group in self.groups))
        dtype = torch.promote_types(offsets.dtype, self.groups[0].exponents.dtype)
        values = torch.empty((points.shape[0], self.n_functions), dtype=dtype, device=points.device)
        atoms = slice(0, 1) if self.is_uniform else slice(None)
        for species in self.species:
            for momentum in species.momenta:
                exponents = momentum.exponents(self.groups, atoms)
                radial = torch.exp(-squares[:, species.atoms, None] * exponents)
                contraction = momentum.contraction(self.groups, atoms)
                if contraction is None:
                    radial = radial * momentum.factors(self.groups, atoms)
                elif self.is_uniform:
                    radial = radial @ contraction[0].T
                else:
                    radial = (radial.unsqueeze(-2) @ contraction.transpose(-2, -1)).squeeze(-2)
                angular = harmonics[momentum.l][:, species.atoms]
                functions = species.functions[:, momentum.functions]
                values[:, functions.reshape(-1)] = (radial[..., None] * angular[..., None, :]).flatten(1)
        return values

    def density(self, positions: Tensor, coefficients: Tensor, points: Tensor, chunk: int = 8192) -> Tensor:
        """sum_P c_P P(r) on points, in chunks that bound the memory.

        Faster than the values of the functions: every primitive's coefficients are summed over its contractions first.

        Parameters
        ----------
        positions : (n_atoms, 3), bohr
        coefficients : (n_functions,) or (n_functions, n_densities)
        points : (n_points, 3), bohr

        Returns
        -------
        (n_points,) or (n_points, n_densities)
        """
        columns = coefficients.reshape(self.n_functions, -1)
        n_densities = columns.shape[1]
        terms = [
            (species.atoms, momentum.l, *self._primitive_terms(species, momentum, columns))
            for species in self.species
            for momentum in species.momenta
        ]
        l_max = max(group.l for group in self.groups)
        dtype = torch.promote_types(points.dtype, columns.dtype)
        parts = []
        for part in torch.split(points, chunk):
            offsets = part - positions[:, None, :]
            squares = (offsets**2).sum(-1)
            harmonics = solid_harmonics(offsets, l_max)
            total = torch.zeros((len(part), n_densities), dtype=dtype, device=part.device)
            for atoms, l_, exponents, weights in terms:
                radial = torch.exp(-squares[atoms, :, None] * exponents[:, None, :]) @ weights
                radial = radial.reshape(*radial.shape[:2], 2 * l_ + 1, n_densities)
                total = total + torch.einsum("apmk,apm->pk", radial, harmonics[l_][atoms].to(dtype))
            parts.append(total)
        return torch.cat(parts).reshape(len(points), *coefficients.shape[1:])

    def _primitive_terms(self, species: Species, momentum: Momentum, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Exponents (n_atoms or 1, n_primitives) and the factors of r^l exp(-a r^2) Y_lm in densities of a species.

        The factors are (n_atoms, n_primitives, (2l + 1) * n_densities), for coefficients (n_functions, n_densities).
        """
        atoms = slice(0, 1) if self.is_uniform else slice(None)
        own = columns[species.functions[:, momentum.functions]]
        own = own.reshape(len(species.atoms), momentum.n_shells, -1)
        contraction = momentum.contraction(self.groups, atoms)
        if contraction is None:
            return momentum.exponents(self.groups, atoms), momentum.factors(self.groups, atoms)[..., None] * own
        return momentum.exponents(self.groups, atoms), contraction.transpose(-2, -1) @ own
