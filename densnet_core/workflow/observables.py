"""Observables of a prediction as plain records: numbers with the unit in the name of their key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.density.charges import coefficient_charges, hirshfeld_charges
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.surface import ISODENSITY, surface_potential
from densnet_core.errors import InputError, nearest
from densnet_core.files.header import check_header, positions_of
from densnet_core.files.words import words
from densnet_core.files.xyz import read_frames
from densnet_core.models.domain import Extrapolation
from densnet_core.potentials.densnet import DenSNet, Prediction
from densnet_core.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]
_OTHER_UNITS: Final = {"bohr", "au", "nm", "pm", "nanometer", "picometer"}
Record = dict[str, Any]


def _charges(density: ExpandedDensity) -> Record:
    return {
        "hirshfeld_charges_e": hirshfeld_charges(density).tolist(),
        "coefficient_charges_e": coefficient_charges(density).tolist(),
    }


def _quadrupole(density: ExpandedDensity) -> Record:
    structure = density.structure
    centre = structure.masses @ structure.positions / structure.masses.sum()
    return {
        "quadrupole_debye_angstrom": (density.quadrupole(centre) * AU_TO_DEBYE * BOHR_TO_ANGSTROM).tolist(),
        "quadrupole_origin_angstrom": (centre * BOHR_TO_ANGSTROM).tolist(),
    }


def _hartree_energy(density: ExpandedDensity) -> Record:
    return {"hartree_energy_hartree": density.hartree_energy()}


def _nuclear_attraction_energy(density: ExpandedDensity) -> Record:
    return {"nuclear_attraction_energy_hartree": density.nuclear_attraction_energy()}


def _hellmann_feynman_forces(density: ExpandedDensity) -> Record:
    forces = density.hellmann_feynman_forces() * EV_PER_ANGSTROM
    return {"hellmann_feynman_forces_ev_per_angstrom": forces.tolist()}


def _surface_potential(density: ExpandedDensity) -> Record:
    potential = surface_potential(density)
    return {
        "surface_potential": {
            "isodensity_e_per_bohr3": ISODENSITY,
            "area_angstrom2": potential.surface.area * BOHR_TO_ANGSTROM**2,
            "minimum_volt": potential.minimum * HARTREE_TO_EV,
            "maximum_volt": potential.maximum * HARTREE_TO_EV,
            "mean_volt": potential.mean * HARTREE_TO_EV,
        }
    }


ALWAYS: Final = ("energy", "forces", "dipole", "electron_count", "polarizability")
"""What every prediction has, if the model has it."""
PROPERTIES: Final[dict[str, Callable[[ExpandedDensity], Record]]] = {
    "charges": _charges,
    "quadrupole": _quadrupole,
    "hartree_energy": _hartree_energy,
    "nuclear_attraction_energy": _nuclear_attraction_energy,
    "hellmann_feynman_forces": _hellmann_feynman_forces,
    "surface_potential": _surface_potential,
}
"""What can be asked of a density beyond its dipole and electron count, which every record has.

Keys of the records: atomic charges in e (Hirshfeld's and those by the atom that carries the functions); the traceless
quadrupole in debye angstrom about the centre of mass (Buckingham's convention); energies in hartree; electrostatic
forces on the nuclei in eV/angstrom; the potential on the surface of density 0.001 electrons per bohr^3 in volt.
"""


def chosen_properties(words: str) -> list[str]:
    """Names of ``PROPERTIES`` from a comma-separated list; ``all`` means all of them.

    Raises
    ------
    InputError
        For an unknown name, with the nearest ones.
    """
    names = [word.strip() for word in words.split(",") if word.strip()]
    if "all" in names:
        return list(PROPERTIES)
    for name in names:
        if name in ALWAYS:
            raise InputError(f"{name} is always given where the model has it; leave it out of the properties.")
        if name not in PROPERTIES:
            raise InputError(f"There is no property {name!r}. {nearest(name, [*PROPERTIES, 'all'])}")
    return list(dict.fromkeys(names))


def prediction_record(prediction: Prediction, properties: Iterable[str] = ()) -> Record:
    """Energy, forces, dipole, electron count, polarizability if any, and the properties asked for, as plain data."""
    tensor = prediction.polarizability
    return {
        "formula": prediction.density.structure.formula,
        "energy_hartree": prediction.energy,
        "energy_ev": prediction.energy * HARTREE_TO_EV,
        "forces_ev_per_angstrom": (prediction.forces * EV_PER_ANGSTROM).tolist(),
        **density_record(prediction.density, properties),
        **({} if tensor is None else {"polarizability_angstrom3": (tensor * BOHR_TO_ANGSTROM**3).tolist()}),
    }


def density_record(density: ExpandedDensity, properties: Iterable[str] = ()) -> Record:
    """What follows from a density alone: dipole, electron count and the properties asked for, as plain data."""
    record: Record = {
        "formula": density.structure.formula,
        "dipole_debye": (density.dipole() * AU_TO_DEBYE).tolist(),
        "electron_count": density.electron_count(),
    }
    for name in properties:
        record |= PROPERTIES[name](density)
    return record


def refuse_unlike(model: DenSNet, unlike: Sequence[Extrapolation]) -> None:
    """``InputError`` naming the first frame that is unlike those the model was trained on, or if it does not know."""
    if not model.domain.surroundings:
        raise InputError("The model does not know how far a geometry is from its training data; leave out --strict.")
    if far := [index for index, one in enumerate(unlike) if one.reasons]:
        raise InputError(
            f"{len(far)} of {len(unlike)} frames are unlike those the model was trained on, first frame {far[0]}: "
            f"{'; '.join(unlike[far[0]].reasons)}. Train on such frames, or leave out --strict."
        )


def potential_record(density: ExpandedDensity, points: Array) -> list[Record]:
    """Electrostatic potential at points (n_points, 3) in bohr, as plain data.

    Raises
    ------
    InputError
        A point lies on a nucleus, where the potential is infinite.
    """
    values = density.electrostatic_potential(points)
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"Point {place + 1} lies on a nucleus, where the electrostatic potential is infinite. Leave it out."
        )
    return [
        {"position_angstrom": (point * BOHR_TO_ANGSTROM).tolist(), "potential_hartree_per_e": float(value)}
        for point, value in zip(points, values, strict=True)
    ]


def read_points(path: Path) -> Array:
    """Points (n_points, 3) in bohr from a file in angstrom: three numbers to a line, or an XYZ file.

    Numbers are separated by commas or blanks. Empty lines, lines that start with # and one line of column names are
    skipped. An XYZ file (the first line is a count) is read as geometries are, but its symbols are ignored.

    Raises
    ------
    InputError, DataError
        If the file cannot be read; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"Cannot read the points {path}: {reason}.") from error
    if lines and lines[0].strip().isdigit():
        return _points_of_frame(path)
    points: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        numbers = _numbers(fields)
        is_comment = not fields or fields[0].startswith("#")
        names_columns = numbers is None and not points and _numbers(fields[:1]) is None
        if is_comment or names_columns:
            if _OTHER_UNITS & set(words(line)):
                raise InputError(f"{path}, line {number}: points are read in angstrom, found {line.strip()!r}.")
            continue
        if numbers is None or len(numbers) != 3:
            raise InputError(f"{path}, line {number}: expected 'x, y, z' in angstrom, found {line.strip()!r}.")
        points.append(numbers)
    if not points:
        raise InputError(f"{path} holds no points.")
    return np.array(points) / BOHR_TO_ANGSTROM


def _points_of_frame(path: Path) -> Array:
    frames = list(read_frames(path))
    if len(frames) > 1:
        raise InputError(f"{path} has {len(frames)} frames; expected one with all points.")
    check_header(frames[0])
    return positions_of(frames[0])


def _numbers(fields: list[str]) -> list[float] | None:
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return None
    return numbers if all(np.isfinite(numbers)) else None
