"""Thermochemistry of an ideal gas: rigid rotor and harmonic oscillators.

Partition functions of translation, rotation, vibration and of the electrons' spin as in McQuarrie, Statistical
Mechanics (1976), chapters 5, 6 and 8, with hbar = 1. It is here and not left to ASE, whose ``IdealGasThermo`` the tests
compare it with, because the core does without ASE and knows already what that has to be told: masses of isotopes,
linear or not, imaginary frequencies, symmetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.md.rigid import is_linear
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.structures import Structure
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS, HARTREE_PER_CUBIC_BOHR_TO_BAR

Array = NDArray[np.float64]
Part = tuple[float, float]
"""Energy in hartree and entropy in hartree/kelvin."""


@dataclass(frozen=True)
class Thermochemistry:
    """Thermodynamic functions of one mole of molecules, per molecule in atomic units.

    Parameters
    ----------
    temperature : float
        Kelvin.
    pressure : float
        Bar.
    symmetry_number : int
        Proper rotations that map the molecule onto itself.
    zero_point_energy : float
        Hartree.
    enthalpy : float
        Total, the electronic energy in it, hartree.
    entropies : mapping
        Of ``translation``, ``rotation``, ``vibration`` and ``spin``, hartree/kelvin.
    """

    temperature: float
    pressure: float
    symmetry_number: int
    zero_point_energy: float
    enthalpy: float
    entropies: Mapping[str, float]

    @property
    def entropy(self) -> float:
        """Total, hartree/kelvin."""
        return sum(self.entropies.values())

    @property
    def gibbs_energy(self) -> float:
        """Total, hartree."""
        return self.enthalpy - self.temperature * self.entropy


def ideal_gas(
    modes: NormalModes, energy: float, *, temperature: float = 298.15, pressure: float = 1.0, symmetry_number: int = 1
) -> Thermochemistry:
    """Zero-point energy, enthalpy, entropy and Gibbs energy of a molecule.

    Imaginary frequencies contribute nothing, as is the rule for a transition state. The electrons contribute the spin
    degeneracy of the ground state alone.

    Parameters
    ----------
    modes : NormalModes
    energy : float
        Electronic energy, hartree.
    temperature : float
        Kelvin.
    pressure : float
        Bar.
    symmetry_number : int

    Raises
    ------
    InputError
        Temperature, pressure or symmetry number are not positive.
    """
    if not (temperature > 0 and pressure > 0 and symmetry_number >= 1):
        raise InputError(
            f"Temperature, pressure and symmetry number must be positive, found {temperature} K, {pressure} bar and "
            f"{symmetry_number}."
        )
    structure, thermal = modes.structure, BOLTZMANN * temperature
    real = modes.frequencies[modes.frequencies > 0]
    parts = {
        "translation": _translation(structure, thermal, pressure),
        "rotation": _rotation(structure, thermal, symmetry_number),
        "vibration": _vibration(real, thermal),
        "spin": (0.0, BOLTZMANN * float(np.log(structure.multiplicity))),
    }
    zero_point = 0.5 * float(real.sum())
    return Thermochemistry(
        temperature,
        pressure,
        symmetry_number,
        zero_point,
        energy + zero_point + sum(part[0] for part in parts.values()) + thermal,  # pV = kT
        {name: part[1] for name, part in parts.items()},
    )


def rotational_constants(structure: Structure) -> Array:
    """1 / (2 I) of the principal axes, hartree, descending: three, two equal ones if linear, none of an atom.

    Of the geometry given: neither vibrationally averaged nor of a single isotopologue unless it has isotope masses.
    """
    moments = _principal_moments(structure)
    if structure.n_atoms == 1:
        return np.empty(0)
    if is_linear(structure.masses, structure.positions):
        moments = np.repeat(moments[1:].mean(), 2)
    return np.asarray(0.5 / moments)


def _principal_moments(structure: Structure) -> Array:
    """(3,) ascending, electron mass times bohr^2."""
    masses = structure.masses * DALTON_TO_ELECTRON_MASS
    centred = structure.positions - masses @ structure.positions / masses.sum()
    second = np.einsum("a,ai,aj->ij", masses, centred, centred)
    return np.linalg.eigvalsh(np.trace(second) * np.eye(3) - second)


def _translation(structure: Structure, thermal: float, pressure: float) -> Part:
    mass = structure.masses.sum() * DALTON_TO_ELECTRON_MASS
    volume = thermal / (pressure / HARTREE_PER_CUBIC_BOHR_TO_BAR)
    states = (mass * thermal / (2.0 * np.pi)) ** 1.5 * volume
    return 1.5 * thermal, BOLTZMANN * (float(np.log(states)) + 2.5)


def _rotation(structure: Structure, thermal: float, symmetry_number: int) -> Part:
    """Of a classical rotor."""
    constants = rotational_constants(structure)
    if constants.size == 0:
        return 0.0, 0.0
    if constants.size == 2:
        return thermal, BOLTZMANN * (float(np.log(thermal / constants[0] / symmetry_number)) + 1.0)
    states = np.sqrt(np.pi * thermal**3 / constants.prod()) / symmetry_number
    return 1.5 * thermal, BOLTZMANN * (float(np.log(states)) + 1.5)


def _vibration(frequencies: Array, thermal: float) -> Part:
    """Without the zero-point energy."""
    ratios = frequencies / thermal
    occupied = 1.0 / np.expm1(ratios)
    entropy = ratios * occupied - np.log1p(-np.exp(-ratios))
    return float((frequencies * occupied).sum()), BOLTZMANN * float(entropy.sum())
