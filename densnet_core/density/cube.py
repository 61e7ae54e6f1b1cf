"""Gaussian cube files of an electron density."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densnet_core.density.electron import Density
from densnet_core.errors import InputError


def write_cube(path: str | Path, density: Density, spacing: float = 0.2, margin: float = 5.0) -> None:
    """Write a density on a regular grid around the molecule.

    Parameters
    ----------
    path : path
    density : Density
    spacing : float
        Distance of neighbouring points, bohr.
    margin : float
        Distance from the outermost nuclei to the faces of the box, bohr.

    Raises
    ------
    InputError
        If spacing or margin is impossible or the file cannot be written.

    Notes
    -----
    The format is that of Gaussian's cubegen: positions in bohr, values in electrons per cubic bohr, the third axis
    running fastest, six values to a line.
    """
    if spacing <= 0 or margin < 0:
        raise InputError(f"A cube needs a positive spacing and a margin of at least zero, not {spacing} and {margin}.")
    structure = density.structure
    origin = structure.positions.min(axis=0) - margin
    counts = np.ceil((structure.positions.max(axis=0) + margin - origin) / spacing).astype(int) + 1
    lines = [
        f"electron density of {structure.formula}, electrons per bohr^3",
        "written by DenSNet; lengths in bohr",
        f"{structure.n_atoms:5d}" + "".join(f"{x:12.6f}" for x in origin),
    ]
    for axis in range(3):
        step = np.eye(3)[axis] * spacing
        lines.append(f"{counts[axis]:5d}" + "".join(f"{x:12.6f}" for x in step))
    for number, position in zip(structure.numbers, structure.positions, strict=True):
        lines.append(f"{number:5d}{float(number):12.6f}" + "".join(f"{x:12.6f}" for x in position))
    y, z = (origin[axis] + spacing * np.arange(counts[axis]) for axis in (1, 2))
    plane = np.stack(np.meshgrid(y, z, indexing="ij"), axis=-1).reshape(-1, 2)
    for i in range(counts[0]):  # plane by plane, so that memory stays small
        points = np.column_stack([np.full(len(plane), origin[0] + spacing * i), plane])
        values = density.evaluate(points).reshape(counts[1], counts[2])
        for row in values:
            lines += ["".join(f"{v:13.5e}" for v in row[start : start + 6]) for start in range(0, len(row), 6)]
    try:
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"The cube file {path} cannot be written: {error.strerror}.") from error
