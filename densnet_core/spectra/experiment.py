"""Measured bands to compare a spectrum with."""

from __future__ import annotations

from dataclasses import dataclass

from densnet_core.errors import InputError


@dataclass(frozen=True)
class Region:
    """A part of a measured spectrum that was integrated as a whole.

    Parameters
    ----------
    name : str
        For people: ``"C-H stretches"``.
    lower, upper : float
        cm^-1.
    intensity : float or None
        Integrated, km/mol.
    relative_intensity : float or None
        The area where its unit is not known, relative to those of the other regions.
    """

    name: str
    lower: float
    upper: float
    intensity: float | None = None
    relative_intensity: float | None = None


@dataclass(frozen=True)
class ExperimentalBands:
    """Band positions from a measurement, and where they were published.

    Parameters
    ----------
    wavenumbers : tuple of float
        cm^-1.
    source : str
        Printed in every plot and export that uses the values.
    intensities : tuple of float or None
        Integrated intensities, km/mol, in the same order.
    regions : tuple of Region
    """

    wavenumbers: tuple[float, ...]
    source: str
    intensities: tuple[float, ...] | None = None
    regions: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise InputError("Experimental bands need a source.")
        if self.intensities is not None and len(self.intensities) != len(self.wavenumbers):
            raise InputError(f"{len(self.wavenumbers)} bands have {len(self.intensities)} intensities.")
