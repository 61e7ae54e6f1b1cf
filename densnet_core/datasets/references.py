"""Reference densities as the training of a density model meets them: errors from two-centre integrals alone."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import log, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densnet_core.basis.base import MAX_L
from densnet_core.basis.integrals import contracted_two_center, two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.fitting import fit_density
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.structures import Array, Structure

METRIC_CACHE_BYTES = 1_000_000_000
SERIES_TERMS = 16
"""Of ``ScaledProjection``: its error is below 1e-13 of the largest value for factors between 1/2 and 2."""


class ScaledProjection:
    """Projections <P|M|rho> on functions with scaled exponents, as a series in the logarithm of the factors.

    The projection on a function depends on the factor of its own atom and l only. As a function of log f it is smooth,
    so one Chebyshev series per function gives it, and its derivative, to rounding: a step of a training then costs no
    integral with the large set.

    Parameters
    ----------
    functions : MolecularBasis
        With the exponents of the basis.
    values : (n_terms, n_functions)
        Projections at the factors of ``nodes(largest_factor, n_terms)``.
    largest_factor : float
    """

    def __init__(self, functions: MolecularBasis, values: Tensor, largest_factor: float) -> None:
        n_terms = len(values)
        order = torch.arange(n_terms, dtype=values.dtype)
        cosines = torch.cos(order[:, None] * (order[None, :] + 0.5) * (pi / n_terms))
        self.series = 2.0 / n_terms * (cosines @ values)
        self.series[0] *= 0.5
        self.largest_logarithm = log(largest_factor)
        self.atoms = functions.function_atoms
        self.degrees = torch.empty_like(self.atoms)
        for group in functions.groups:
            self.degrees[group.functions] = group.l

    def to(self, device: torch.device) -> ScaledProjection:
        """The same on a device."""
        moved = copy(self)
        moved.series, moved.atoms, moved.degrees = (t.to(device) for t in (self.series, self.atoms, self.degrees))
        return moved

    @staticmethod
    def nodes(largest_factor: float, n_terms: int = SERIES_TERMS) -> Tensor:
        """(n_terms,) factors at which a series is made."""
        points = torch.cos((torch.arange(n_terms, dtype=torch.float64) + 0.5) * (pi / n_terms))
        return torch.exp(log(largest_factor) * points)

    def __call__(self, scales: Tensor) -> Tensor:
        """(n_functions,) projections for factors (n_atoms, l_max + 1) of the exponents."""
        x = (torch.log(scales) / self.largest_logarithm)[self.atoms, self.degrees]
        before, current = torch.ones_like(x), x
        result = self.series[0] + self.series[1] * x
        for row in self.series[2:]:
            before, current = current, 2.0 * x * current - before
            result = result + row * current
        return result


class _SquaredNorm(torch.autograd.Function):
    """c.M c of a symmetric matrix that does not change: one pass over M gives the value and the gradient 2 M c.

    The matrices are most of the bytes of a step. Second derivatives are refused rather than wrong.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, metric: Tensor) -> Tensor:
        response = coefficients @ metric
        ctx.save_for_backward(response)
        return (coefficients * response).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (response,) = ctx.saved_tensors
        return 2.0 * gradient * response, None


@dataclass(frozen=True, eq=False)
class _Reference:
    """Projections of a reference difference on scaled functions, its squared norm and its first moments."""

    projection: ScaledProjection
    norm: Tensor
    dipole: Tensor

    def to(self, device: torch.device) -> _Reference:
        """The same on a device."""
        if self.norm.device == device:
            return self
        return _Reference(self.projection.to(device), self.norm.to(device), self.dipole.to(device))


class ReferenceDensities:
    """Labels of frames, and the errors of predicted differences against them.

    The error is (rho_hat - rho | M | rho_hat - rho) = (rho|M|rho) - 2 c.b + c.M c, with rho held in the label basis of
    the specification. With fixed exponents that is the basis itself and rho a fit in it; with moving ones rho is the
    reference density in a large set, M and b follow the exponents, and the smallest error is not zero but the floor of
    the basis.

    Parameters
    ----------
    structures : sequence of Structure
    labels : sequence of (n_functions,), (n_densities, n_functions) or None
        Fitted coefficients of each frame in the label basis; None where it has no such label.
    specification : DensitySpecification

    Raises
    ------
    InputError
        A frame's coefficients do not belong to the label basis.
    """

    def __init__(
        self, structures: Sequence[Structure], labels: Sequence[Array | None], specification: DensitySpecification
    ) -> None:
        self.structures, self.labels, self.specification = structures, labels, specification
        self._label_basis = specification.label_basis
        self._metrics: dict[tuple[int, torch.device], Tensor] = {}
        self._bytes = 0
        self._references: dict[int, _Reference] = {}
        self._unscaled_fits: dict[int, Tensor] = {}
        for index, coefficients in enumerate(labels):
            if coefficients is None:
                continue
            expected = self._label_functions(index).n_functions
            if np.shape(coefficients)[-1] != expected:
                raise InputError(
                    f"Frame {index} has {np.shape(coefficients)[-1]} fitted coefficients, but the basis "
                    f"{self._label_basis.name!r} has {expected} functions on {structures[index].formula}; fit "
                    "the frames in the basis that the model learns from."
                )

    def _label(self, index: int) -> Tensor:
        coefficients = self.labels[index]
        if coefficients is None:
            raise InputError(f"Frame {index} has no fitted density; fit the store, or leave the frame out.")
        return torch.tensor(coefficients, dtype=torch.float64)

    def functions(self, index: int, device: torch.device | str = "cpu") -> MolecularBasis:
        """The functions of the basis on the atoms of a frame, with its exponents as they are."""
        return functions_of(self.specification.basis, torch.tensor(self.structures[index].numbers, device=device))

    def _label_functions(self, index: int) -> MolecularBasis:
        return functions_of(self._label_basis, torch.tensor(self.structures[index].numbers))

    def positions(self, index: int) -> Tensor:
        """(n_atoms, 3), bohr."""
        return torch.tensor(self.structures[index].positions)

    def metric_matrix(self, index: int, device: torch.device | str = "cpu") -> Tensor:
        """(n, n) float64 metric of a frame with the exponents of the basis; kept on the device while there is room."""
        key = (index, torch.device(device))
        if key in self._metrics:
            return self._metrics[key]
        functions = self.functions(index, device)
        matrix = two_center(self.specification.metric, functions, self.positions(index).to(device))
        size = matrix.numel() * matrix.element_size()
        if self._bytes + size <= METRIC_CACHE_BYTES:
            self._metrics[key] = matrix
            self._bytes += size
        return matrix

    def coefficients(self, index: int) -> Tensor:
        """(n,) coefficients of the reference difference in the unscaled basis, with charge and dipole exact."""
        if not self.specification.adapts_exponents:
            return self._label(index)
        if index in self._unscaled_fits:
            return self._unscaled_fits[index]
        functions = self.functions(index)
        charge = self.structures[index].charge
        unscaled = torch.ones((functions.n_atoms, MAX_L + 1), dtype=torch.float64)
        reference = self._reference(index)
        constraints = moment_constraints(functions, self.positions(index), -float(charge), reference.dipole)
        fit = fit_density(self.metric_matrix(index), reference.projection(unscaled), constraints)
        self._unscaled_fits[index] = torch.tensor(fit.coefficients)
        return self._unscaled_fits[index]

    def squared_errors(self, indices: Sequence[int], predicted: Expansion) -> Tensor:
        """(n,) squared norms of density errors, hartree in the Coulomb metric, on the device of the prediction."""
        vectors = torch.split(predicted.coefficients, [self.functions(i).n_functions for i in indices], dim=-1)
        if predicted.scales is None:
            return torch.stack([self._fixed(i, vector) for i, vector in zip(indices, vectors, strict=True)])
        scales = torch.split(predicted.scales, [self.functions(i).n_atoms for i in indices])
        groups: dict[bytes, list[int]] = {}
        for place, index in enumerate(indices):
            groups.setdefault(self.structures[index].numbers.tobytes(), []).append(place)
        norms = [
            self._moving(
                [indices[place] for place in places],
                torch.stack([vectors[place] for place in places]),
                torch.stack([scales[place] for place in places]),
            )
            for places in groups.values()
        ]
        order = torch.argsort(torch.tensor([place for places in groups.values() for place in places]))
        return torch.cat(norms)[order.to(predicted.coefficients.device)]

    def _fixed(self, index: int, coefficients: Tensor) -> Tensor:
        """Squared error of one frame with the exponents of the basis, which holds all of the label."""
        device = coefficients.device
        change = _rows(coefficients - self._label(index).to(device))
        error: Tensor = _SquaredNorm.apply(change, self.metric_matrix(index, device))  # type: ignore[no-untyped-call]
        return error

    def _moving(self, indices: Sequence[int], coefficients: Tensor, scales: Tensor) -> Tensor:
        """(b,) the same of frames of one composition with the exponents scaled by (b, n_atoms, l_max + 1) factors."""
        device = coefficients.device
        references = [self._reference(i).to(device) for i in indices]
        positions = torch.stack([self.positions(i) for i in indices]).to(device)
        scaled = scaled_functions(self.functions(indices[0], device), scales)
        projection = torch.stack([one.projection(own) for one, own in zip(references, scales, strict=True)])
        metric = two_center(self.specification.metric, scaled, positions)
        response = torch.einsum("bij,bj->bi", metric, coefficients) - 2.0 * projection
        return torch.stack([one.norm for one in references]) + (coefficients * response).sum(-1)

    def _reference(self, index: int) -> _Reference:
        """What does not change while the functions of a frame move."""
        if index not in self._references:
            functions, large = self.functions(index), self._label_functions(index)
            positions, label = self.positions(index), self._label(index)
            metric, factor = self.specification.metric, self.specification.largest_factor
            factors = ScaledProjection.nodes(factor)[:, None, None].expand(-1, functions.n_atoms, 1)
            values = contracted_two_center(metric, functions.scaled(factors), positions, large, positions, label)
            self._references[index] = _Reference(
                ScaledProjection(functions, values, factor),
                label @ two_center(metric, large, positions) @ label,
                label @ large.dipoles(positions),
            )
        return self._references[index]


def _rows(coefficients: Tensor) -> Tensor:
    """(d, n) of d densities, or of one that is given as (n,)."""
    return coefficients if coefficients.ndim == 2 else coefficients[None]
