"""Pictures of a density: a slice through the molecule as a PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from numpy.typing import NDArray

from densnet_core.density.cube import TITLES, Quantity, field_values
from densnet_core.density.electron import Density
from densnet_core.density.frame import principal_axes
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

_LABELS: Final[dict[Quantity, str]] = {
    "density": "Electron density (e bohr$^{-3}$)",
    "difference": "Density minus free atoms (e bohr$^{-3}$)",
    "potential": "Electrostatic potential (hartree/e)",
}
_LOWEST_DENSITY: Final = 1e-4
_HIGHEST_DENSITY: Final = 1.0
# Where chemistry is told apart; the potential's poles at the nuclei and the steep difference next to them would leave
# the rest white.
_LIMITS: Final[dict[Quantity, float]] = {"difference": 0.05, "potential": 0.1}
_IN_PLANE: Final = 0.3 / BOHR_TO_ANGSTROM
"""Atoms nearer to the plane (bohr) are named with full letters, others in grey."""


def plot_slice(
    path: str | Path,
    density: Density,
    quantity: Quantity = "density",
    axes: Array | None = None,
    centre: Array | None = None,
    margin: float = 4.0,
    n_points: int = 161,
    limit: float | None = None,
    title: str = "",
    dpi: int = 200,
) -> None:
    """PNG of a quantity on a plane through the molecule, with its atoms.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    density : Density
    quantity : {"density", "difference", "potential"}
        The density is drawn on a logarithmic scale from 1e-4 to 1 electrons per bohr^3, the others on a linear one
        around zero; what is beyond takes the last colour.
    axes : (2, 3), optional
        Orthonormal directions to the right and up; the principal axes along which the atoms spread most if omitted,
        so that a planar molecule lies in the picture.
    centre : (3,), optional
        A point of the plane, bohr; the mean of the atoms if omitted.
    margin : float
        Distance from the outermost atoms to the picture's edge, bohr.
    n_points : int
        Along the longer side.
    limit : float, optional
        End of the linear scale; 0.05 electrons per bohr^3 or 0.1 hartree/e if omitted.
    title : str
        The formula if empty.
    dpi : int

    Raises
    ------
    InputError
        Axes that are not orthonormal, fewer than two points, an unknown quantity, or a file that cannot be written.
    """
    values_at = field_values(density, quantity)
    middle, principal = principal_axes(density.structure)
    plane = principal[:2] if axes is None else np.asarray(axes, dtype=np.float64)
    middle = middle if centre is None else np.asarray(centre, dtype=np.float64)
    if plane.shape != (2, 3) or not np.allclose(plane @ plane.T, np.eye(2), atol=1e-6) or middle.shape != (3,):
        raise InputError("A slice needs two orthonormal directions, of shape (2, 3), and a centre of shape (3,).")
    limit = _LIMITS.get(quantity, _HIGHEST_DENSITY) if limit is None else limit
    if n_points < 2 or not margin > 0.0 or not limit > 0.0:
        raise InputError(
            "A slice needs at least two points, a positive margin and a positive limit of its scale, not "
            f"{n_points}, {margin} and {limit}."
        )
    places = (density.structure.positions - middle) @ plane.T
    low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
    spacing = float((high - low).max()) / (n_points - 1)
    across, up = (np.arange(low[i], high[i] + 0.5 * spacing, spacing) for i in (0, 1))
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    values = values_at(middle + grid.reshape(-1, 2) @ plane).reshape(grid.shape[:2])

    width = 6.4
    height = 0.95 + (width - 1.6) * len(up) / len(across)
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    drawing = figure.add_subplot()
    filled = _draw_values(drawing, across, up, values, quantity, limit)
    heights = (density.structure.positions - middle) @ np.cross(*plane)
    _draw_atoms(drawing, density.structure, places, heights)
    drawing.set_aspect("equal")
    drawing.set_xlabel("\u00c5", fontsize=10)
    drawing.set_ylabel("\u00c5", fontsize=10)
    drawing.tick_params(labelsize=9)
    drawing.set_title(title or density.structure.formula, fontsize=11)
    bar = figure.colorbar(filled, ax=drawing, shrink=0.9, pad=0.02)
    bar.set_label(_LABELS[quantity], fontsize=10)
    bar.ax.tick_params(labelsize=9)
    try:
        figure.savefig(path, format="png", metadata={"Title": f"{TITLES[quantity][0]}, {TITLES[quantity][1]}"})
    except OSError as error:
        raise InputError(f"Cannot write the picture {path}: {error.strerror}.") from error


def _draw_values(
    drawing: Axes, across: Array, up: Array, values: Array, quantity: Quantity, limit: float
) -> QuadContourSet:
    x, y = across * BOHR_TO_ANGSTROM, up * BOHR_TO_ANGSTROM
    if quantity == "density":
        decades = np.log10(_HIGHEST_DENSITY / _LOWEST_DENSITY)
        levels = np.geomspace(_LOWEST_DENSITY, _HIGHEST_DENSITY, int(8 * decades) + 1)
        shown = np.clip(values, _LOWEST_DENSITY, _HIGHEST_DENSITY)
        norm: Normalize = LogNorm(_LOWEST_DENSITY, _HIGHEST_DENSITY)
        filled = drawing.contourf(x, y, shown, levels=levels, norm=norm, cmap="viridis")
        lines = levels[::4]
    else:
        shown = np.clip(values, -limit, limit)
        # Red and blue are told apart with every common colour blindness; blue is where electrons are missing.
        colours = "RdBu_r" if quantity == "difference" else "RdBu"
        filled = drawing.contourf(x, y, shown, levels=np.linspace(-limit, limit, 41), cmap=colours)
        lines = np.linspace(-limit, limit, 9)[1:-1]
    drawing.contour(x, y, shown, levels=lines, colors="black", linewidths=0.4, alpha=0.5)
    return filled


def _draw_atoms(drawing: Axes, structure: Structure, places: Array, heights: Array) -> None:
    for number, (x, y), height in zip(structure.numbers, places * BOHR_TO_ANGSTROM, heights, strict=True):
        near = abs(height) < _IN_PLANE
        drawing.text(
            x,
            y,
            symbol(int(number)),
            ha="center",
            va="center",
            fontsize=9,
            color="black" if near else "#555555",
            bbox={
                "boxstyle": "circle,pad=0.15",
                "facecolor": "white",
                "alpha": 0.85 if near else 0.4,
                "linewidth": 0.4,
            },
        )
