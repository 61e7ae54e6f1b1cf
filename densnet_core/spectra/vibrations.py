"""All that follows from the second derivatives at one geometry: modes, what they are, thermochemistry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from densnet_core.md.rigid import is_linear, rigid_body_vectors
from densnet_core.spectra.harmonic import HarmonicReference, NormalModes, normal_modes
from densnet_core.spectra.motions import Motion, motions
from densnet_core.spectra.symmetry import symmetry_number as proper_rotations
from densnet_core.spectra.thermochemistry import Thermochemistry, ideal_gas
from densnet_core.structures import Structure

STATIONARY: Final = 5e-4
"""Hartree/bohr; programs usually optimise until no force component is above 4.5e-4."""
_NEARLY_LINEAR: Final = 0.03
Kind = Literal["minimum", "saddle point", "no stationary point"]


@dataclass(frozen=True, eq=False)
class Vibrations:
    """The vibrations of a molecule at one geometry.

    Parameters
    ----------
    harmonic : HarmonicReference
    largest_force : float
        Largest component at that geometry without net force and torque, hartree/bohr.
    modes : NormalModes
    motions : list of Motion
        One for each mode.
    thermochemistry : Thermochemistry
    found_symmetry : bool
        Whether the symmetry number is that of the geometry; otherwise it was given.
    """

    harmonic: HarmonicReference
    largest_force: float
    modes: NormalModes
    motions: list[Motion]
    thermochemistry: Thermochemistry
    found_symmetry: bool

    @property
    def structure(self) -> Structure:
        return self.harmonic.structure

    @property
    def is_linear(self) -> bool:
        """Whether the molecule has 3N - 5 vibrations."""
        return is_linear(self.structure.masses, self.structure.positions)

    @property
    def is_nearly_linear(self) -> bool:
        """Whether it is bent by so little that one rotation is hardly one: linear, but for the optimisation."""
        rigid = rigid_body_vectors(self.structure.masses, self.structure.positions, _NEARLY_LINEAR)
        return len(rigid) == 5 and not self.is_linear

    @property
    def n_imaginary(self) -> int:
        """Number of imaginary frequencies."""
        return int((self.modes.wavenumbers < 0).sum())

    @property
    def kind(self) -> Kind:
        if self.largest_force > STATIONARY:
            return "no stationary point"
        return "saddle point" if self.n_imaginary else "minimum"


def vibrations(
    harmonic: HarmonicReference,
    largest_force: float,
    *,
    temperature: float = 298.15,
    pressure: float = 1.0,
    symmetry_number: int | None = None,
) -> Vibrations:
    """Modes, their motions and thermochemistry of a harmonic reference.

    Parameters
    ----------
    harmonic : HarmonicReference
    largest_force : float
        Hartree/bohr.
    temperature : float
        Kelvin.
    pressure : float
        Bar.
    symmetry_number : int or None
        None: that of the geometry.
    """
    modes = normal_modes(harmonic)
    thermochemistry = ideal_gas(
        modes,
        harmonic.energy,
        temperature=temperature,
        pressure=pressure,
        symmetry_number=symmetry_number or proper_rotations(harmonic.structure),
    )
    return Vibrations(harmonic, largest_force, modes, motions(modes), thermochemistry, symmetry_number is None)
