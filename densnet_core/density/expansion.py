"""Densities of the molecules of a graph as coefficients in atom-centred functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from densnet_core.basis.base import Basis
from densnet_core.basis.molecular import MolecularBasis


@dataclass(frozen=True, eq=False)
class Expansion:
    """Densities of all molecules of a graph, as a density model predicts them.

    Parameters
    ----------
    coefficients : (n_functions,), or (3, n_functions) of a response to a field
        Float64, molecules concatenated. Functions follow ``MolecularBasis(specification.basis, graph.numbers)``: atoms
        in order, shells as in the basis, the core's order within a shell.
    scales : (n_atoms, l_max + 1), optional
        Float64 factors of the exponents of each atom and angular momentum, see ``MolecularBasis.scaled``; l_max is the
        highest of the specification's elements. None: the exponents of the basis.
    invariants : (n_atoms, n_invariants), optional
        What the model that predicted the density knows of each atom, unchanged when the molecule turns, for energy
        models that read it; in the precision of the model.
    """

    coefficients: Tensor
    scales: Tensor | None = None
    invariants: Tensor | None = None

    def detached(self) -> Expansion:
        """The same without gradient."""
        parts = (self.scales, self.invariants)
        return Expansion(self.coefficients.detach(), *(None if part is None else part.detach() for part in parts))


def scaled_functions(functions: MolecularBasis, scales: Tensor | None) -> MolecularBasis:
    """Functions of a molecule with the factors (..., n_atoms, l_max + 1) of an ``Expansion``.

    A molecule without the element that has the highest l uses the first columns only.
    """
    if scales is None:
        return functions
    highest = max(group.l for group in functions.groups)
    return functions.scaled(scales[..., : highest + 1])


def functions_of(basis: Basis, numbers: Tensor) -> MolecularBasis:
    """The functions of a basis on the atoms of a graph and on its device, made once for each list of numbers."""
    return _functions(basis, tuple(numbers.tolist()), numbers.device)


@lru_cache(maxsize=256)  # a data set of many molecules meets as many
def _functions(basis: Basis, numbers: tuple[int, ...], device: torch.device) -> MolecularBasis:
    return MolecularBasis(basis, numbers, device=device)
