"""Radial functions as combinations of a fixed set of primitives: what a change of the contraction does to a molecule.

All integrals over contracted functions are linear in the contraction coefficients, so with the integrals over the
primitives at hand a contraction is tried without computing an integral.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import InputError

Key = tuple[int, int]
"""Atomic number and angular momentum."""
Contractions = Mapping[Key, Tensor]
"""(n_primitives, n_contracted) coefficients of normalised primitives."""


def primitive_exponents(basis: GaussianBasis, elements: Iterable[int] | None = None) -> dict[Key, tuple[float, ...]]:
    """Exponents of uncontracted elements by element and angular momentum, in the basis's order.

    Parameters
    ----------
    basis : GaussianBasis
    elements : iterable of int, optional
        Atomic numbers; all that the basis covers if omitted.

    Raises
    ------
    InputError
        If a shell is contracted.
    """
    exponents: dict[Key, tuple[float, ...]] = {}
    for z in basis.elements if elements is None else elements:
        for shell in basis.shells(z):
            if len(shell.exponents) != 1:
                raise InputError(f"The set of primitives {basis.name!r} has a contracted shell; give single Gaussians.")
            exponents[z, shell.l] = (*exponents.get((z, shell.l), ()), shell.exponents[0])
    return exponents


def radial_metric(l: int, exponents: Iterable[float]) -> Tensor:  # noqa: E741
    """(n, n) Coulomb repulsion (P|Q) of normalised primitives of one angular momentum on one atom."""
    shells = [Shell(l, (a,), (1.0,)) for a in exponents]
    functions = MolecularBasis(GaussianBasis("one atom", {1: shells}), [1])
    metric = two_center("coulomb", functions, torch.zeros((1, 3), dtype=torch.float64))
    return metric[:: 2 * l + 1, :: 2 * l + 1]


class PrimitiveLayout:
    """Order of a molecule's primitives in which a contraction is a few small matrix products.

    Functions are sorted by element and angular momentum, then primitive, then atom, then m.

    Parameters
    ----------
    basis : GaussianBasis
        What is contracted: primitives, or whole functions where a contraction is the identity.
    numbers : (n_atoms,)
    keys : iterable of (atomic number, l)
        What is kept; functions of other kinds are left out.
    """

    def __init__(self, basis: GaussianBasis, numbers: NDArray[np.int64], keys: Iterable[Key]) -> None:
        starts: dict[Key, list[list[int]]] = {}
        offset = 0
        for number in numbers.tolist():
            of_atom: dict[int, list[int]] = {}
            for shell in basis.shells(number):
                of_atom.setdefault(shell.l, []).append(offset)
                offset += shell.size
            for l_, places in of_atom.items():
                starts.setdefault((number, l_), []).append(places)
        self.blocks: list[tuple[Key, int]] = []
        """Key and functions per primitive (atoms times 2l+1)."""
        parts = []
        for key in keys:
            if key in starts:
                width = 2 * key[1] + 1
                first = torch.tensor(starts[key]).T
                parts.append((first[:, :, None] + torch.arange(width)).reshape(-1))
                self.blocks.append((key, len(starts[key]) * width))
        self.order = torch.cat(parts)
        """Places of the sorted functions among those of ``MolecularBasis``."""

    def contract(self, contractions: Contractions, values: Tensor) -> Tensor:
        """From (n_primitive_functions, k), sorted, to (n_contracted_functions, k)."""
        parts, start = [], 0
        for key, count in self.blocks:
            coefficients = contractions[key]
            stop = start + coefficients.shape[0] * count
            block = values[start:stop].reshape(coefficients.shape[0], -1)
            parts.append((coefficients.T @ block).reshape(coefficients.shape[1] * count, -1))
            start = stop
        return torch.cat(parts)

    def expand(self, contractions: Contractions, coefficients: Tensor) -> Tensor:
        """Coefficients of the primitives, sorted, of a density given in contracted functions."""
        parts, start = [], 0
        for key, count in self.blocks:
            contraction = contractions[key]
            stop = start + contraction.shape[1] * count
            parts.append((contraction @ coefficients[start:stop].reshape(contraction.shape[1], count)).reshape(-1))
            start = stop
        return torch.cat(parts)
