"""Bases optimised for difference densities: as few functions as possible for a given fit floor.

Every radial function is a combination of the primitives of a large even-tempered set, shared by the atoms of an
element. The loss is what a user of the basis sees: the logarithm of the NMAE of the charge-constrained Coulomb fit
against the density of the orbitals, on a quadrature. Start: the principal components of the atoms' coefficients in
fits with all primitives; then L-BFGS with exact gradients through the fit. Contractions of atomic natural orbitals
are chosen in the same spirit (Almlof and Taylor, J. Chem. Phys. 86, 4070, 1987). Elements of a basis that is kept have
its functions from the start to the end; only those of the other elements are optimised, beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.contraction import Contractions, Key, PrimitiveLayout, primitive_exponents, radial_metric
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.structures import Structure

Counts = Mapping[int, Sequence[int]]
"""For each atomic number the number of shells of l = 0, 1, 2, ..."""

_RIDGE = 1e-10  # of the metric scaled to unit diagonal, against rounding on the way
_START_RIDGE = 1e-5  # keeps the atoms' coefficients of the first fit comparable between frames
_DEPENDENT = 1e-9  # radial directions below this share of the largest are left out; 1e-5 would double the fit floor


@dataclass(frozen=True, eq=False)
class TargetDensity:
    """A difference density to be represented.

    Parameters
    ----------
    structure : Structure
    basis : GaussianBasis
        The primitives of the elements that are optimised, the functions of those that are kept.
    projection : (n_functions,)
        (P|rho - atoms), Coulomb metric.
    points : (n_points, 3)
        Of a quadrature, bohr.
    weights, values : (n_points,)
        Quadrature weights, and the difference density at the points.
    weight : float
        Weight of the target in the mean.
    """

    structure: Structure
    basis: GaussianBasis
    projection: NDArray[np.float64]
    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    values: NDArray[np.float64]
    weight: float = 1.0


class ContractionOptimizer:
    """Optimises the contractions of every element and angular momentum together.

    Parameters
    ----------
    targets : sequence of TargetDensity
        All with the same primitives.
    counts : mapping
        Contracted shells of each l for every element to be optimised.
    keep : GaussianBasis or None
        Functions of the other elements, which the targets have too; they stay as they are.

    Raises
    ------
    InputError
        If an element has neither counts nor functions to keep or asks for more shells than its primitives can give, or
        there is no target.
    """

    def __init__(self, targets: Sequence[TargetDensity], counts: Counts, keep: GaussianBasis | None = None) -> None:
        if not targets:
            raise InputError("There is no density to optimise a basis for.")
        present = {int(z) for t in targets for z in t.structure.numbers}
        self._kept = {} if keep is None else {z: keep.shells(z) for z in keep.elements if z not in counts}
        missing = present - set(counts) - set(self._kept)
        if missing:
            names = ", ".join(symbol(z) for z in sorted(missing))
            where = "" if keep is None else f", and {keep.name!r}, which is kept, has none"
            raise InputError(f"No number of shells is given for {names}, which the frames hold{where}.")
        self.counts = {z: tuple(counts[z]) for z in sorted(present & set(counts))}
        exponents: dict[Key, tuple[float, ...]] = {}
        for target in targets:
            exponents |= primitive_exponents(target.basis, set(self.counts) & set(target.basis.elements))
        self._keys = [(z, l_) for z, of_l in self.counts.items() for l_, n in enumerate(of_l) if n]
        for z, l_ in self._keys:
            if self.counts[z][l_] > len(exponents.get((z, l_), ())):
                raise InputError(
                    f"{self.counts[z][l_]} shells of l = {l_} are asked for {symbol(z)}, the set of primitives has "
                    f"{len(exponents.get((z, l_), ()))}; ask for fewer."
                )
        self._exponents = {key: exponents[key] for key in self._keys}
        self._directions = {key: _orthonormal(key[1], values) for key, values in self._exponents.items()}
        for z, l_ in self._keys:
            if self.counts[z][l_] > self._directions[z, l_].shape[1]:
                raise InputError(f"{self.counts[z][l_]} shells of l = {l_} on {symbol(z)} are nearly dependent.")
        self._identities = {
            (z, l_): torch.eye(n, dtype=torch.float64)
            for z in sorted(present & set(self._kept))
            for l_, n in Counter(shell.l for shell in self._kept[z]).items()
        }
        self._targets = [_Prepared(target, [*self._keys, *self._identities]) for target in targets]
        self.parameters = self._principal_components()

    def contractions(self) -> dict[Key, Tensor]:
        """Coefficients of the normalised primitives; the functions of an atom and l are Coulomb-orthonormal.

        Functions that are kept stand beside them with the identity.
        """
        return {**self._free(), **self._identities}

    def _free(self) -> dict[Key, Tensor]:
        return {key: self._directions[key] @ torch.linalg.qr(self.parameters[key])[0] for key in self._keys}

    def nmae(self) -> Tensor:
        """(n_targets,) NMAE of the fits, per cent."""
        contractions = self.contractions()
        return torch.stack([target.nmae(contractions) for target in self._targets])

    def run(self, iterations: int, progress: Callable[[int, float], None] | None = None) -> float:
        """Minimise with L-BFGS; returns the weighted mean logarithm of the NMAE (per cent) at the end.

        Parameters
        ----------
        iterations : int
        progress : callable or None
            Given the number of evaluations and the mean logarithm.
        """
        optimizer = torch.optim.LBFGS(
            [parameter.requires_grad_() for parameter in self.parameters.values()],
            max_iter=iterations,
            max_eval=2 * iterations,
            history_size=40,
            line_search_fn="strong_wolfe",
            tolerance_change=1e-9,
        )
        calls = 0

        def closure() -> float:
            nonlocal calls
            optimizer.zero_grad()
            loss = self._backward()
            calls += 1
            if progress is not None:
                progress(calls, loss)
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            return float(self._weights() @ torch.log(self.nmae()))

    def basis(self, name: str) -> GaussianBasis:
        """The basis as it stands, rounded to ten digits, tightest primitive first; with all that is kept, unchanged."""
        with torch.no_grad():
            contractions = self._free()
        shells: dict[int, list[Shell]] = {z: [] for z in self.counts}
        for (z, l_), coefficients in contractions.items():
            exponents = tuple(float(f"{a:.10g}") for a in reversed(self._exponents[z, l_]))
            for column in coefficients.flip(0).T:
                shells[z].append(Shell(l_, exponents, tuple(float(f"{c:.10g}") for c in column.tolist())))
        return GaussianBasis(name, {**self._kept, **shells})

    def _weights(self) -> Tensor:
        weights = torch.tensor([target.weight for target in self._targets], dtype=torch.float64)
        return weights / weights.sum()

    def _backward(self) -> float:
        """Value of the loss; adds its gradient to the parameters, one target at a time to bound the memory."""
        contractions = self._free()
        leaves = {key: value.detach().requires_grad_() for key, value in contractions.items()}
        total = 0.0
        for target, weight in zip(self._targets, self._weights(), strict=True):
            loss = weight * torch.log(target.nmae({**leaves, **self._identities}))
            if loss.requires_grad:  # not where every element of the target is kept
                loss.backward()
            total += float(loss.detach())
        for key, value in contractions.items():
            value.backward(leaves[key].grad)  # type: ignore[no-untyped-call]
        return total

    def _principal_components(self) -> dict[Key, Tensor]:
        """Directions that carry most of the fitted atoms' Coulomb self-repulsion."""
        covariance = {key: torch.zeros((d.shape[1],) * 2, dtype=d.dtype) for key, d in self._directions.items()}
        inverse = {key: torch.linalg.pinv(d) for key, d in self._directions.items()}
        for target in self._targets:
            for key, coefficients in target.atoms().items():
                if key in self._identities:
                    continue
                here = inverse[key] @ coefficients
                covariance[key] += target.weight * here @ here.T
        result = {}
        for (z, l_), matrix in covariance.items():
            vectors = torch.linalg.eigh(matrix).eigenvectors
            result[z, l_] = vectors.flip(1)[:, : self.counts[z][l_]].contiguous()
        return result


class _Prepared:
    """A target with all that does not depend on the contractions, in the order of its ``PrimitiveLayout``."""

    def __init__(self, target: TargetDensity, keys: Sequence[Key]) -> None:
        numbers, positions = target.structure.numbers, torch.tensor(target.structure.positions)
        self.basis = target.basis
        functions = MolecularBasis(target.basis, numbers)
        self.layout = PrimitiveLayout(target.basis, numbers, keys)
        order = self.layout.order
        self.weight = target.weight
        self.metric = two_center("coulomb", functions, positions)[order][:, order]
        self.projection = torch.tensor(target.projection)[order]
        self.counts = functions.electron_counts()[order]
        self.charge = float(target.structure.charge)
        # Single precision halves the memory; the errors that are added up are far above its rounding.
        self.values = torch.cat(
            [
                functions.evaluate(positions, part)[:, order].float()
                for part in torch.split(torch.tensor(target.points), 2048)
            ]
        )
        self.difference = torch.tensor(target.values).float()
        self.share = torch.tensor(target.weights * 100.0 / target.structure.n_electrons).float()

    def nmae(self, contractions: Contractions) -> Tensor:
        """() NMAE of the constrained Coulomb fit in the contracted functions, per cent."""
        half = self.layout.contract(contractions, self.metric)
        metric = self.layout.contract(contractions, half.T)
        sides = self.layout.contract(contractions, torch.stack([self.projection, self.counts], dim=1))
        solutions = _solve(metric, sides, _RIDGE)
        counts = sides[:, 1]
        excess = (counts @ solutions[:, 0] + self.charge) / (counts @ solutions[:, 1])
        coefficients = self.layout.expand(contractions, solutions[:, 0] - excess * solutions[:, 1])
        missed = self.difference - self.values @ coefficients.float()
        total: Tensor = (self.share * missed.abs()).sum().double()
        return total

    def atoms(self) -> dict[Key, Tensor]:
        """(n_primitives, functions per primitive) coefficients of a fit with all primitives, by element and l."""
        solution = _solve(self.metric, self.projection[:, None], _START_RIDGE)[:, 0]
        result, start = {}, 0
        for (z, l_), count in self.layout.blocks:
            stop = start + sum(shell.l == l_ for shell in self.basis.shells(z)) * count
            result[z, l_] = solution[start:stop].reshape(-1, count)
            start = stop
        return result


def _orthonormal(l: int, exponents: Sequence[float]) -> Tensor:  # noqa: E741
    """(n_primitives, n_directions) independent combinations, orthonormal in the Coulomb metric of one atom."""
    values, vectors = torch.linalg.eigh(radial_metric(l, exponents))
    keep = values > _DEPENDENT * values[-1]
    directions: Tensor = vectors[:, keep] * values[keep].rsqrt()
    return directions


def _solve(metric: Tensor, sides: Tensor, ridge: float) -> Tensor:
    """metric^-1 sides, with a ridge on the metric scaled to unit diagonal."""
    scale = torch.diagonal(metric).rsqrt()
    scaled = metric * scale[:, None] * scale[None, :] + ridge * torch.eye(len(scale), dtype=metric.dtype)
    factor = torch.linalg.cholesky(scaled)
    return scale[:, None] * torch.cholesky_solve(scale[:, None] * sides, factor)


def condition_number(basis: GaussianBasis, structure: Structure) -> float:
    """Of the Coulomb metric of a molecule, scaled to unit diagonal."""
    metric = two_center("coulomb", MolecularBasis(basis, structure.numbers), torch.tensor(structure.positions))
    scale = torch.diagonal(metric).rsqrt()
    values = torch.linalg.eigvalsh(metric * scale[:, None] * scale[None, :])
    return float(values[-1] / values[0].clamp(min=exp(-690)))
