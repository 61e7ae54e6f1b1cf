"""Reference densities as the training of a density model meets them: errors from two-centre integrals alone."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from densnet_core.basis.base import MAX_L
from densnet_core.basis.integrals import contracted_two_center, two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.datasets.kept import Kept
from densnet_core.datasets.projections import ScaledProjection
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.fitting import fit_density
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.structures import Array, Structure

METRIC_CACHE_BYTES: Final = 500_000_000
"""Of a data set: metric matrices, or what belongs to moving exponents. Frames to validate on have as much again."""
FIT_CACHE_BYTES: Final = 100_000_000
"""Of fits with the exponents of the basis, which several statistics ask for."""


class _SquaredNorms(torch.autograd.Function):
    """c.M c of frames whose symmetric matrices do not change: one pass over M gives the value and the gradient 2 M c.

    The matrices are most of the bytes of a step. Second derivatives are refused rather than wrong.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, *metrics: Tensor) -> Tensor:
        """(n_frames,) of coefficients (n_densities, n_functions of all frames)."""
        sizes = [len(metric) for metric in metrics]
        parts = torch.split(coefficients, sizes, dim=1)
        responses = [part @ metric for part, metric in zip(parts, metrics, strict=True)]
        ctx.sizes, ctx.responses = sizes, responses
        return torch.stack([torch.sum(part * response) for part, response in zip(parts, responses, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        twice = torch.unbind(2.0 * gradient)
        parts = [response * factor for response, factor in zip(ctx.responses, twice, strict=True)]
        return torch.cat(parts, dim=1), *(None for _ in ctx.sizes)


@dataclass(frozen=True, eq=False)
class _Reference:
    """Projections of a reference difference on scaled functions, its squared norm and its first moments."""

    projection: ScaledProjection
    norm: Tensor
    dipole: Tensor

    @property
    def bytes(self) -> int:
        series = self.projection.series
        return series.numel() * series.element_size() + 4000

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
        self._whole: tuple[ReferenceDensities, Sequence[int]] | None = None
        self._metrics: dict[tuple[int, torch.device], Tensor] = {}
        self._references: Kept[_Reference] = Kept(METRIC_CACHE_BYTES, lambda reference: reference.bytes)
        self._unscaled_fits: Kept[Tensor] = Kept(FIT_CACHE_BYTES, lambda fit: 8 * fit.numel())
        size, self.n_kept = 0, 0
        for index in range(len(structures)):
            label = labels[index]
            if label is None:
                continue
            found, expected = np.shape(label)[-1], self._label_functions(index).n_functions
            if found != expected:
                raise InputError(
                    f"Frame {index} has {found} fitted coefficients, but the basis {self._label_basis.name!r} has "
                    f"{expected} functions on {structures[index].formula}; fit the frames in the basis that the model "
                    "learns from."
                )
            size += 8 * expected**2
            if size <= METRIC_CACHE_BYTES:
                self.n_kept = index + 1

    def part(
        self, indices: Sequence[int], structures: Sequence[Structure], labels: Sequence[Array | None]
    ) -> ReferenceDensities:
        """Those of some frames, whose structures and labels are given; short-lived, for one batch."""
        part = copy(self)
        part.structures, part.labels, part._whole = structures, labels, (self, indices)
        part._metrics, part._references = {}, Kept(METRIC_CACHE_BYTES, lambda reference: reference.bytes)
        return part

    def prepare(self, indices: Sequence[int], device: torch.device | str = "cpu") -> None:
        """Make all of some frames that does not depend on a prediction; the part of a batch keeps it."""
        if self.specification.adapts_exponents:
            for index in indices:
                self._reference(index)
        elif self._whole is not None:
            matrices = self.metric_matrices(indices, device)
            place = torch.device(device)
            self._metrics |= {(i, place): matrix for i, matrix in zip(indices, matrices, strict=True)}

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
        """(n, n) float64 metric of a frame with the exponents of the basis."""
        return self.metric_matrices([index], device)[0]

    def metric_matrices(self, indices: Sequence[int], device: torch.device | str = "cpu") -> list[Tensor]:
        """Those of several frames. The first ``n_kept`` of all frames are kept, the others are made at each visit.

        Made together they are three times cheaper, and differ in the last bit from those made one by one. So that a
        training does not depend on what was asked for before, those that are kept are always made one by one.
        """
        place = torch.device(device)
        if self._whole is not None:
            if all((index, place) in self._metrics for index in indices):
                return [self._metrics[index, place] for index in indices]
            whole, places = self._whole
            return whole.metric_matrices([places[index] for index in indices], device)
        found: dict[int, Tensor] = {}
        together: dict[bytes, list[int]] = {}
        for index in dict.fromkeys(indices):
            if index < self.n_kept:
                if (index, place) not in self._metrics:
                    self._metrics[index, place] = self._made_together([index], place)[0]
                found[index] = self._metrics[index, place]
            else:
                together.setdefault(self.structures[index].numbers.tobytes(), []).append(index)
        for own in together.values():
            found |= dict(zip(own, self._made_together(own, place), strict=True))
        return [found[index] for index in indices]

    def _made_together(self, indices: Sequence[int], device: torch.device) -> Sequence[Tensor]:
        """The metric matrices of frames of one composition."""
        functions = self.functions(indices[0], device)
        positions = torch.stack([self.positions(i) for i in indices]).to(device)
        return two_center(self.specification.metric, functions, positions).unbind()

    def coefficients(self, index: int) -> Tensor:
        """(n,) coefficients of the reference difference in the unscaled basis, with charge and dipole exact."""
        if not self.specification.adapts_exponents:
            return self._label(index)
        return self._unscaled_fits.get(index, lambda: self._unscaled_fit(index))

    def _unscaled_fit(self, index: int) -> Tensor:
        functions, positions = self.functions(index), self.positions(index)
        charge = self.structures[index].charge
        unscaled = torch.ones((functions.n_atoms, MAX_L + 1), dtype=torch.float64)
        reference = self._reference(index)
        constraints = moment_constraints(functions, positions, -float(charge), reference.dipole)
        metric = two_center(self.specification.metric, functions, positions)
        return torch.tensor(fit_density(metric, reference.projection(unscaled), constraints).coefficients)

    def squared_errors(self, indices: Sequence[int], predicted: Expansion) -> Tensor:
        """(n,) squared norms of density errors, hartree in the Coulomb metric, on the device of the prediction."""
        if predicted.scales is None:
            return self._fixed(indices, predicted.coefficients)
        vectors = torch.split(predicted.coefficients, [self.functions(i).n_functions for i in indices], dim=-1)
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

    def _fixed(self, indices: Sequence[int], coefficients: Tensor) -> Tensor:
        """(n,) squared errors of frames with the exponents of the basis, which holds all of the labels."""
        labels = torch.cat([self._label(index) for index in indices], dim=-1).to(coefficients.device)
        metrics = self.metric_matrices(indices, coefficients.device)
        errors: Tensor = _SquaredNorms.apply(_rows(coefficients - labels), *metrics)  # type: ignore[no-untyped-call]
        return errors

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
        if self._whole is not None:
            whole, places = self._whole
            return self._references.get(index, lambda: whole._reference(places[index]))
        return self._references.get(index, lambda: self._made_reference(index))

    def _made_reference(self, index: int) -> _Reference:
        functions, large = self.functions(index), self._label_functions(index)
        positions, label = self.positions(index), self._label(index)
        metric, factor = self.specification.metric, self.specification.largest_factor
        factors = ScaledProjection.nodes(factor)[:, None, None].expand(-1, functions.n_atoms, 1)
        values = contracted_two_center(metric, functions.scaled(factors), positions, large, positions, label)
        return _Reference(
            ScaledProjection(functions, values, factor),
            label @ two_center(metric, large, positions) @ label,
            label @ large.dipoles(positions),
        )


def _rows(coefficients: Tensor) -> Tensor:
    """(d, n) of d densities, or of one that is given as (n,)."""
    return coefficients if coefficients.ndim == 2 else coefficients[None]
