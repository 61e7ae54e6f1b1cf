"""The prior density: superposed spherical free atoms, each in its own long expansion in s functions.

The prior carries the tight core density, so the density basis is left with the difference that bonding makes. It is
never projected on the density basis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.radial import RadialDensity
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError

# Even-tempered exponents of the expansion. The error of the expansion falls with the ratio: 4e-4 of the electrons at
# 1.7, 3e-5 at 1.5, 3e-6 at 1.34 (H, C, O, S, PBE/aug-cc-pVDZ; densnet_core.density.prior.AtomicPrior.radial_error).
# The first ratio will do up to Ar and for most elements up to Kr; cobalt and zinc in def2-SVP (1.3e-5) take the second
# (5e-8).
SMALLEST_EXPONENT = 0.03
RATIOS = (1.34, 1.25, 1.18)
LARGEST_ERROR = 1e-5
"""Integral |rho - rho_hat| / Z that is allowed."""
TIGHTEST_PER_CHARGE_SQUARED = 2e4


class AtomicPrior:
    """Spherical free-atom densities, one contracted s function per element.

    Parameters
    ----------
    basis : GaussianBasis
        One contracted s shell per element.
    """

    def __init__(self, basis: GaussianBasis) -> None:
        for z in basis.elements:
            if [shell.l for shell in basis.shells(z)] != [0]:
                raise InputError(f"The prior of {symbol(z)} must be one contracted s shell.")
        self.basis = basis

    @classmethod
    def fit(cls, densities: Mapping[int, RadialDensity], name: str = "atoms") -> AtomicPrior:
        """Expand radial densities; each keeps exactly Z electrons.

        Raises
        ------
        DataError
            If the expansion misses 1e-3 % of the electrons or more (integral |rho - rho_hat| / Z).
        """
        return cls(GaussianBasis(name, {z: [_best_shell(z, density)] for z, density in densities.items()}))

    def radial_error(self, number: int, density: RadialDensity) -> float:
        """Integral of |rho - rho_hat| over space divided by the number of electrons."""
        values = self._radial(number, density.radii)
        return float(density.weights @ np.abs(values - density.values)) / number

    def difference(self, other: AtomicPrior) -> float:
        """The largest integral of |rho - rho'| over space, divided by Z, of the elements that both have."""
        # (5e-6 to 60 bohr, a step of 0.01 in the logarithm: the integral of one atom is right to 1e-8)
        radii = np.exp(np.arange(np.log(5e-6), np.log(60.0), 0.01))
        weights = 4 * pi * radii**3 * 0.01
        shared = set(self.basis.elements) & set(other.basis.elements)
        apart = [float(weights @ np.abs(self._radial(z, radii) - other._radial(z, radii))) / z for z in shared]
        return max(apart, default=0.0)

    def _radial(self, number: int, radii: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density of an atom at distances from its nucleus, bohr^-3."""
        (shell,) = self.basis.shells(number)
        values = np.exp(-np.outer(radii**2, shell.exponents)) @ shell.radial_coefficients() / np.sqrt(4 * pi)
        return np.asarray(values * float(self.coefficients([number])[0]))

    def coefficients(self, numbers: Iterable[int] | NDArray[np.int64]) -> Tensor:
        """(n_atoms,) coefficients in ``MolecularBasis(prior.basis, numbers)`` that put Z electrons on every atom."""
        numbers = np.asarray(list(numbers), dtype=np.int64)
        counts = MolecularBasis(self.basis, numbers).electron_counts()
        return torch.tensor(numbers, dtype=torch.float64) / counts

    def to_dict(self) -> dict[str, Any]:
        """Plain data for stores and models."""
        return self.basis.to_dict()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AtomicPrior:
        """Inverse of ``to_dict``."""
        return cls(GaussianBasis.from_dict(data))


def _best_shell(number: int, density: RadialDensity) -> Shell:
    """The shortest expansion that is accurate enough; ``DataError`` if none is."""
    errors = [1.0]  # of no expansion at all
    for ratio in RATIOS:
        shell = _fit_shell(number, density, ratio)
        try:
            errors.append(AtomicPrior(GaussianBasis("atom", {number: [shell]})).radial_error(number, density))
        except InputError:  # coefficients of 1e8 that cancel leave no norm, on some processors earlier than on others
            continue
        if errors[-1] <= LARGEST_ERROR:
            return shell
    raise DataError(
        f"The s expansion of {symbol(number)} misses {100 * min(errors):.2g} % of the electrons; "
        f"{100 * LARGEST_ERROR:.2g} % is allowed. The radial density may be damaged or end too early: compute it again."
    )


def _fit_shell(number: int, density: RadialDensity, ratio: float) -> Shell:
    """Weighted least squares; the weight lies between the L2 and the relative measure, close to L1 in effect.

    It is nowhere zero: beyond the density of a basis without diffuse functions nothing else would hold the most diffuse
    of the expansion's functions down.
    """
    tightest = TIGHTEST_PER_CHARGE_SQUARED * number**2
    count = int(np.ceil(np.log(tightest / SMALLEST_EXPONENT) / np.log(ratio))) + 1
    exponents = SMALLEST_EXPONENT * ratio ** np.arange(count)
    functions = np.exp(-np.outer(density.radii**2, exponents)) * (2 * exponents / pi) ** 0.75
    weight = np.sqrt(density.weights / np.sqrt(np.maximum(density.values, 0.0) + 1e-12))
    solution, *_ = np.linalg.lstsq(functions * weight[:, None], density.values * weight, rcond=1e-13)
    return Shell(0, tuple(float(a) for a in exponents), tuple(float(c) for c in solution))
