"""Which part of a spectrum belongs to which harmonic line: a row for each line, and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.spectra.bands import Band, bands, in_order
from densnet_core.spectra.infrared import Spectrum
from densnet_core.spectra.uncertainty import STRONG, standard_error, uneven_warning

Array = NDArray[np.float64]
WINDOW: Final = 100.0
"""Largest distance of a line's main band, cm^-1."""
REACH: Final = 250.0
"""Largest distance of its other bands from the line or the main band, cm^-1: of an anharmonic mode each replica has one
at its own energy."""
RESOLUTION: Final = 20.0


@dataclass(frozen=True)
class Row:
    """What belongs to a line, or to lines closer than the spectrum resolves.

    Parameters
    ----------
    modes : tuple of int
        Indices of the lines.
    wavenumber : float
        Their mean weighted by intensity, cm^-1.
    harmonic_intensity : float
        Their sum, km/mol.
    bands : tuple of Band
        Ascending.
    main : Band or None
        The one that is the line's by position and intensity; None: the spectrum shows none.
    intensity : float
        Of all bands, km/mol.
    error : float or None
        Its standard error over replicas.
    unevenness : float or None
        Standard error of the absorption as part of it, meant over the bands.
    """

    modes: tuple[int, ...]
    wavenumber: float
    harmonic_intensity: float
    bands: tuple[Band, ...]
    main: Band | None
    intensity: float
    error: float | None
    unevenness: float | None

    @property
    def ratio(self) -> float | None:
        """Intensity by the harmonic one; None where that is nothing."""
        return self.intensity / self.harmonic_intensity if self.harmonic_intensity > 0 else None


@dataclass(frozen=True)
class Assignment:
    """All of a spectrum between two wavenumbers.

    Parameters
    ----------
    lower, upper : float
        cm^-1.
    rows : tuple of Row
        Ascending.
    rest : float
        Intensity of what belongs to no line, km/mol; rows and rest add up to the spectrum's between the wavenumbers.
    rest_error : float or None
    others : tuple of Band
        The bands in the rest.
    errors : (n,) or None
        Standard error of the absorption over replicas at the wavenumbers of the spectrum, km/mol per cm^-1.
    warning : str or None
        Where the spectrum is uneven.
    expected : (n_replicas, n_modes) or None
        Intensity of each line that a replica should have by the energy that it started with in the mode, km/mol.
    """

    lower: float
    upper: float
    rows: tuple[Row, ...]
    rest: float
    rest_error: float | None
    others: tuple[Band, ...]
    errors: Array | None
    warning: str | None
    expected: Array | None = None

    def row_of(self, mode: int) -> Row:
        """The row of a line."""
        return next(row for row in self.rows if mode in row.modes)


def assign(
    spectrum: Spectrum,
    lines: Array,
    intensities: Array,
    *,
    lower: float = 400.0,
    upper: float = 4000.0,
    energies: Array | None = None,
) -> Assignment:
    """Share the bands of a spectrum among harmonic lines.

    Each line gets the main band that ``match_bands`` finds for it; any other band goes to the nearest line, or main
    band of a line, within ``REACH``; the rest to none.

    Parameters
    ----------
    spectrum : Spectrum
    lines, intensities : (n_modes,)
        cm^-1, ascending, and km/mol.
    lower, upper : float
        The range; it is made wider where lines would be outside.
    energies : (n_replicas, n_modes) or None
        With what each mode started in each replica, any unit, if the means over replicas are right by construction.
        Replicas of another conformer than the mode's have none in it.
    """
    lower = min([lower, *(lines - 2.0 * WINDOW)])
    upper = max([upper, *(lines + 2.0 * WINDOW)])
    lower, upper = max(lower, float(spectrum.wavenumbers[0])), min(upper, float(spectrum.wavenumbers[-1]))
    found = bands(spectrum, lower=lower, upper=upper, resolution=RESOLUTION)
    resolved = float(np.hypot(RESOLUTION, spectrum.settings.width))
    mains = in_order(lines, found, WINDOW, resolved)
    groups = _groups(lines, mains, resolved)
    owner = _owners(lines, found, mains, groups)
    rows, left = [], spectrum.replica_intensities(lower, upper)
    errors = error_curve(spectrum)
    every = None if energies is None else energies / energies.mean(axis=0) * np.maximum(intensities, 1e-12)
    one_each = min(spectrum.groups or (spectrum.settings.n_replicas,)) < 2
    for index, modes in enumerate(groups):
        own = tuple(band for band, group in zip(found, owner, strict=True) if group == index)
        candidates = [found[place] for place in (mains[mode] for mode in modes) if place is not None]
        main = max(candidates, key=lambda band: band.intensity, default=None)
        weights = np.maximum(intensities[list(modes)], 1e-12)
        expected = None if every is None else every[:, list(modes)].sum(axis=1)
        inside = _inside(spectrum, own)
        if errors is not None and spectrum.replicas is not None:
            errors[inside] = standard_error(spectrum.replicas[:, inside], expected, spectrum.groups)
        per_replica = np.sum([spectrum.replica_intensities(band.lower, band.upper) for band in own], axis=0)
        left = left - per_replica
        rows.append(
            Row(
                modes,
                float(weights @ lines[list(modes)] / weights.sum()),
                float(intensities[list(modes)].sum()),
                own,
                main,
                sum(band.intensity for band in own),
                _number(standard_error(per_replica, expected, spectrum.groups)) if own else None,
                None if errors is None else _part(errors[inside], spectrum.absorption[inside]),
            )
        )
    total = spectrum.intensity(lower, upper)
    strong = {
        row.main.position if row.main else row.bands[0].position: row.unevenness
        for row in rows
        if row.unevenness is not None and row.intensity > STRONG * total
    }
    return Assignment(
        lower,
        upper,
        tuple(rows),
        total - sum(row.intensity for row in rows),
        _number(standard_error(np.atleast_1d(left), None, spectrum.groups)),
        tuple(band for band, group in zip(found, owner, strict=True) if group is None),
        errors,
        uneven_warning(strong, 1 if one_each else spectrum.settings.n_replicas),
        every,
    )


def error_curve(spectrum: Spectrum) -> Array | None:
    """(n,) standard error of the absorption over replicas, km/mol per cm^-1; None of one replica."""
    return None if spectrum.replicas is None else standard_error(spectrum.replicas, None, spectrum.groups)


def _groups(lines: Array, mains: Sequence[int | None], resolved: float) -> list[tuple[int, ...]]:
    """Neighbouring lines together if they are closer than is resolved or have the same main band."""
    number, numbers = 0, [0] * len(lines)
    for mode in range(1, len(lines)):
        same = mains[mode] is not None and mains[mode] == mains[mode - 1]
        number += not (same or lines[mode] - lines[mode - 1] <= resolved)
        numbers[mode] = number
    return [tuple(modes) for _, modes in groupby(range(len(lines)), key=numbers.__getitem__)]


def _owners(
    lines: Array, found: Sequence[Band], mains: Sequence[int | None], groups: Sequence[tuple[int, ...]]
) -> list[int | None]:
    """The group of every band, None for the rest."""
    places = [
        (index, position)
        for index, modes in enumerate(groups)
        for mode in modes
        for position in (lines[mode], *([] if mains[mode] is None else [found[mains[mode] or 0].position]))
    ]
    owners: list[int | None] = []
    for number, band in enumerate(found):
        main_of = [index for index, modes in enumerate(groups) if any(mains[mode] == number for mode in modes)]
        distance, nearest = min(((abs(band.position - place), index) for index, place in places), default=(np.inf, 0))
        owners.append(main_of[0] if main_of else nearest if distance <= REACH else None)
    return owners


def _inside(spectrum: Spectrum, own: Sequence[Band]) -> NDArray[np.bool_]:
    inside = np.zeros(spectrum.wavenumbers.size, dtype=bool)
    for band in own:
        inside |= (spectrum.wavenumbers >= band.lower) & (spectrum.wavenumbers <= band.upper)
    return inside


def _part(errors: Array, absorption: Array) -> float | None:
    size = float(np.abs(absorption).sum())
    return float(errors.sum()) / size if size > 0 else None


def _number(value: Array | None) -> float | None:
    return None if value is None else float(value)
