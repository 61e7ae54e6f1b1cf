"""The spherically averaged density of a free atom, as a reference backend gives it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RadialDensity:
    """Spherically averaged electron density of a free atom on a radial grid.

    Parameters
    ----------
    radii : (n,)
        Distances from the nucleus, bohr, ascending.
    weights : (n,)
        Quadrature weights of integral f(r) 4 pi r^2 dr = sum_i w_i f(r_i).
    values : (n,)
        Density, electrons per bohr^3.
    """

    radii: Array
    weights: Array
    values: Array
