"""Bands of a spectrum: where they are, how intense, and which harmonic line each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from densnet_core.errors import InputError
from densnet_core.spectra.infrared import Spectrum
from densnet_core.spectra.windows import GAUSSIAN_FWHM

Array = NDArray[np.float64]

_SHOULDER = 0.2
"""A peak is a band if it rises by this fraction of its own height above the valleys beside it. Relative to itself, not
to the strongest one, so that a weak band counts and a ripple on the flank of a strong one does not."""


@dataclass(frozen=True)
class Band:
    """One band of a spectrum.

    Parameters
    ----------
    position : float
        Maximum of the band at the resolution it was looked for, cm^-1.
    centroid : float
        Intensity-weighted mean wavenumber, cm^-1.
    intensity : float
        Integral from ``lower`` to ``upper``, km/mol.
    height : float
        Absorption at the maximum, km/mol per cm^-1.
    lower, upper : float
        The valleys on both sides, cm^-1. Neighbouring bands share one, so that all bands, the weakest included, add up
        to the whole spectrum.
    """

    position: float
    centroid: float
    intensity: float
    height: float
    lower: float
    upper: float


@dataclass(frozen=True)
class LineMatch:
    """A harmonic line and the band it was found in, if any.

    Parameters
    ----------
    line : float
        cm^-1.
    band : Band or None
    """

    line: float
    band: Band | None

    @property
    def shift(self) -> float | None:
        """Band position minus line, cm^-1."""
        return None if self.band is None else self.band.position - self.line


def bands(
    spectrum: Spectrum,
    *,
    lower: float = 400.0,
    upper: float = 4000.0,
    resolution: float = 0.0,
    min_intensity: float = 0.02,
) -> list[Band]:
    """Bands between two wavenumbers, ascending.

    Parameters
    ----------
    spectrum : Spectrum
    lower, upper : float
        cm^-1.
    resolution : float
        The spectrum is smoothed by a Gaussian of this full width (cm^-1) before maxima are looked for, so that the
        splittings of a band in a short trajectory count as one. Intensities are those of the spectrum itself.
    min_intensity : float
        Weaker bands are left out, km/mol.
    """
    if not lower < upper:
        raise InputError(f"The range of bands is empty: {lower} to {upper} cm^-1.")
    grid, values = _uniform(spectrum, lower, upper)
    if grid.size < 3:
        return []
    step = float(grid[1] - grid[0])
    smooth = gaussian_filter1d(values, resolution / GAUSSIAN_FWHM / step, mode="nearest") if resolution > 0 else values
    peaks, shape = find_peaks(smooth, height=0.0, prominence=0.0)
    real = shape["prominences"] >= _SHOULDER * shape["peak_heights"]
    peaks = peaks[real & (shape["peak_heights"] > 0)]
    if peaks.size == 0:
        return []
    valleys = [a + int(np.argmin(smooth[a : b + 1])) for a, b in pairwise(peaks)]
    edges = [0, *valleys, grid.size - 1]
    found = []
    for peak, start, end in zip(peaks, edges[:-1], edges[1:], strict=True):
        part, of = values[start : end + 1], grid[start : end + 1]
        intensity = float(trapezoid(part, of))
        if intensity <= max(min_intensity, 0.0):
            continue
        found.append(
            Band(
                position=_vertex(grid, smooth, int(peak)),
                centroid=float(trapezoid(part * of, of)) / intensity,
                intensity=intensity,
                height=float(smooth[peak]),
                lower=float(grid[start]),
                upper=float(grid[end]),
            )
        )
    return found


def match_bands(
    spectrum: Spectrum,
    lines: Sequence[float] | Array,
    *,
    window: float = 100.0,
    resolution: float = 20.0,
    min_intensity: float = 0.02,
) -> list[LineMatch]:
    """The band that belongs to each harmonic line.

    Lines and bands are assigned together, in order: the assignment is the one that maximises the sum of
    ln(intensity) - (distance / (window / 3))^2 / 2. So a noise peak next to a line does not win over the real band a
    little farther away; and a strong band is not taken for its weak neighbour, because it belongs to its own line.
    Two lines share a band only if they are closer than the spectrum can resolve.

    Parameters
    ----------
    spectrum : Spectrum
    lines : (n,)
        Wavenumbers, cm^-1, in any order; all lines of the molecule should be given.
    window : float
        Largest distance of a band from its line, cm^-1.
    resolution : float
        Smoothing before bands are looked for, cm^-1.
    min_intensity : float
        What counts as a band, km/mol.

    Returns
    -------
    list of LineMatch
        One for each line, in the order given; ``band`` is None where the spectrum shows none.
    """
    if not window > 0:
        raise InputError(f"The matching window must be positive, not {window} cm^-1.")
    wanted = np.asarray(lines, dtype=np.float64)
    if wanted.size == 0:
        return []
    # Beyond the outermost lines the range reaches twice the window, so that a band is not cut at its own flank.
    lowest, highest = float(wanted.min()) - 2.0 * window, float(wanted.max()) + 2.0 * window
    found = bands(spectrum, lower=lowest, upper=highest, resolution=resolution, min_intensity=min_intensity)
    resolved = float(np.hypot(resolution, spectrum.settings.width))
    chosen = in_order(wanted, found, window, resolved)
    return [
        LineMatch(float(line), None if place is None else found[place])
        for line, place in zip(wanted, chosen, strict=True)
    ]


def in_order(lines: Array, found: Sequence[Band], window: float, resolved: float) -> list[int | None]:
    """For each line the index of its band, see ``match_bands``: by dynamic programming, ascending to ascending.

    Parameters
    ----------
    lines : (n,)
        cm^-1, in any order.
    found : sequence of Band
        Ascending.
    window, resolved : float
        Largest distance of a band from its line, and of lines that may share one, cm^-1.
    """
    order = np.argsort(lines)
    ascending = lines[order]
    none_score = -20.0  # below any real band: a line goes without one only if there is none left for it
    # ``best[b]`` is the score of the lines so far if the last band used is b (-1 for none); ``paths[b]`` is its choice.
    best: dict[int, float] = {-1: 0.0}
    paths: dict[int, list[int | None]] = {-1: []}
    for index, line in enumerate(ascending):
        close = index > 0 and line - ascending[index - 1] <= resolved
        new_best: dict[int, float] = {}
        new_paths: dict[int, list[int | None]] = {}
        for last, score in best.items():
            path = paths[last]
            options: list[tuple[int, int | None, float]] = [(last, None, none_score)]
            shares = close and bool(path) and path[-1] == last
            for candidate in range(last if shares else last + 1, len(found)):
                distance = found[candidate].position - line
                if abs(distance) <= window:
                    merit = float(np.log(found[candidate].intensity)) - 4.5 * (distance / window) ** 2
                    options.append((candidate, candidate, merit))
            for state, choice, gain in options:
                if score + gain > new_best.get(state, -np.inf):
                    new_best[state] = score + gain
                    new_paths[state] = [*path, choice]
        best, paths = new_best, new_paths
    chosen: list[int | None] = [None] * len(lines)
    for place, choice in zip(order, paths[max(best, key=lambda state: best[state])], strict=True):
        chosen[place] = choice
    return chosen


def _uniform(spectrum: Spectrum, lower: float, upper: float) -> tuple[Array, Array]:
    """The part of the spectrum in a range, on an equidistant grid as fine as its own."""
    lower = max(lower, float(spectrum.wavenumbers[0]))
    upper = min(upper, float(spectrum.wavenumbers[-1]))
    if upper <= lower:
        return np.empty(0), np.empty(0)
    finest = float(np.median(np.diff(spectrum.wavenumbers)))
    grid = np.linspace(lower, upper, max(int(np.ceil((upper - lower) / finest)) + 1, 3))
    return grid, np.asarray(np.interp(grid, spectrum.wavenumbers, spectrum.absorption))


def _vertex(grid: Array, values: Array, peak: int) -> float:
    """Maximum of the parabola through the highest point and its neighbours."""
    left, top, right = values[peak - 1 : peak + 2]
    curvature = left - 2.0 * top + right
    offset = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float(grid[peak] + offset * (grid[1] - grid[0]))
