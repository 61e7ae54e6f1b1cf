"""Exponents optimised for difference densities: as few functions as possible for a given fit floor.

The target of every frame is its difference density in a very large even-tempered set. The Coulomb self-repulsion of
what a small basis cannot represent, E - b^T M^-1 b with b = (P|rho - atoms) and M = (P|Q), then needs two-centre
integrals alone and is differentiated exactly in the exponents. The loss is the mean logarithm of its share of E, so a
small molecule counts as much as a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import exp, expm1, log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import EvenTempered, even_tempered
from densnet_core.basis.molecular import MolecularBasis, normalized_coefficients
from densnet_core.errors import InputError
from densnet_core.structures import Structure

Counts = Mapping[int, Sequence[int]]
"""For each atomic number the number of shells of l = 0, 1, 2, ..."""

SMALLEST_RATIO = 1.45
"""Neighbouring exponents of one l never come closer, which bounds the condition number."""
_RIDGE = 1e-10  # of the metric scaled to unit diagonal, against rounding on the way
_START_HEAVY = (0.12, 0.14, 0.25, 0.50, 0.90, 1.5, 2.0)
_START_LIGHT = (0.10, 0.25, 0.60, 1.0, 1.5, 2.0, 2.5)


def large_basis(elements: Sequence[int]) -> GaussianBasis:
    """An even-tempered set (l up to 5, on H up to 4) that holds difference densities for an optimisation."""
    light: dict[str | int, EvenTempered] = {
        "s": EvenTempered(0.05, 1.8, 10),
        "p": EvenTempered(0.10, 1.8, 8),
        "d": EvenTempered(0.15, 1.9, 6),
        "f": EvenTempered(0.30, 2.0, 4),
        "g": EvenTempered(0.50, 2.0, 2),
    }
    heavy: dict[str | int, EvenTempered] = {
        "s": EvenTempered(0.06, 1.8, 14),
        "p": EvenTempered(0.07, 1.8, 12),
        "d": EvenTempered(0.10, 1.8, 10),
        "f": EvenTempered(0.15, 1.85, 8),
        "g": EvenTempered(0.30, 2.0, 5),
        "h": EvenTempered(0.50, 2.0, 3),
    }
    return even_tempered({z: light if z <= 2 else heavy for z in elements}, "large")


@dataclass(frozen=True, eq=False)
class TargetDensity:
    """A difference density to be represented.

    Parameters
    ----------
    structure : Structure
    basis : GaussianBasis
        The large set.
    coefficients : (n_functions,)
        Fitted in it, Coulomb metric.
    """

    structure: Structure
    basis: GaussianBasis
    coefficients: NDArray[np.float64]


class ExponentOptimizer:
    """Optimises the exponents of every element and angular momentum together.

    Parameters
    ----------
    targets : sequence of TargetDensity
    counts : mapping
        Shells of each l for every element of the targets.

    Raises
    ------
    InputError
        If an element has no counts, or there is no target.
    """

    def __init__(self, targets: Sequence[TargetDensity], counts: Counts) -> None:
        if not targets:
            raise InputError("There is no density to optimise a basis for.")
        missing = {int(z) for t in targets for z in t.structure.numbers} - set(counts)
        if missing:
            raise InputError(f"No number of shells is given for the elements {sorted(missing)}.")
        self.counts = {z: tuple(n) for z, n in counts.items()}
        self.parameters = {
            (z, l_): _start(z, l_, n) for z, of_l in self.counts.items() for l_, n in enumerate(of_l) if n
        }
        self._targets = [_Prepared(target, self._placeholder()) for target in targets]

    def _placeholder(self) -> GaussianBasis:
        """A basis with the right shells; its exponents are replaced in every step."""
        return GaussianBasis(
            "placeholder",
            {
                z: [Shell(l_, (1.0 + k,), (1.0,)) for l_, n in enumerate(of_l) for k in range(n)]
                for z, of_l in self.counts.items()
            },
        )

    def exponents(self, number: int, l: int) -> Tensor:  # noqa: E741
        """(n,) ascending exponents of an element and angular momentum."""
        raw = self.parameters[number, l]
        steps = log(SMALLEST_RATIO) + softplus(raw[1:])
        return torch.exp(torch.cumsum(torch.cat([raw[:1], steps]), 0))

    def basis(self, name: str) -> GaussianBasis:
        """The basis as it stands, exponents rounded to five digits, tightest first."""
        return GaussianBasis(
            name,
            {
                z: [
                    Shell(l_, (float(f"{a:.5g}"),), (1.0,))
                    for l_, n in enumerate(of_l)
                    if n
                    for a in reversed(self.exponents(z, l_).tolist())
                ]
                for z, of_l in self.counts.items()
            },
        )

    def residuals(self) -> Tensor:
        """(n_targets,) share of each target's Coulomb self-repulsion that the basis misses."""
        return torch.stack([target.residual(self._functions(target)) for target in self._targets])

    def _functions(self, target: _Prepared) -> MolecularBasis:
        numbers = target.structure.numbers
        groups = []
        for group in target.placeholder.groups:
            rows = [self.exponents(int(z), group.l) for z in numbers if (int(z), group.l) in self.parameters]
            exponents = torch.cat(rows)[:, None]
            coefficients = normalized_coefficients(group.l, exponents, torch.ones_like(exponents))
            groups.append(replace(group, exponents=exponents, coefficients=coefficients))
        functions = copy(target.placeholder)
        functions.groups = tuple(groups)
        return functions

    def run(self, iterations: int, progress: Callable[[int, float], None] | None = None) -> float:
        """Minimise with L-BFGS; returns the mean logarithm of the residuals at the end."""
        parameters = [p.requires_grad_() for p in self.parameters.values()]
        optimizer = torch.optim.LBFGS(
            parameters, max_iter=iterations, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-7
        )
        calls = 0

        def closure() -> Tensor:
            nonlocal calls
            optimizer.zero_grad()
            loss = torch.log(self.residuals().clamp(min=1e-12)).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            calls += 1
            if progress is not None:
                progress(calls, float(loss.detach()))
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            return float(torch.log(self.residuals().clamp(min=1e-12)).mean())


class _Prepared:
    """A target with what does not change while exponents do."""

    def __init__(self, target: TargetDensity, placeholder: GaussianBasis) -> None:
        self.structure = target.structure
        self.positions = torch.tensor(target.structure.positions)
        self.large = MolecularBasis(target.basis, target.structure.numbers)
        self.coefficients = torch.tensor(target.coefficients)
        metric = two_center("coulomb", self.large, self.positions)
        self.total = float(self.coefficients @ metric @ self.coefficients)
        self.placeholder = MolecularBasis(placeholder, target.structure.numbers)

    def residual(self, functions: MolecularBasis) -> Tensor:
        metric = two_center("coulomb", functions, self.positions)
        projection = two_center("coulomb", functions, self.positions, self.large, self.positions) @ self.coefficients
        scale = torch.diagonal(metric).rsqrt()
        scaled = metric * scale[:, None] * scale[None, :] + _RIDGE * torch.eye(len(scale), dtype=metric.dtype)
        factor = torch.linalg.cholesky(scaled)
        solution = torch.linalg.solve_triangular(factor, (scale * projection)[:, None], upper=False)
        missed: Tensor = (self.total - (solution**2).sum()) / self.total
        return missed


def _start(number: int, l: int, count: int) -> Tensor:  # noqa: E741
    smallest = (_START_LIGHT if number <= 2 else _START_HEAVY)[l]
    ratio = 2.6 if l < 2 else 2.3
    step = log(expm1(log(ratio / SMALLEST_RATIO)))
    return torch.tensor([log(smallest)] + [step] * (count - 1), dtype=torch.float64)


def condition_number(basis: GaussianBasis, structure: Structure) -> float:
    """Of the Coulomb metric of a molecule, scaled to unit diagonal."""
    metric = two_center("coulomb", MolecularBasis(basis, structure.numbers), torch.tensor(structure.positions))
    scale = torch.diagonal(metric).rsqrt()
    values = torch.linalg.eigvalsh(metric * scale[:, None] * scale[None, :])
    return float(values[-1] / values[0].clamp(min=exp(-690)))
