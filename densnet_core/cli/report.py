"""The short tables that a run ends with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from densnet_core.cli.output import print_table


def show_errors(record: Mapping[str, Any], of: str = "") -> None:
    """Errors of a model, from the record of ``densnet evaluate --json``, each with the frame where it is largest.

    Parameters
    ----------
    of : str
        What the frames are, for the head of the table.
    """
    rows = [row for name, make in _ROWS.items() if name in record for row in make(record[name])]
    if record.get("density") is None:
        rows.append(["density", "no reference", "", ""])
    print_table([f"errors on {record['frames']} frames{of and f' of {of}'}", "mean", "RMSE", "worst frame"], rows)
    print()


def _worst(part: Mapping[str, Any], text: str) -> str:
    return f"{text} in {part['worst']['frame'][:12]}"


def _density_rows(part: Mapping[str, Any]) -> list[list[str]]:
    worst = _worst(part, f"{part['worst']['nmae_percent']:.3f} %")
    return [
        ["density NMAE, fit floor", f"{part['nmae_fit_floor_percent']:.3f} %", "", ""],
        ["density NMAE, model vs fit", f"{part['nmae_model_vs_fit_percent']:.3f} %", "", ""],
        ["density NMAE, model vs reference", f"{part['nmae_model_vs_reference_percent']:.3f} %", "", worst],
        ["electron count, largest error", f"{part['electron_count_max_error']:.1e}", "", ""],
    ]


def _dipole_rows(part: Mapping[str, Any]) -> list[list[str]]:
    worst = _worst(part, f"{part['worst']['debye']:.4f} D")
    return [["dipole", f"{part['mae_debye']:.4f} D", f"{part['rmse_debye']:.4f} D", worst]]


def _energy_rows(part: Mapping[str, Any]) -> list[list[str]]:
    worst = _worst(part, f"{part['worst']['error_mev']:+.2f} meV")
    return [["energy", f"{part['mae_mev']:.2f} meV", f"{part['rmse_mev']:.2f} meV", worst]]


def _forces_rows(part: Mapping[str, Any]) -> list[list[str]]:
    unit = "meV/\u00c5"
    values = [f"{value:.2f} {unit}" for value in (part["mae_mev_per_angstrom"], part["rmse_mev_per_angstrom"])]
    return [["forces", *values, _worst(part, f"{part['worst']['rmse_mev_per_angstrom']:.2f} {unit}")]]


_ROWS: Final[Mapping[str, Callable[[Mapping[str, Any]], list[list[str]]]]] = {
    "density": _density_rows,
    "dipole": _dipole_rows,
    "energy": _energy_rows,
    "forces": _forces_rows,
}


def show_bands(record: Mapping[str, Any]) -> None:
    """Band positions of a spectrum, beside harmonic and experimental ones if any, from its record."""
    rows = []
    for mode in record.get("harmonic", []):
        line = f"{mode['wavenumber_per_cm']:.0f} ({mode['intensity_km_per_mol']:.1f})"
        rows.append([line, *_band(mode)])
    if rows:
        print_table(["harmonic cm-1 (km/mol)", "dynamics cm-1 (km/mol)", "shift cm-1"], rows)
    else:
        found = [[f"{b['position_per_cm']:.0f}", f"{b['intensity_km_per_mol']:.1f}"] for b in record["bands"]]
        print_table(["band cm-1", "intensity km/mol"], found)
    experiment = record.get("experiment")
    if experiment:
        positions = ", ".join(f"{value:.0f}" for value in sorted(experiment["wavenumbers_per_cm"]))
        print(f"experiment: {positions} cm-1 ({experiment['source']})")
    dynamics = record.get("dynamics")
    if dynamics:
        print(
            f"dynamics: {dynamics['length_ps']:.1f} ps at {dynamics['vibrational_temperature_kelvin']:.0f} K, energy "
            f"drift {dynamics['energy_drift_mev_per_atom_per_ps']:+.1e} meV/atom/ps"
        )
        if "warning" in dynamics:
            print(dynamics["warning"])
    print()


def _band(mode: Mapping[str, Any]) -> list[str]:
    position = mode.get("band_position_per_cm")
    if position is None:
        return ["not found", ""]
    text = f"{position:.0f} ({mode['band_intensity_km_per_mol']:.1f})"
    return [text, f"{position - mode['wavenumber_per_cm']:+.1f}"]
