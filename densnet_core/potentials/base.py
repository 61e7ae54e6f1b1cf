"""Interface of a potential: what engines, calculators, spectra and active learning hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from densnet_core.density.electron import ExpandedDensity
from densnet_core.elements import refuse_unknown
from densnet_core.errors import InputError, nearest
from densnet_core.graphs.graph import Graph
from densnet_core.models.domain import Extrapolation
from densnet_core.structures import Structure


class Potential(ABC):
    """Named outputs of any molecules in one call, atomic units, conservative: forces are the gradient of the energy.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers that it knows, ascending.
    cutoff : float or None
        Bohr; pairs beyond it do not matter. None: every pair of a molecule does.
    outputs : frozenset of str
        What ``evaluate`` can give: "energy" (n_molecules,) hartree, "forces" (n_atoms, 3) hartree/bohr, "dipole"
        (n_molecules, 3) e bohr, "coefficients" (n_functions,), "polarizability" (n_molecules, 3, 3) bohr^3, and others
        by the names of their ``Quantity``.
    """

    elements: tuple[int, ...]
    cutoff: float | None
    outputs: frozenset[str]

    @abstractmethod
    def evaluate(self, graph: Graph, outputs: Collection[str]) -> dict[str, Tensor]:
        """The outputs asked for, float64, without a gradient of their own.

        The tensors depend smoothly on the positions and nothing is decided by their values, so that the call can be
        traced for deployment.

        Raises
        ------
        InputError
            An output is not among ``outputs``, or the graph has optional parts that are not used, or elements, charges
            or multiplicities that are not known.
        """

    def check(self, structures: Sequence[Structure]) -> None:
        """Refuse molecules for which the potential was not made, before anything is computed.

        Raises
        ------
        InputError
            Naming the element, charge or multiplicity that it does not know, or atoms that coincide.
        """
        refuse_unknown("The potential", (z for s in structures for z in s.numbers.tolist()), self.elements)

    def densities(self, structures: Sequence[Structure]) -> list[ExpandedDensity]:
        """The electron densities of structures, for charges, multipoles and pictures.

        Raises
        ------
        InputError
            The potential gives none.
        """
        raise InputError(f"{type(self).__name__} gives energies and no densities; take a DenSNet model.")

    def extrapolation(self, structures: Sequence[Structure]) -> list[Extrapolation]:
        """How far each geometry is from those that the potential was made from; the default does not know."""
        return [Extrapolation(None, ()) for _ in structures]

    def metadata(self) -> dict[str, Any]:
        """Provenance that is kept with what is made from it: plain data."""
        return {}

    def check_outputs(self, outputs: Collection[str]) -> None:
        """``InputError`` for a name that is not among ``outputs``."""
        for name in outputs:
            if name not in self.outputs:
                raise InputError(f"The potential does not give {name!r}. {nearest(name, self.outputs)}")
