"""A reporter of OpenMM that writes dipole moment and atomic charges of the predicted density."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openmm

from densnet_core.density.charges import charge_scheme
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.potentials.base import Potential
from densnet_core.units import AU_TO_DEBYE
from densnet_openmm.solute import Solute
from densnet_openmm.system import LENGTH_UNIT


class DensityReporter:
    """Writes a line of comma-separated values every so many steps: step, time, dipole moment, charge of every atom.

    Times are in picoseconds, dipole moments in debye (of an ion about the origin), charges in e. The density is that of
    the model's atoms alone, put together along their bonds where the System is periodic.

    Parameters
    ----------
    file : path
    interval : int
        Steps between reports.
    topology, model, atoms, charge, multiplicity
        As ``add_force`` has them.
    charges : str
        "hirshfeld" (some 0.1 s for each report) or "coefficients".
    """

    def __init__(
        self,
        file: str | Path,
        interval: int,
        topology: Any,
        model: Potential | str | Path,
        atoms: Iterable[int] | None = None,
        charge: int = 0,
        multiplicity: int = 1,
        charges: str = "hirshfeld",
    ) -> None:
        if interval < 1:
            raise InputError(f"There must be at least one step between reports, not {interval}.")
        self.interval, self.scheme = interval, charge_scheme(charges)
        self.solute = Solute(topology, model, atoms, charge, multiplicity)
        names = [f"{symbol(int(z))}{atom} (e)" for z, atom in zip(self.solute.numbers, self.solute.atoms, strict=True)]
        self.path = Path(file).resolve()
        dipole = [f"dipole {axis} (D)" for axis in "xyz"]
        self._write(["step", "time (ps)", *dipole, *names], "w")

    def describeNextReport(self, simulation: Any) -> dict[str, Any]:
        """When the next report is, and what it needs."""
        steps = self.interval - simulation.currentStep % self.interval
        return {"steps": steps, "periodic": False, "include": ["positions"]}

    def report(self, simulation: Any, state: Any) -> None:
        """Write one line."""
        positions = state.getPositions(asNumpy=True).value_in_unit(LENGTH_UNIT)[self.solute.atoms]
        box = None
        if simulation.system.usesPeriodicBoundaryConditions():
            self.solute.check_periodic()
            box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(LENGTH_UNIT)
        (density,) = self.solute.potential.densities([self.solute.structure(positions, box)])
        values = [*(density.dipole() * AU_TO_DEBYE), *self.scheme(density)]
        time = state.getTime().value_in_unit(openmm.unit.picosecond)
        self._write([str(simulation.currentStep), f"{time:g}", *(f"{value:.6f}" for value in values)])

    def _write(self, fields: Iterable[str], mode: str = "a") -> None:
        with open(self.path, mode, encoding="utf-8") as file:
            print(",".join(fields), file=file)
