"""GFN2-xTB energies and forces with tblite (C. Bannwarth et al., J. Chem. Theory Comput. 15, 1652 (2019)).

tblite's own interface is used rather than its ASE calculator: it is in atomic units, as we are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError
from tblite.interface import Calculator

from densnet_core.errors import ConvergenceError, InputError
from densnet_core.spectra.optimise import optimise
from densnet_core.structures import Structure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GFN2:
    """GFN2-xTB; plain data, so that it travels between processes.

    Parameters
    ----------
    accuracy : float
        tblite's accuracy parameter.
    """

    accuracy: float = 1.0

    def energy_and_forces(self, structure: Structure) -> tuple[float, Array]:
        """Energy in hartree and forces (n_atoms, 3) in hartree/bohr.

        Raises
        ------
        ConvergenceError
            The charges do not become self-consistent.
        InputError
            tblite refuses the molecule.
        """
        try:
            calculator = Calculator(
                "GFN2-xTB",
                structure.numbers,
                structure.positions,
                float(structure.charge),
                structure.multiplicity - 1,
            )
            calculator.set("verbosity", 0)
            calculator.set("accuracy", self.accuracy)
        except (TBLiteValueError, TBLiteRuntimeError) as error:
            raise InputError(f"GFN2-xTB cannot be used for {structure.formula}: {error}.") from error
        try:
            result = calculator.singlepoint()
        except TBLiteRuntimeError as error:
            raise ConvergenceError(f"GFN2-xTB for {structure.formula} failed: {error}.") from error
        energy, gradient = float(result.get("energy")), np.array(result.get("gradient"), dtype=np.float64)
        if not (np.isfinite(energy) and np.isfinite(gradient).all()):
            raise ConvergenceError(f"GFN2-xTB for {structure.formula} gave values that are not finite.")
        return energy, -gradient

    def __call__(self, structure: Structure) -> Array:
        """The forces."""
        return self.energy_and_forces(structure)[1]

    def relaxed(self, structure: Structure, max_force: float = 5e-4) -> Structure:
        """The nearest minimum; ``max_force`` in hartree/bohr. ``ConvergenceError`` if it is not reached."""

        def calculate(batch: list[Structure]) -> list[tuple[float, Array, Array]]:
            return [(*self.energy_and_forces(geometry), np.zeros(3)) for geometry in batch]

        return optimise(calculate, structure, max_force=max_force, max_calculations=500)
