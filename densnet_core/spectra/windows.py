"""Windows on a trajectory and on the lags of its correlation function."""

from __future__ import annotations

from itertools import count
from math import ceil, floor
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, HARTREE_TO_WAVENUMBER

Array = NDArray[np.float64]
Window = Literal["gaussian", "hann"]

GAUSSIAN_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half maximum of a Gaussian, in standard deviations."""
_TAPERED = 0.1  # share of a trajectory faded in, and faded out
_GAUSSIAN_REACH = 3.7  # standard deviations after which a Gaussian lag window (1e-3) may be cut off


def ends_faded(n: int) -> Array:
    """Ones, with a squared sine at either end."""
    edge = max(int(_TAPERED * n), 1)
    rise = np.sin(0.5 * np.pi * (np.arange(edge) + 0.5) / edge) ** 2
    return np.concatenate([rise, np.ones(n - 2 * edge), rise[::-1]])


def rounded_up(value: float) -> float:
    """With two decimals, and never less than ``value``."""
    return ceil(100.0 * value) / 100.0


def fewest_lags(window: Window, width: float, spacing: float) -> int:
    """The smallest number of lags, ``spacing`` apart in atomic units, that a window of this width (cm^-1) needs."""
    # Of the last tenth of the lags only faded ends are left.
    usable = ceil(_reach(window, width) / spacing) + 1
    return next(n for n in count(floor(usable / (1.0 - _TAPERED))) if _usable(n) >= usable)


def _usable(n: int) -> int:
    return max(int((1.0 - _TAPERED) * n), 1)


def _reach(window: Window, width: float) -> float:
    """The lag, in atomic units, up to which a window needs the correlation function."""
    angular = width / HARTREE_TO_WAVENUMBER
    # A Hann window of half-length L has a transform of full width 2 pi / L at half maximum.
    return 2.0 * np.pi / angular if window == "hann" else _GAUSSIAN_REACH * GAUSSIAN_FWHM / angular


def lag_window(window: Window, width: float, spacing: float, n: int) -> Array:
    """Weights of the first lags of a correlation function, as many as the window reaches.

    Parameters
    ----------
    window : {"gaussian", "hann"}
    width : float
        Full width at half maximum of its transform, cm^-1.
    spacing : float
        Time between two lags, atomic units.
    n : int
        Number of frames.

    Raises
    ------
    InputError
        The trajectories are too short for the width.
    """
    if window not in get_args(Window):
        raise InputError(f"There is no window {window!r}; use one of {', '.join(get_args(Window))}.")
    if not (np.isfinite(width) and width > 0):
        raise InputError(f"The window's width must be positive, not {width} cm^-1.")
    angular, reach = width / HARTREE_TO_WAVENUMBER, _reach(window, width)
    needed, to_ps = fewest_lags(window, width, spacing), spacing * ATOMIC_TIME_TO_FEMTOSECOND * 1e-3
    if n < needed:
        longest = (_usable(n) - 1) * spacing
        raise InputError(
            f"A {window} window of {width:g} cm^-1 needs trajectories of at least {rounded_up(needed * to_ps)} ps, "
            f"these are {n * to_ps:.2f} ps long. Run longer or take a width (resolution) of at least "
            f"{width * reach / max(longest, spacing):.1f} cm^-1."
        )
    if window == "hann":
        lags = np.arange(int(reach / spacing) + 1) * spacing
        return np.asarray(0.5 * (1.0 + np.cos(np.pi * lags / reach)))
    sigma = angular / GAUSSIAN_FWHM
    lags = np.arange(min(_usable(n), int(8.0 / (sigma * spacing)) + 1)) * spacing
    return np.asarray(np.exp(-0.5 * (sigma * lags) ** 2))
