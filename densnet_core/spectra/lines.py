"""Harmonic infrared lines at one level of theory: of one geometry, or of conformers with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from densnet_core.spectra.harmonic import HarmonicReference, NormalModes, normal_modes
from densnet_core.spectra.motions import motions

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Conformer:
    """One of the geometries that lines are of.

    Parameters
    ----------
    modes : NormalModes
    motions : tuple of str
        What moves in each mode; empty if that is not known.
    name : str
        The file or trajectory it is from.
    weight : float
        Its share of the molecules.
    energy : float or None
        Hartree.
    """

    modes: NormalModes
    motions: tuple[str, ...] = ()
    name: str = ""
    weight: float = 1.0
    energy: float | None = None

    @classmethod
    def of(cls, harmonic: HarmonicReference, name: str = "", weight: float = 1.0) -> Self:
        """Of a minimum with its second derivatives."""
        modes = normal_modes(harmonic)
        return cls(modes, tuple(motion.text for motion in motions(modes)), name, weight, harmonic.energy)


@dataclass(frozen=True, eq=False)
class HarmonicLines:
    """Lines as they are compared with a spectrum, ascending; those of conformers stand among each other.

    Parameters
    ----------
    label : str
        Level of theory, model or program.
    conformers : tuple of Conformer
        At least one; the weights add up to one.
    weights_from : str
        Where the weights are from, in words; empty for one geometry.
    """

    label: str
    conformers: tuple[Conformer, ...]
    weights_from: str = ""

    @classmethod
    def of(cls, modes: NormalModes, label: str = "", motions: Sequence[str] = ()) -> Self:
        """Lines of one geometry."""
        return cls(label, (Conformer(modes, tuple(motions)),))

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Conformer and mode of each line, from 0."""
        every = [(number, mode) for number, one in enumerate(self.conformers) for mode in range(one.modes.n_modes)]
        return sorted(every, key=lambda place: self.conformers[place[0]].modes.wavenumbers[place[1]])

    @property
    def wavenumbers(self) -> Array:
        """(n,) cm^-1, ascending; imaginary frequencies are negative."""
        return np.array([self.conformers[number].modes.wavenumbers[mode] for number, mode in self.places])

    @property
    def intensities(self) -> Array:
        """(n,) km/mol, those of a conformer times its weight."""
        members = [(self.conformers[number], mode) for number, mode in self.places]
        return np.array([one.weight * one.modes.intensities[mode] for one, mode in members])

    def records(self) -> list[dict[str, Any]]:
        """Plain data of each line; an imaginary frequency is a negative wavenumber."""
        return [self._record(*place) for place in self.places]

    def _record(self, number: int, mode: int) -> dict[str, Any]:
        one = self.conformers[number]
        record: dict[str, Any] = line_record(one.modes, mode)
        record["intensity_km_per_mol"] *= one.weight
        if one.motions:
            record["motion"] = one.motions[mode]
        if len(self.conformers) > 1:
            record |= {"conformer": number + 1, "mode": mode + 1}
        return record

    def conformer_records(self) -> list[dict[str, Any]]:
        """Plain data of each conformer."""
        return [{"file": one.name, "weight_ratio": one.weight, "energy_hartree": one.energy} for one in self.conformers]


def line_record(modes: NormalModes, mode: int) -> dict[str, float]:
    """Plain data of one harmonic line; an imaginary frequency is a negative wavenumber."""
    record = {
        "wavenumber_per_cm": float(modes.wavenumbers[mode]),
        "intensity_km_per_mol": float(modes.intensities[mode]),
        "reduced_mass_dalton": float(modes.reduced_masses[mode]),
    }
    if modes.raman_activities is not None and modes.depolarization_ratios is not None:
        record["raman_activity_angstrom4_per_dalton"] = float(modes.raman_activities[mode])
        record["depolarization_ratio"] = float(modes.depolarization_ratios[mode])
    return record
