"""A spectrum as JSON: numbers, units in the names of the keys, and every setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from densnet_core.errors import InputError
from densnet_core.spectra.bands import Band, LineMatch
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.infrared import Spectrum

FORMAT = "densnet-infrared-spectrum"
FORMAT_VERSION = 1


def spectrum_record(
    spectrum: Spectrum,
    *,
    bands: Sequence[Band] = (),
    harmonic: NormalModes | None = None,
    matches: Sequence[LineMatch] = (),
    experiment: ExperimentalBands | None = None,
    curve: bool = True,
) -> dict[str, Any]:
    """Plain data of a spectrum and what it was compared with.

    Parameters
    ----------
    spectrum : Spectrum
    bands : sequence of Band
    harmonic : NormalModes or None
        Its lines, and with ``matches`` (one for each mode, in the same order) the band found for each.
    experiment : ExperimentalBands or None
    curve : bool
        Whether to include the two long arrays of the spectrum itself.
    """
    settings = spectrum.settings
    record: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": {
            "temperature_kelvin": settings.temperature,
            "temperature_kind": settings.temperature_kind,
            "time_step_femtosecond": settings.time_step,
            "time_step_corrected": settings.time_step is not None,
            "frame_spacing_femtosecond": settings.frame_spacing,
            "length_picosecond": settings.length,
            "n_frames": settings.n_frames,
            "n_replicas": settings.n_replicas,
            "window": settings.window,
            "window_width_per_cm": settings.width,
        },
        "integrated_intensity_km_per_mol": spectrum.intensity(),
        "bands": [_band(band) for band in bands],
    }
    if harmonic is not None:
        if matches and len(matches) != harmonic.n_modes:
            raise InputError(f"{harmonic.n_modes} harmonic lines have {len(matches)} matches; expected one for each.")
        record["harmonic"] = [
            {**line_record(harmonic, mode), **(_match(matches[mode]) if matches else {})}
            for mode in range(harmonic.n_modes)
        ]
    if experiment is not None:
        record["experiment"] = {
            "wavenumbers_per_cm": list(experiment.wavenumbers),
            "intensities_km_per_mol": None if experiment.intensities is None else list(experiment.intensities),
            "source": experiment.source,
        }
    if curve:
        record["wavenumbers_per_cm"] = [round(float(x), 4) for x in spectrum.wavenumbers]
        record["absorption_km_cm_per_mol"] = [float(f"{y:.7g}") for y in spectrum.absorption]
    return record


def line_record(harmonic: NormalModes, mode: int) -> dict[str, float]:
    """Plain data of one harmonic line; an imaginary frequency is a negative wavenumber."""
    return {
        "wavenumber_per_cm": float(harmonic.wavenumbers[mode]),
        "intensity_km_per_mol": float(harmonic.intensities[mode]),
        "reduced_mass_dalton": float(harmonic.reduced_masses[mode]),
    }


def _band(band: Band) -> dict[str, float]:
    units = {"intensity": "intensity_km_per_mol", "height": "height_km_cm_per_mol"}
    return {units.get(key, f"{key}_per_cm"): value for key, value in asdict(band).items()}


def _match(match: LineMatch) -> dict[str, float | None]:
    band = match.band
    return {
        "band_position_per_cm": None if band is None else band.position,
        "band_intensity_km_per_mol": None if band is None else band.intensity,
        "shift_per_cm": match.shift,
    }
