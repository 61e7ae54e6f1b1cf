"""Projections of reference densities on functions whose exponents move."""

from __future__ import annotations

from copy import copy
from math import log, pi

import torch
from torch import Tensor

from densnet_core.basis.molecular import MolecularBasis

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
