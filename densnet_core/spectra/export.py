"""A spectrum as JSON: numbers, units in the names of the keys, and every setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.spectra.assignment import Assignment, Row, error_curve
from densnet_core.spectra.bands import Band
from densnet_core.spectra.experiment import ExperimentalBands, Region
from densnet_core.spectra.infrared import Spectrum
from densnet_core.spectra.lines import HarmonicLines
from densnet_core.spectra.uncertainty import standard_error

Array = NDArray[np.float64]
FORMAT = "densnet-infrared-spectrum"
FORMAT_VERSION = 2


def spectrum_record(
    spectrum: Spectrum,
    *,
    bands: Sequence[Band] = (),
    harmonic: HarmonicLines | None = None,
    model_harmonic: HarmonicLines | None = None,
    compared: Sequence[HarmonicLines] = (),
    assignment: Assignment | None = None,
    experiment: ExperimentalBands | None = None,
    curve: bool = True,
) -> dict[str, Any]:
    """Plain data of a spectrum and what it was compared with.

    Parameters
    ----------
    spectrum : Spectrum
    bands : sequence of Band
    harmonic : HarmonicLines or None
        Lines of the reference calculation.
    model_harmonic : HarmonicLines or None
        Lines of the model that moved the molecule.
    compared : sequence of HarmonicLines
        Lines of other sources.
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
    for name, lines in (("harmonic", harmonic), ("model_harmonic", model_harmonic)):
        if lines is not None:
            record[name] = lines.records()
            record[f"{name}_of"] = lines.label
    if compared:
        record["compared"] = [_compared(lines) for lines in compared]
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
        if experiment.regions:
            every = None if assignment is None else assignment.expected
            known = model_harmonic or harmonic
            at = None if known is None else known.wavenumbers
            record["experiment"]["regions"] = _regions(experiment.regions, spectrum, at, every)
    if curve:
        errors = error_curve(spectrum) if assignment is None else assignment.errors
        record["wavenumbers_per_cm"] = [round(float(x), 4) for x in spectrum.wavenumbers]
        record["absorption_km_cm_per_mol"] = [float(f"{y:.7g}") for y in spectrum.absorption]
        if errors is not None:
            record["standard_error_km_cm_per_mol"] = [float(f"{y:.4g}") for y in errors]
    return record


def _compared(lines: HarmonicLines) -> dict[str, Any]:
    return {
        "of": lines.label,
        "weights_from": lines.weights_from,
        "conformers": lines.conformer_records(),
        "lines": lines.records(),
    }


def _regions(
    regions: Sequence[Region], spectrum: Spectrum, lines: Array | None, expected: Array | None
) -> list[dict[str, Any]]:
    """Measured integrals beside those of the spectrum; relative ones as shares of the regions that have one.

    ``expected`` (n_replicas, n_lines) is what replicas should have of the ``lines`` (n_lines,), if that is known.
    """
    relative = [region for region in regions if region.relative_intensity is not None]
    measured = sum(region.relative_intensity or 0.0 for region in relative)
    found = sum(spectrum.intensity(region.lower, region.upper) for region in relative)
    rows = []
    for region in regions:
        own = spectrum.intensity(region.lower, region.upper)
        of_lines = None
        if lines is not None and expected is not None:
            inside = (lines >= region.lower) & (lines <= region.upper)
            of_lines = expected[:, inside].sum(axis=1)
        error = standard_error(spectrum.replica_intensities(region.lower, region.upper), of_lines, spectrum.groups)
        row: dict[str, Any] = {
            "name": region.name,
            "lower_per_cm": region.lower,
            "upper_per_cm": region.upper,
            "experiment_km_per_mol": region.intensity,
            "intensity_km_per_mol": own,
            "standard_error_km_per_mol": None if error is None else float(error),
        }
        if region.relative_intensity is not None and measured > 0 and found > 0:
            row |= {"experiment_share_ratio": region.relative_intensity / measured, "share_ratio": own / found}
        rows.append(row)
    return rows


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
