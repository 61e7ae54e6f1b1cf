"""The tables of ``densnet predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from densnet_core.cli.output import print_table
from densnet_core.elements import symbol
from densnet_core.structures import Structure
from densnet_core.units import HARTREE_TO_EV

_OF_FRAME: Final = (
    ("hartree_energy_hartree", "Hartree energy Ha"),
    ("nuclear_attraction_energy_hartree", "nuclear attraction Ha"),
)
_OF_SURFACE: Final = (
    ("minimum_volt", "surface potential V, min"),
    ("maximum_volt", "max"),
    ("mean_volt", "mean"),
    ("area_angstrom2", "area \u00c5\u00b2"),
)
_OF_ATOM: Final = (
    ("hirshfeld_charges_e", "charge e, Hirshfeld"),
    ("coefficient_charges_e", "from coefficients"),
)
_FORCES: Final = "hellmann_feynman_forces_ev_per_angstrom"
LISTED: Final = 20
"""Frames unlike the training data that are named; all are in the JSON."""
_UPPER: Final = (("xx", 0, 0), ("xy", 0, 1), ("xz", 0, 2), ("yy", 1, 1), ("yz", 1, 2), ("zz", 2, 2))


def show_predictions(structures: Sequence[Structure], records: Sequence[Mapping[str, Any]]) -> None:
    """Print the records of ``densnet_core.workflow.observables.prediction_record`` as tables."""
    _show_frames(structures, records)
    if any(key in records[0] for key, _ in _OF_ATOM) or _FORCES in records[0]:
        print()
        _show_atoms(structures, records)
    if "potential_at_points" in records[0]:
        print()
        _show_potentials(records)
    _show_unlike(records)


def _show_frames(structures: Sequence[Structure], records: Sequence[Mapping[str, Any]]) -> None:
    first = records[0]
    with_energies = "energy_hartree" in first
    columns = ["frame", "formula", *(["energy Ha", "largest force eV/\u00c5"] if with_energies else ())]
    with_polarizability = "polarizability_angstrom3" in first
    columns += ["dipole D", "electrons", *(["polarizability \u00c5\u00b3"] if with_polarizability else ())]
    energies = [(key, title) for key, title in _OF_FRAME if key in first]
    columns += [title for _, title in energies]
    if "quadrupole_debye_angstrom" in first:
        columns += [f"quadrupole D\u00c5, {name}" if name == "xx" else name for name, _, _ in _UPPER]
    if "surface_potential" in first:
        columns += [title for _, title in _OF_SURFACE]
    rows = []
    for index, (structure, record) in enumerate(zip(structures, records, strict=True)):
        row = [str(index), structure.formula]
        if with_energies:
            row += [f"{record['energy_hartree']:.6f}", f"{np.abs(record['forces_ev_per_angstrom']).max():.3f}"]
        row += [
            f"{np.linalg.norm(record['dipole_debye']):.3f}",
            f"{record['electron_count']:.6f}",
        ]
        if with_polarizability:
            row += [f"{np.trace(record['polarizability_angstrom3']) / 3.0:.4f}"]
        row += [f"{record[key]:.6f}" for key, _ in energies]
        if "quadrupole_debye_angstrom" in first:
            row += [f"{record['quadrupole_debye_angstrom'][i][j]:.3f}" for _, i, j in _UPPER]
        if "surface_potential" in first:
            row += [f"{record['surface_potential'][key]:.3f}" for key, _ in _OF_SURFACE]
        rows.append(row)
    print_table(columns, rows)


def _show_atoms(structures: Sequence[Structure], records: Sequence[Mapping[str, Any]]) -> None:
    charges = [(key, title) for key, title in _OF_ATOM if key in records[0]]
    columns = ["frame", "atom", "", *(title for _, title in charges)]
    if _FORCES in records[0]:
        columns += ["Hellmann-Feynman force eV/\u00c5, x", "y", "z"]
    rows = []
    for index, (structure, record) in enumerate(zip(structures, records, strict=True)):
        for atom, number in enumerate(structure.numbers):
            row = [str(index), str(atom + 1), symbol(int(number)), *(f"{record[key][atom]:.4f}" for key, _ in charges)]
            rows.append(row + [f"{value:.3f}" for value in record.get(_FORCES, [[]] * structure.n_atoms)[atom]])
    print_table(columns, rows)


def _show_potentials(records: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for index, record in enumerate(records):
        for number, entry in enumerate(record["potential_at_points"], start=1):
            place = [f"{value:.4f}" for value in entry["position_angstrom"]]
            value = entry["potential_hartree_per_e"]
            rows.append([str(index), str(number), *place, f"{value:.6f}", f"{value * HARTREE_TO_EV:.4f}"])
    print_table(["frame", "point", "x \u00c5", "y \u00c5", "z \u00c5", "potential Ha/e", "V"], rows)


def _show_unlike(records: Sequence[Mapping[str, Any]]) -> None:
    unlike = [(i, one["extrapolation"]["reasons"]) for i, one in enumerate(records) if one["extrapolation"]["reasons"]]
    if unlike:
        print(
            f"\n{len(unlike)} of {len(records)} frames are unlike those the model was trained on: do not rely on them"
        )
    for index, reasons in unlike[:LISTED]:
        print(f"  frame {index}: {'; '.join(reasons)}")
    if len(unlike) > LISTED:
        print(f"  ... and {len(unlike) - LISTED} more, see --json")
