"""DenSNet models as calculators of ASE, in eV, angstrom and elementary charges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from densnet_core.density.charges import charge_scheme
from densnet_core.errors import InputError
from densnet_core.files.words import says_electrons, whole_number
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

POLARIZABILITY_TO_ASE: Final = BOHR_TO_ANGSTROM**2 / HARTREE_TO_EV
"""e^2 angstrom^2/eV per bohr^3 (e^2 bohr^2/hartree)."""


class DenSNetCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces, dipole moment, atomic charges and, where there is one, polarizability of a trained model.

    >>> from ase.build import molecule
    >>> atoms = molecule("H2O", calculator=DenSNetCalculator("runs/water/model"))
    >>> atoms.get_potential_energy(), atoms.get_dipole_moment(), atoms.get_charges()

    Energies are in eV and differ from those of a geometry by no constant: they are total energies at the model's level
    of theory. Dipole moments are in e angstrom, of ions about the origin; ``get_property("polarizability")``
    is in e^2 angstrom^2/eV, ASE's unit of it (times 14.400 in angstrom^3). There is no stress: the densities are those
    of isolated molecules, and atoms with periodic boundary conditions are refused.

    Parameters
    ----------
    model : Potential or path
        A model, or the folder or zip file of its package.
    charge, multiplicity : int or None
        Of the whole molecule. None: those of ``atoms.info["charge"]`` and ``atoms.info["multiplicity"]``, or 0 and 1.
    charges : str
        Scheme of the atomic charges: "hirshfeld", or "coefficients" (by the atom that carries each basis function).
    native : bool
        Compile the model for these atoms: half a minute once for each molecule and machine, for calls that are about
        five times as fast. For dynamics.

    Raises
    ------
    InputError
        When it is used: atoms are periodic; charge or multiplicity are said twice and differently, or under another
        name; the model was not trained on such elements, charges or spins.
    """

    name = "densnet"
    default_parameters: ClassVar[dict[str, Any]] = {"charge": None, "multiplicity": None, "charges": "hirshfeld"}

    def __init__(self, model: Potential | str | Path, *, native: bool = False, **parameters: Any) -> None:
        self.native = native
        self.potential: Potential = DenSNet.load(model) if isinstance(model, str | Path) else model
        self._bound: BoundPotential | None = None
        self._state: tuple[int, int] | None = None
        self._outputs = [name for name in ("energy", "forces", "dipole") if name in self.potential.outputs]
        charges = ["charges"] if "coefficients" in self.potential.outputs else []
        tensors = sorted({"polarizability"} & self.potential.outputs)
        self.implemented_properties = ["free_energy", *self._outputs, *charges, *tensors]
        super().__init__(**parameters)

    def set(self, **parameters: Any) -> dict[str, Any]:
        """Change parameters as ASE does; ``InputError`` for one that is not known."""
        for name in parameters:
            if name not in self.default_parameters:
                raise InputError(f"The calculator has no parameter {name!r}; it has charge, multiplicity and charges.")
        charge_scheme(parameters.get("charges", "hirshfeld"))
        changed: dict[str, Any] = super().set(**parameters)
        if changed:
            self.reset()
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation; charge and multiplicity in ``atoms.info`` count too."""
        changes: list[str] = super().check_state(atoms, tol)
        if self._state is not None and self._total(atoms) != self._state:
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energy, forces and dipole in one call of the model; charges and polarizability when they are asked for."""
        super().calculate(atoms, properties, system_changes)
        bound, positions = self._bind(self.atoms)
        more = {"polarizability"} & set(properties)
        found = bound.evaluate(positions[None], [*self._outputs, *more])
        energy = float(found["energy"][0]) * HARTREE_TO_EV
        results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": found["forces"] * EV_PER_ANGSTROM}
        if "dipole" in found:
            results["dipole"] = found["dipole"][0] * BOHR_TO_ANGSTROM
        if more:
            results["polarizability"] = found["polarizability"][0] * POLARIZABILITY_TO_ASE
        if "charges" in properties:
            (density,) = self.potential.densities([bound.structure.with_positions(positions)])
            results["charges"] = charge_scheme(self.parameters["charges"])(density)
        self.results.update(results)

    def _bind(self, atoms: Atoms) -> tuple[BoundPotential, Array]:
        """The potential for these atoms, kept as long as they stay the same, and their positions in bohr."""
        if np.any(atoms.pbc):
            raise InputError(
                "The atoms are periodic, and the densities of DenSNet are those of isolated molecules. Make the "
                "molecule whole (not wrapped into the cell) and set atoms.pbc = False."
            )
        positions = atoms.positions / BOHR_TO_ANGSTROM
        self._state = self._total(atoms)
        known = None if self._bound is None else self._bound.structure
        if (
            self._bound is None
            or known is None
            or (known.charge, known.multiplicity) != self._state
            or not np.array_equal(known.numbers, atoms.numbers)
        ):
            structure = Structure(atoms.numbers.astype(np.int64), positions, *self._state)
            # Otherwise not even traced: most calculators are asked a few hundred times.
            self._bound = BoundPotential(self.potential, [structure], traced=self.native, native=self.native)
        return self._bound, positions

    def _total(self, atoms: Atoms) -> tuple[int, int]:
        """Charge and multiplicity of the molecule."""
        for key in atoms.info:
            if key not in ("charge", "multiplicity") and says_electrons(str(key)):
                raise InputError(
                    f"atoms.info[{key!r}] would not be read: rename it to 'charge' or 'multiplicity', or remove it."
                )
        charge, multiplicity = (self._said(atoms, name, usual) for name, usual in (("charge", 0), ("multiplicity", 1)))
        for what, initial, total in (
            ("charges", atoms.get_initial_charges().sum(), charge),
            ("magnetic moments", np.abs(atoms.get_initial_magnetic_moments().sum()), multiplicity - 1),
        ):
            if initial and abs(initial - total) > 1e-3:
                raise InputError(
                    f"The initial {what} of the atoms add up to {initial:g}, and charge {charge} with multiplicity "
                    f"{multiplicity} is calculated. Give charge= and multiplicity= to the calculator or in atoms.info, "
                    "or set the initial values to zero."
                )
        return charge, multiplicity

    def _said(self, atoms: Atoms, name: str, usual: int) -> int:
        given, info = self.parameters[name], atoms.info.get(name)
        values = {whole_number(name, value) for value in (given, info) if value is not None}
        if len(values) > 1:
            raise InputError(f"The calculator has {name}={given} and atoms.info[{name!r}] is {info}; give it once.")
        return values.pop() if values else usual


class DenSNetPolarizability:
    """Polarizabilities as ASE's Raman calculators ask for them, of a model that predicts them.

    >>> raman = StaticRamanCalculator(atoms, DenSNetPolarizability, {"model": model})
    >>> raman.run()
    >>> PlaczekStatic(atoms).summary()

    Parameters
    ----------
    model : Potential or path
        As for ``DenSNetCalculator``, whose other parameters it takes as well.

    Raises
    ------
    InputError
        The model predicts no polarizabilities.
    """

    def __init__(self, model: Potential | str | Path, **parameters: Any) -> None:
        self.calculator = DenSNetCalculator(model, **parameters)
        if "polarizability" not in self.calculator.implemented_properties:
            raise InputError(
                "The model predicts no polarizabilities. Train one with [density] options = { response = true }."
            )

    def __call__(self, atoms: Atoms) -> Array:
        """(3, 3) in e^2 angstrom^2/eV."""
        return np.array(self.calculator.get_property("polarizability", atoms))
