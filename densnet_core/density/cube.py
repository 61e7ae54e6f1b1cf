"""Gaussian cube files of an electron density, its difference to the atoms, or its electrostatic potential."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from densnet_core.density.electron import Density, ExpandedDensity
from densnet_core.errors import InputError, nearest

Array = NDArray[np.float64]
Quantity = Literal["density", "difference", "potential"]
TITLES: Final[dict[Quantity, tuple[str, str]]] = {
    "density": ("electron density", "electrons per bohr^3"),
    "difference": ("electron density minus superposed free atoms", "electrons per bohr^3"),
    "potential": ("electrostatic potential of nuclei and electrons", "hartree/e"),
}
"""Name and unit of what can be put on a grid."""
MOST_POINTS: Final = 1e9
"""Of a cube: a file of 13 GB."""


def field_values(density: Density, quantity: Quantity) -> Callable[[Array], Array]:
    """The function from points (n_points, 3) in bohr to values (n_points,) of a quantity of ``TITLES``.

    Raises
    ------
    InputError
        For an unknown quantity, or one that this kind of density does not have.
    """
    if quantity not in TITLES:
        raise InputError(f"There is no field {quantity!r} of a density. {nearest(quantity, TITLES)}")
    if quantity == "density":
        return density.evaluate
    if not isinstance(density, ExpandedDensity):
        raise InputError(f"{type(density).__name__} has no {quantity!r}: fit it to a basis first.")
    return density.difference if quantity == "difference" else density.electrostatic_potential


def write_cube(
    path: str | Path,
    density: Density,
    quantity: Quantity = "density",
    *,
    spacing: float = 0.2,
    margin: float = 5.0,
) -> None:
    """Write a density, or what follows from it, on a regular grid around the molecule.

    Parameters
    ----------
    path : path
    density : Density
    quantity : {"density", "difference", "potential"}
        Electrons per bohr^3; the same minus the superposed free atoms; hartree/e.
    spacing : float
        Distance of neighbouring points, bohr.
    margin : float
        Distance from the outermost nuclei to the faces of the box, bohr.

    Raises
    ------
    InputError
        If the quantity is unknown, spacing or margin is impossible or the file cannot be written.

    Notes
    -----
    The format is that of Gaussian's cubegen: lengths in bohr, which positive counts of points say, the third axis
    running fastest, six values to a line and a new line for every row of it. The potential has a pole at each nucleus;
    values above that of the heaviest nucleus alone at half the spacing are cut there.
    """
    values = field_values(density, quantity)
    if not (0 < spacing < np.inf and 0 <= margin < np.inf):
        raise InputError(f"A cube needs a positive spacing and a margin of at least zero, not {spacing} and {margin}.")
    structure = density.structure
    highest = 2.0 * float(structure.numbers.max()) / spacing if quantity == "potential" else np.inf
    origin = structure.positions.min(axis=0) - margin
    extent = structure.positions.max(axis=0) + margin - origin
    if np.any(extent > MOST_POINTS * spacing) or np.prod(extent / spacing + 1.0) > MOST_POINTS:
        raise InputError(f"A cube of {extent} bohr has more than {MOST_POINTS:.0e} points; take a wider spacing.")
    counts = np.ceil(extent / spacing).astype(int) + 1
    y, z = (origin[axis] + spacing * np.arange(counts[axis]) for axis in (1, 2))
    plane = np.stack(np.meshgrid(y, z, indexing="ij"), axis=-1).reshape(-1, 2)
    try:
        with Path(path).open("w", encoding="utf-8") as file:
            file.write(_header(density, quantity, origin, counts, spacing))
            for i in range(counts[0]):  # plane by plane, so that memory stays small
                points = np.column_stack([np.full(len(plane), origin[0] + spacing * i), plane])
                for row in np.minimum(values(points), highest).reshape(counts[1], counts[2]):
                    for start in range(0, len(row), 6):
                        file.write("".join(f"{v:13.5e}" for v in row[start : start + 6]) + "\n")
    except OSError as error:
        raise InputError(f"The cube file {path} cannot be written: {error.strerror}.") from error


def _header(density: Density, quantity: Quantity, origin: Array, counts: NDArray[np.int64], spacing: float) -> str:
    structure = density.structure
    name, unit = TITLES[quantity]
    lines = [
        f"{name} of {structure.formula}, {unit}",
        "written by DenSNet; lengths in bohr",
        f"{structure.n_atoms:5d}" + "".join(f"{x:12.6f}" for x in origin),
    ]
    for axis in range(3):
        step = np.eye(3)[axis] * spacing
        lines.append(f"{counts[axis]:5d}" + "".join(f"{x:12.6f}" for x in step))
    for number, position in zip(structure.numbers, structure.positions, strict=True):
        lines.append(f"{number:5d}{float(number):12.6f}" + "".join(f"{x:12.6f}" for x in position))
    return "\n".join(lines) + "\n"
