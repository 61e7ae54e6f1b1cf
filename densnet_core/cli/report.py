"""The short tables that a run ends with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def _polarizability_rows(part: Mapping[str, Any]) -> list[list[str]]:
    unit = "\u00c5\u00b3"
    values = [f"{value:.4f} {unit}" for value in (part["mae_angstrom3"], part["rmse_angstrom3"])]
    return [["polarizability", *values, _worst(part, f"{part['worst']['rmse_angstrom3']:.4f} {unit}")]]


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
    "polarizability": _polarizability_rows,
    "energy": _energy_rows,
    "forces": _forces_rows,
}


def show_bands(record: Mapping[str, Any]) -> None:
    """Bands of a spectrum, beside harmonic lines and experimental bands if any, from its record."""
    if "assignment" in record:
        _show_assignment(record)
    else:
        found = [[f"{b['position_per_cm']:.0f}", f"{b['intensity_km_per_mol']:.1f}"] for b in record["bands"]]
        print_table(["band cm-1", "intensity km/mol"], found)
    experiment = record.get("experiment")
    if experiment:
        positions = ", ".join(f"{value:.0f}" for value in sorted(experiment["wavenumbers_per_cm"]))
        print(f"experiment: {positions} cm-1 ({experiment['source']})")
    for source in record.get("compared", ()):
        print(f"harmonic, {source['of']}: {_shares(source['conformers'], source['weights_from'])}")
    if "trajectories" in record:
        print(f"dynamics: mean of {_shares(record['trajectories'], record['weights_from'])}")
    dynamics = record.get("dynamics")
    if dynamics:
        print(
            f"dynamics: {dynamics['length_ps']:.1f} ps at {dynamics['vibrational_temperature_kelvin']:.0f} K, energy "
            f"drift {dynamics['energy_drift_mev_per_atom_per_ps']:+.1e} meV/atom/ps"
        )
        for warning in dynamics["warnings"]:
            print(warning)
    print()


def _shares(members: Sequence[Mapping[str, Any]], origin: str) -> str:
    """Files with their weights, where there are several."""
    if len(members) == 1:
        return str(members[0]["file"])
    return ", ".join(f"{one['weight_ratio']:.3f} {one['file']}" for one in members) + f" (weights: {origin})"


def _show_assignment(record: Mapping[str, Any]) -> None:
    """A row for each harmonic line with all that belongs to it, and the rest."""
    assignment = record["assignment"]
    own = assignment["lines_of"] == "harmonic"
    reference: Sequence[Mapping[str, float]] = [] if own else record.get("harmonic", [])
    both = bool(reference) and len(reference) == len(record["model_harmonic"])
    rows = []
    for row in assignment["rows"]:
        line = f"{row['line_per_cm']:.0f} ({row['harmonic_intensity_km_per_mol']:.1f})"
        rows.append([*([_lines(reference, row["modes"])] if both else []), line, *_found(row)])
    rest = assignment["rest"]
    elsewhere = ", ".join(f"{band['position_per_cm']:.0f}" for band in rest["bands"])
    intensity = _with_error(rest)
    rows.append([*([""] if both else []), "rest", elsewhere, intensity, "", ""])
    head = ["harmonic cm-1 (km/mol)"] if own else [*(["harmonic cm-1 (km/mol)"] if both else []), "model's harmonic"]
    print_table([*head, "dynamics cm-1", "km/mol", "of harmonic", "shift cm-1"], rows)


def _lines(lines: Sequence[Mapping[str, float]], modes: Sequence[int]) -> str:
    """The lines of one row: their places and the sum of their intensities."""
    places = ", ".join(dict.fromkeys(f"{lines[mode]['wavenumber_per_cm']:.0f}" for mode in modes))
    return f"{places} ({sum(lines[mode]['intensity_km_per_mol'] for mode in modes):.1f})"


def _found(row: Mapping[str, Any]) -> list[str]:
    if not row["bands"]:
        return ["not found", "", "", ""]
    positions = ", ".join(f"{band['position_per_cm']:.0f}" for band in row["bands"])
    ratio = "" if row["intensity_ratio"] is None else f"{row['intensity_ratio']:.2f}"
    shift = "" if row["shift_per_cm"] is None else f"{row['shift_per_cm']:+.1f}"
    return [positions, _with_error(row), ratio, shift]


def _with_error(part: Mapping[str, Any]) -> str:
    error = part["standard_error_km_per_mol"]
    return f"{part['intensity_km_per_mol']:.1f}" + ("" if error is None else f" \u00b1 {error:.1f}")
