"""Measured bands to compare a spectrum with."""

from __future__ import annotations

from dataclasses import dataclass

from densnet_core.errors import InputError


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
    """

    wavenumbers: tuple[float, ...]
    source: str
    intensities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise InputError("Experimental bands need a source.")
        if self.intensities is not None and len(self.intensities) != len(self.wavenumbers):
            raise InputError(f"{len(self.wavenumbers)} bands have {len(self.intensities)} intensities.")
