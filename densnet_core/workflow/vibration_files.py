"""Vibrations as plain data and files: modes.json, the geometry, animations and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError, InputError
from densnet_core.plugins.quantity import Quantity
from densnet_core.spectra.animation import animation, displacements
from densnet_core.spectra.comparison import check_same_molecule, deviations, match_modes
from densnet_core.spectra.harmonic import normal_modes
from densnet_core.spectra.lines import line_record
from densnet_core.spectra.plots import plot_modes
from densnet_core.spectra.thermochemistry import Thermochemistry, rotational_constants
from densnet_core.spectra.vibrations import Vibrations
from densnet_core.stores.exporting import writing
from densnet_core.stores.extxyz import write_extxyz
from densnet_core.stores.labels import partial_result
from densnet_core.structures import Structure
from densnet_core.units import (
    BOHR_TO_ANGSTROM,
    HARTREE_TO_KJ_PER_MOL,
    HARTREE_TO_WAVENUMBER,
    SPEED_OF_LIGHT_CM_PER_SECOND,
)
from densnet_core.workflow.folder import read_json, write_json
from densnet_core.workflow.harmonic import harmonic_from, harmonic_record

Record = dict[str, Any]

FORMAT: Final = "densnet-vibrations"
FORMAT_VERSION: Final = 1
FILES: Final = ("minimum.xyz", "saddle_point.xyz", "geometry.xyz", "modes.json", "modes.xyz", "modes", "spectrum.png")
"""What ``write_vibrations`` may write into its folder."""
COUNTED_ABOVE: Final = 500.0
"""cm^-1; softer modes are left out of the mean deviation, because their frequencies hang on much else."""
_GEOMETRY: Final = {"minimum": FILES[0], "saddle point": FILES[1], "no stationary point": FILES[2]}
_DISPLACEMENT: Final = Quantity("displacement", "angstrom", "atom", 1, extensive=False, depends_on_origin=False)


def summary(found: Vibrations) -> Record:
    """What is printed: numbers and words for every mode, thermochemistry; keys name the units."""
    structure = found.structure
    to_ghz = HARTREE_TO_WAVENUMBER * SPEED_OF_LIGHT_CM_PER_SECOND * 1e-9
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "formula": structure.formula,
        "charge": structure.charge,
        "multiplicity": structure.multiplicity,
        "energy_hartree": found.harmonic.energy,
        "largest_force_hartree_per_bohr": found.largest_force,
        "stationary_point": found.kind,
        "imaginary_modes": found.n_imaginary,
        "is_linear": found.is_linear,
        "is_nearly_linear": found.is_nearly_linear,
        "rotational_constants_ghz": (rotational_constants(structure) * to_ghz).tolist(),
        "modes": [
            {
                **line_record(found.modes, mode),
                "motion": motion.text,
                "shares": dict(motion.shares),
                "moving_atoms": [atom + 1 for atom in motion.moving],
            }
            for mode, motion in enumerate(found.motions)
        ],
        "thermochemistry": {
            **_thermochemistry_record(found.thermochemistry),
            "symmetry_number_from": "geometry" if found.found_symmetry else "option",
        },
    }


def _thermochemistry_record(found: Thermochemistry) -> Record:
    to_joule = 1000.0 * HARTREE_TO_KJ_PER_MOL
    return {
        "temperature_kelvin": found.temperature,
        "pressure_bar": found.pressure,
        "symmetry_number": found.symmetry_number,
        "zero_point_energy_hartree": found.zero_point_energy,
        "zero_point_energy_kj_per_mol": found.zero_point_energy * HARTREE_TO_KJ_PER_MOL,
        "enthalpy_hartree": found.enthalpy,
        "gibbs_energy_hartree": found.gibbs_energy,
        "entropy_j_per_mol_kelvin": found.entropy * to_joule,
        "entropies_j_per_mol_kelvin": {name: value * to_joule for name, value in found.entropies.items()},
    }


def write_vibrations(
    found: Vibrations, record: Mapping[str, Any], folder: Path, width: float, other: Record | None = None
) -> Record:
    """Write the files of a molecule's vibrations; the record with their paths.

    Parameters
    ----------
    found : Vibrations
    record : mapping
        From ``summary``, and what else is to be said; ``modes.json`` has it with the Hessian, the dipole derivatives
        and the mass-weighted eigenvectors.
    folder : Path
    width : float
        Of the lines in the picture, cm^-1.
    other : mapping or None
        Of another source, from ``read_modes``, whose lines are drawn too.
    """
    modes, level = found.modes, record["source"]["level_of_theory"] or ""
    files = {"geometry": folder / _GEOMETRY[found.kind], "modes": folder / "modes.json"}
    harmonic = found.harmonic
    with writing(files["geometry"]) as out:
        label = {"level_of_theory": level} if level else {}
        write_extxyz(out, [(harmonic.structure, partial_result({"energy": harmonic.energy}))], None, **label)
    if modes.n_modes:
        files |= {"vectors": folder / "modes.xyz", "animations": folder / "modes", "picture": folder / "spectrum.png"}
        _write_motion(found, files["vectors"], files["animations"])
        title = f"{harmonic.structure.formula}, {_name(record['source'])}"
        theirs = None if other is None else normal_modes(harmonic_from(other))
        plot_modes(
            files["picture"],
            modes,
            width=width,
            title=title,
            label=level if other is None else described(record["source"]),
            other=theirs,
            other_label="" if other is None else described(other["source"]),
        )
    record = {**record, "files": {name: str(path) for name, path in files.items()}}
    vectors = [
        {"eigenvector_mass_weighted": vector.tolist(), "kinetic_energy_shares": motion.kinetic.tolist()}
        for vector, motion in zip(modes.eigenvectors, found.motions, strict=True)
    ]
    full = [{**one, **more} for one, more in zip(record["modes"], vectors, strict=True)]
    write_json(files["modes"], {**record, **harmonic_record(harmonic), "modes": full})
    return record


def _name(source: Mapping[str, Any]) -> str:
    """Backend or model, for people."""
    return str(source["name"] if source["kind"] == "backend" else Path(source["path"]).name)


def described(source: Mapping[str, Any]) -> str:
    """The level of theory, and model or backend where another source may have the same."""
    level = source["level_of_theory"]
    return f"{_name(source)}, {level}" if level else _name(source)


def _write_motion(found: Vibrations, vectors: Path, animations: Path) -> None:
    """One file with the displacement vectors of all modes, and one with a period of each."""
    modes, structure = found.modes, found.structure
    animations.mkdir(exist_ok=True)
    with writing(vectors) as out:
        for mode, shift in enumerate(displacements(modes) * BOHR_TO_ANGSTROM):
            frame = (structure, partial_result({}, more={"displacement": shift}))
            write_extxyz(out, [frame], {"displacement": _DISPLACEMENT}, **_labels(found, mode))
    for mode in range(modes.n_modes):
        with writing(animations / f"mode-{mode + 1:02d}.xyz") as out:
            frames = [(frame, partial_result({})) for frame in animation(modes, mode)]
            write_extxyz(out, frames, None, **_labels(found, mode))


def _labels(found: Vibrations, mode: int) -> dict[str, str]:
    return {
        "index": str(mode + 1),
        "frequency": f"{found.modes.wavenumbers[mode]:.2f}",
        "frequency_unit": "1/cm",
        "infrared_intensity": f"{found.modes.intensities[mode]:.3f}",
        "infrared_intensity_unit": "km/mol",
        "description": found.motions[mode].text,
    }


def read_modes(path: Path, structure: Structure) -> Record:
    """What ``write_vibrations`` wrote into ``modes.json`` for the molecule of a structure.

    Raises
    ------
    InputError, DataError
        There is no such file, it is none of this format, or of another molecule.
    """
    record = read_any_modes(path)
    check_same_molecule(structure, harmonic_from(record).structure)
    return record


def read_any_modes(path: Path) -> Record:
    """The same of whatever molecule."""
    if not path.is_file():
        raise InputError(f"There is no file {path} to compare with; name the modes.json that another call wrote.")
    record = read_json(path, advice="")
    if record.get("format") != FORMAT:
        raise DataError(f"{path} is no modes.json of densnet vibrations; its format is {record.get('format')!r}.")
    try:
        described(record["source"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} does not say where its modes are from ({error!r}); write it again.") from error
    harmonic_from(record, f"{path} is damaged ({{}}); write it again with densnet vibrations.")
    return {**record, "path": str(path)}


def compared(found: Vibrations, other: Record) -> Record:
    """The modes beside those of another source, from ``read_modes``; ``InputError`` if it is of another molecule."""
    theirs = normal_modes(harmonic_from(other))
    matches, distance = match_modes(found.modes, theirs)
    differences = deviations(found.modes, theirs, matches)
    rows = [
        {
            "mode": match.mode + 1,
            "other_mode": match.other + 1,
            "overlap": match.overlap,
            "other_wavenumber_per_cm": float(theirs.wavenumbers[match.other]),
            "other_intensity_km_per_mol": float(theirs.intensities[match.other]),
            "wavenumber_deviation_per_cm": float(differences.wavenumbers[place]),
            "intensity_deviation_km_per_mol": float(differences.intensities[place]),
        }
        for place, match in enumerate(matches)
    ]
    counted = theirs.wavenumbers[[match.other for match in matches]] >= COUNTED_ABOVE
    record: Record = {
        "other": other["path"],
        "other_source": other["source"],
        "geometry_distance_angstrom": distance * BOHR_TO_ANGSTROM,
        "modes": rows,
        "counted_above_per_cm": COUNTED_ABOVE,
    }
    for name, values in (
        ("wavenumber_deviation_per_cm", differences.wavenumbers),
        ("intensity_deviation_km_per_mol", differences.intensities),
    ):
        if counted.any():
            sizes = np.abs(values[counted])
            record |= {f"mean_{name}": float(sizes.mean()), f"largest_{name}": float(sizes.max())}
    return record
