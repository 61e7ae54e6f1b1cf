"""A spectrum as JSON: numbers, units in the names of the keys, and every setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from densnet_core.spectra.assignment import Assignment, Row, error_curve
from densnet_core.spectra.bands import Band
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.infrared import Spectrum

FORMAT = "densnet-infrared-spectrum"
FORMAT_VERSION = 2


def spectrum_record(
    spectrum: Spectrum,
    *,
    bands: Sequence[Band] = (),
    harmonic: NormalModes | None = None,
    model_harmonic: NormalModes | None = None,
    assignment: Assignment | None = None,
    experiment: ExperimentalBands | None = None,
    curve: bool = True,
) -> dict[str, Any]:
    """Plain data of a spectrum and what it was compared with.

    Parameters
    ----------
    spectrum : Spectrum
    bands : sequence of Band
    harmonic : NormalModes or None
        Lines of the reference calculation.
    model_harmonic : NormalModes or None
        Lines of the model that moved the molecule.
    assignment : Assignment or None
        To the lines of the model if these are given, otherwise to those of the reference.
    experiment : ExperimentalBands or None
    curve : bool
        Whether to include the long arrays of the spectrum itself.
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
    for name, modes in (("harmonic", harmonic), ("model_harmonic", model_harmonic)):
        if modes is not None:
            record[name] = [line_record(modes, mode) for mode in range(modes.n_modes)]
    if assignment is not None:
        record["assignment"] = {
            "lines_of": "harmonic" if model_harmonic is None else "model_harmonic",
            "lower_per_cm": assignment.lower,
            "upper_per_cm": assignment.upper,
            "rows": [_row(row) for row in assignment.rows],
            "rest": {
                "intensity_km_per_mol": assignment.rest,
                "standard_error_km_per_mol": assignment.rest_error,
                "bands": [_band(band) for band in assignment.others],
            },
            "uneven": assignment.warning,
        }
    if experiment is not None:
        record["experiment"] = {
            "wavenumbers_per_cm": list(experiment.wavenumbers),
            "intensities_km_per_mol": None if experiment.intensities is None else list(experiment.intensities),
            "source": experiment.source,
        }
    if curve:
        errors = error_curve(spectrum) if assignment is None else assignment.errors
        record["wavenumbers_per_cm"] = [round(float(x), 4) for x in spectrum.wavenumbers]
        record["absorption_km_cm_per_mol"] = [float(f"{y:.7g}") for y in spectrum.absorption]
        if errors is not None:
            record["standard_error_km_cm_per_mol"] = [float(f"{y:.4g}") for y in errors]
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


def _row(row: Row) -> dict[str, Any]:
    position = None if row.main is None else row.main.position
    return {
        "modes": list(row.modes),
        "line_per_cm": row.wavenumber,
        "harmonic_intensity_km_per_mol": row.harmonic_intensity,
        "position_per_cm": position,
        "shift_per_cm": None if position is None else position - row.wavenumber,
        "intensity_km_per_mol": row.intensity,
        "standard_error_km_per_mol": row.error,
        "intensity_ratio": row.ratio,
        "unevenness_ratio": row.unevenness,
        "bands": [_band(band) for band in row.bands],
    }
