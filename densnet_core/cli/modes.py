"""The tables of ``densnet vibrations``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from densnet_core.cli.output import print_table

Record = Mapping[str, Any]
RAMAN: Final = "raman_activity_angstrom4_per_dalton"


def show_vibrations(record: Record) -> None:
    """Print the record of ``densnet_core.workflow.vibrations`` as tables and sentences."""
    level = record["source"]["level_of_theory"] or "level of theory not recorded"
    shape = ", linear" if record["is_linear"] else ""
    print(f"{record['formula']}{shape}, {level}: energy {record['energy_hartree']:.8f} hartree")
    print(_verdict(record))
    if record["is_nearly_linear"]:
        print(
            "The molecule is bent by next to nothing: if it is linear, a smaller --max-force shows it, and one "
            "vibration more and another entropy with it."
        )
    for reason in record.get("extrapolation", {}).get("reasons", ()):
        print(f"unlike the training data: {reason}")
    print()
    if record["modes"]:
        rows = [_row(number, mode) for number, mode in enumerate(record["modes"], 1)]
        raman = ["Raman \u00c5\u2074/Da", "depol."] if RAMAN in record["modes"][0] else []
        print_table(["mode", "cm-1", "km/mol", *raman, "motion", "atoms"], rows)
        print()
    _show_thermochemistry(record)
    if "comparison" in record:
        print()
        _show_comparison(record, record["comparison"])
    print()
    for name, path in record["files"].items():
        print(f"{name:<11}{path}")


def _verdict(record: Record) -> str:
    kind, force = record["stationary_point"], record["largest_force_hartree_per_bohr"]
    imaginary = [_wavenumber(one) for one in record["modes"] if one["wavenumber_per_cm"] < 0]
    count = f"{len(imaginary)} imaginary frequenc{'y' if len(imaginary) == 1 else 'ies'}"
    listed = f" ({', '.join(imaginary)} cm-1)" if imaginary else ""
    if kind == "no stationary point":
        return (
            f"This is no stationary point: the largest force is {force:.1e} hartree/bohr. {count}{listed}; frequencies "
            "and thermochemistry mean little here. Leave out --keep-geometry."
        )
    if kind == "saddle point":
        return (
            f"A saddle point of order {len(imaginary)}, no minimum: {count}{listed}. A frame of the animation of such "
            "a mode is a start from which the minimum is found."
        )
    return f"A minimum: no imaginary frequency, largest force {force:.1e} hartree/bohr"


def _wavenumber(mode: Record) -> str:
    value = mode["wavenumber_per_cm"]
    return f"{-value:.1f}i" if value < 0 else f"{value:.1f}"


def _row(number: int, mode: Record) -> list[str]:
    atoms = " ".join(map(str, mode["moving_atoms"]))
    raman = [f"{mode[RAMAN]:.1f}", f"{mode['depolarization_ratio']:.2f}"] if RAMAN in mode else []
    return [str(number), _wavenumber(mode), f"{mode['intensity_km_per_mol']:.1f}", *raman, mode["motion"], atoms]


def _show_thermochemistry(record: Record) -> None:
    found = record["thermochemistry"]
    constants = record["rotational_constants_ghz"]
    origin = "found from the geometry" if found["symmetry_number_from"] == "geometry" else "as given"
    print(
        f"Ideal gas at {found['temperature_kelvin']:g} K and {found['pressure_bar']:g} bar, rigid rotor and harmonic "
        f"oscillators, symmetry number {found['symmetry_number']} ({origin})"
    )
    parts = ", ".join(f"{name} {value:.1f}" for name, value in found["entropies_j_per_mol_kelvin"].items())
    rows = [
        ["zero-point energy", f"{found['zero_point_energy_kj_per_mol']:.2f} kJ/mol"],
        ["enthalpy", f"{found['enthalpy_hartree']:.6f} hartree"],
        ["Gibbs energy", f"{found['gibbs_energy_hartree']:.6f} hartree"],
        ["entropy", f"{found['entropy_j_per_mol_kelvin']:.2f} J/(mol K): {parts}"],
    ]
    if constants:
        distinct = constants[:1] if record["is_linear"] else constants
        rows.append(["rotational constants", f"{', '.join(f'{value:.4f}' for value in distinct)} GHz"])
    for name, value in rows:
        print(f"{name:<22}{value}")


def _show_comparison(record: Record, comparison: Record) -> None:
    other = comparison["other_source"].get("level_of_theory") or comparison["other"]
    rows = [
        [
            str(one["mode"]),
            f"{record['modes'][one['mode'] - 1]['wavenumber_per_cm']:.1f}",
            f"{one['other_wavenumber_per_cm']:.1f}",
            f"{one['wavenumber_deviation_per_cm']:+.1f}",
            f"{record['modes'][one['mode'] - 1]['intensity_km_per_mol']:.1f}",
            f"{one['other_intensity_km_per_mol']:.1f}",
            f"{one['intensity_deviation_km_per_mol']:+.1f}",
            f"{one['overlap']:.2f}",
        ]
        for one in comparison["modes"]
    ]
    print(f"Beside {other}, geometries {comparison['geometry_distance_angstrom']:.4f} \u00c5 apart")
    print_table(["mode", "cm-1", "other", "", "km/mol", "other", "", "overlap"], rows)
    if "mean_wavenumber_deviation_per_cm" in comparison:
        print(
            f"above {comparison['counted_above_per_cm']:g} cm-1: mean deviation "
            f"{comparison['mean_wavenumber_deviation_per_cm']:.1f} cm-1, largest "
            f"{comparison['largest_wavenumber_deviation_per_cm']:.1f}; intensities mean "
            f"{comparison['mean_intensity_deviation_km_per_mol']:.1f} km/mol, largest "
            f"{comparison['largest_intensity_deviation_km_per_mol']:.1f}"
        )
