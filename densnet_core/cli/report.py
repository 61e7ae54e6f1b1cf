"""The short tables that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from densnet_core.cli.output import print_table


def show_errors(record: Mapping[str, Any]) -> None:
    """Errors of a model, from the record of ``densnet evaluate --json``, each with the frame where it is largest."""
    density, dipole, energy, forces = (record[name] for name in ("density", "dipole", "energy", "forces"))
    worst = {name: f"{record[name]['worst']['frame'][:12]}" for name in ("density", "dipole", "energy", "forces")}
    unit = "meV/\u00c5"
    rows = [
        ["density NMAE, fit floor", f"{density['nmae_fit_floor_percent']:.3f} %", "", ""],
        ["density NMAE, model vs fit", f"{density['nmae_model_vs_fit_percent']:.3f} %", "", ""],
        [
            "density NMAE, model vs reference",
            f"{density['nmae_model_vs_reference_percent']:.3f} %",
            "",
            f"{density['worst']['nmae_percent']:.3f} % in {worst['density']}",
        ],
        ["electron count, largest error", f"{density['electron_count_max_error']:.1e}", "", ""],
        [
            "dipole",
            f"{dipole['mae_debye']:.4f} D",
            f"{dipole['rmse_debye']:.4f} D",
            f"{dipole['worst']['debye']:.4f} D in {worst['dipole']}",
        ],
        [
            "energy",
            f"{energy['mae_mev']:.2f} meV",
            f"{energy['rmse_mev']:.2f} meV",
            f"{energy['worst']['error_mev']:+.2f} meV in {worst['energy']}",
        ],
        [
            "forces",
            f"{forces['mae_mev_per_angstrom']:.2f} {unit}",
            f"{forces['rmse_mev_per_angstrom']:.2f} {unit}",
            f"{forces['worst']['rmse_mev_per_angstrom']:.2f} {unit} in {worst['forces']}",
        ],
    ]
    print_table([f"errors on {record['frames']} frames", "mean", "RMSE", "worst frame"], rows)
    print()


def show_bands(record: Mapping[str, Any]) -> None:
    """Band positions of a spectrum beside the harmonic and experimental ones, from the record of spectrum.json."""
    rows = []
    for mode in record.get("harmonic", []):
        line = f"{mode['wavenumber_per_cm']:.0f} ({mode['intensity_km_per_mol']:.1f})"
        rows.append([line, *_band(mode)])
    print_table(["harmonic cm-1 (km/mol)", "dynamics cm-1 (km/mol)", "shift cm-1"], rows)
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
    print()


def _band(mode: Mapping[str, Any]) -> list[str]:
    position = mode.get("band_position_per_cm")
    if position is None:
        return ["not found", ""]
    text = f"{position:.0f} ({mode['band_intensity_km_per_mol']:.1f})"
    return [text, f"{position - mode['wavenumber_per_cm']:+.1f}"]
