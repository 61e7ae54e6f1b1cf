"""Radial densities of free atoms from density matrices that are averaged over the directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Shell
from densnet_core.density.radial import RadialDensity
from densnet_core.elements import symbol
from densnet_core.errors import ConvergenceError

Array = NDArray[np.float64]
COUNT_TOLERANCE: Final = 1e-7


def radial_grid(smallest_exponent: float) -> tuple[Array, Array]:
    """Radii (n,) in bohr and weights (n,) for 4 pi r^2 dr: the trapezoidal rule in ln r.

    For functions that decay at both ends it converges faster than any power of the step. The grid ends where the
    square of the most diffuse function is below 1e-17 of its maximum, at 25 bohr or beyond.
    """
    last = max(25.0, np.sqrt(20.0 / smallest_exponent))
    logarithms = np.arange(np.log(1e-6), np.log(last) + 0.02, 0.02)
    radii = np.exp(logarithms)
    return radii, 4.0 * np.pi * radii**3 * 0.02


def spherical_density(number: int, shells: Iterable[Shell], matrices: Mapping[int, Array]) -> RadialDensity:
    """Density of a spherical atom.

    Parameters
    ----------
    number : int
        Atomic number.
    shells : iterable of Shell
        The orbital basis of the element.
    matrices : mapping from l to (n_l, n_l)
        Density matrix of the shells of that angular momentum, the same for each of the 2l + 1 components.

    Raises
    ------
    ConvergenceError
        The density misses the number of electrons by more than 1e-7 (relative).
    """
    shells = tuple(shells)
    radii, weights = radial_grid(min(min(shell.exponents) for shell in shells))
    values = np.zeros_like(radii)
    for l, matrix in matrices.items():  # noqa: E741
        radial = np.stack([_radial_part(shell, radii) for shell in shells if shell.l == l], axis=1)
        # The squares of the 2l + 1 harmonics add up to (2l + 1) / 4 pi (Unsoeld's theorem).
        values += (2 * l + 1) / (4.0 * np.pi) * np.einsum("ra,ab,rb->r", radial, matrix, radial)
    return checked_density(number, radii, weights, values)


def checked_density(number: int, radii: Array, weights: Array, values: Array) -> RadialDensity:
    """The density of a free atom; ``ConvergenceError`` if it misses the electrons by more than 1e-7 (relative)."""
    electrons = float(weights @ values)
    if not abs(electrons - number) <= COUNT_TOLERANCE * number:
        raise ConvergenceError(
            f"The density of the atom {symbol(number)} integrates to {electrons:.8f} instead of {number} electrons."
        )
    return RadialDensity(radii, weights, values)


def _radial_part(shell: Shell, radii: Array) -> Array:
    decay = np.exp(-np.outer(radii**2, shell.exponents))
    return np.asarray(radii**shell.l * (decay @ shell.radial_coefficients()))
