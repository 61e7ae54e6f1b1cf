"""Reference densities as the training of a density model meets them: errors from two-centre integrals alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.base import MAX_L
from densnet_core.basis.integrals import contracted_two_center, two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.expansion import Expansion, scaled_functions
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


@dataclass(frozen=True, eq=False)
class _Integrals:
    """What the errors of frames of one composition are made of, each with the frames as first dimension.

    Parameters
    ----------
    metric : (b, n, n)
    held : (b, d, n)
        Coefficients of what these functions hold of the d reference densities; what follows is of the rest.
    projection : (b, d, n)
    norm : (b, d)
        Squared.
    """

    metric: Tensor
    held: Tensor
    projection: Tensor
    norm: Tensor

    def squared_errors(self, coefficients: Tensor) -> Tensor:
        """(b,) squared norms of the errors, summed over the d densities, for coefficients (b, d, n)."""
        change = coefficients - self.held
        response = torch.einsum("bij,bdj->bdi", self.metric, change) - 2.0 * self.projection
        return (self.norm + (change * response).sum(-1)).sum(1)


@dataclass(frozen=True, eq=False)
class _Reference:
    """Projections of a reference difference on scaled functions, its squared norm and its first moments."""

    projection: ScaledProjection
    norm: Tensor
    dipole: Tensor


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
        self._functions: dict[bytes, tuple[MolecularBasis, MolecularBasis]] = {}
        self._metrics: dict[int, Tensor] = {}
        self._bytes = 0
        self._references: dict[int, _Reference] = {}
        self._unscaled_fits: dict[int, Tensor] = {}
        for index, coefficients in enumerate(labels):
            if coefficients is None:
                continue
            expected = self._both(index)[1].n_functions
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

    def _both(self, index: int) -> tuple[MolecularBasis, MolecularBasis]:
        """The functions of the basis and of the label basis on the atoms of a frame."""
        numbers = self.structures[index].numbers
        key = numbers.tobytes()
        if key not in self._functions:
            own = MolecularBasis(self.specification.basis, numbers)
            moving = self.specification.adapts_exponents
            self._functions[key] = (own, MolecularBasis(self._label_basis, numbers) if moving else own)
        return self._functions[key]

    def functions(self, index: int) -> MolecularBasis:
        """The functions of the basis on the atoms of a frame, with its exponents as they are."""
        return self._both(index)[0]

    def positions(self, index: int) -> Tensor:
        """(n_atoms, 3), bohr."""
        return torch.tensor(self.structures[index].positions)

    def metric_matrix(self, index: int) -> Tensor:
        """(n, n) float64 metric of a frame with the exponents of the basis; kept while there is room."""
        if index in self._metrics:
            return self._metrics[index]
        matrix = two_center(self.specification.metric, self.functions(index), self.positions(index))
        size = matrix.numel() * matrix.element_size()
        if self._bytes + size <= METRIC_CACHE_BYTES:
            self._metrics[index] = matrix
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
        """(n,) squared norms of density errors, hartree in the Coulomb metric."""
        frames = range(len(indices))
        vectors = torch.split(predicted.coefficients, [self.functions(i).n_functions for i in indices], dim=-1)
        scales: Sequence[Tensor] | None = None
        if predicted.scales is not None:
            scales = torch.split(predicted.scales, [self.functions(i).n_atoms for i in indices])
        groups: dict[bytes, list[int]] = {}
        for place in frames:
            groups.setdefault(self.structures[indices[place]].numbers.tobytes(), []).append(place)
        norms = []
        for places in groups.values():
            chosen = [indices[place] for place in places]
            of_group = None if scales is None else torch.stack([scales[place] for place in places])
            integrals = self._fixed(chosen) if of_group is None else self._moving(chosen, of_group)
            norms.append(integrals.squared_errors(torch.stack([_rows(vectors[place]) for place in places])))
        order = torch.argsort(torch.tensor([place for places in groups.values() for place in places]))
        return torch.cat(norms)[order]

    def mean_square(self) -> float:
        """Mean squared norm of the reference differences, for exponents that move."""
        norms = [float(self._reference(i).norm) for i, label in enumerate(self.labels) if label is not None]
        return sum(norms) / len(norms)

    def _fixed(self, indices: Sequence[int]) -> _Integrals:
        """Integrals of frames of one composition with the exponents of the basis: it holds all of the labels."""
        labels = torch.stack([_rows(self._label(i)) for i in indices])
        return _Integrals(
            torch.stack([self.metric_matrix(i) for i in indices]),
            held=labels,
            projection=torch.zeros_like(labels),
            norm=labels.new_zeros(labels.shape[:2]),
        )

    def _moving(self, indices: Sequence[int], scales: Tensor) -> _Integrals:
        """The same with the exponents scaled by (n_frames, n_atoms, l_max + 1) factors, differentiable in these."""
        references = [self._reference(i) for i in indices]
        positions = torch.stack([self.positions(i) for i in indices])
        scaled = scaled_functions(self.functions(indices[0]), scales)
        projection = torch.stack([one.projection(own)[None] for one, own in zip(references, scales, strict=True)])
        return _Integrals(
            two_center(self.specification.metric, scaled, positions),
            held=torch.zeros_like(projection),
            projection=projection,
            norm=torch.stack([one.norm[None] for one in references]),
        )

    def _reference(self, index: int) -> _Reference:
        """What does not change while the functions of a frame move."""
        if index not in self._references:
            functions, large = self._both(index)
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
