"""Raman activity from the polarizabilities of molecular dynamics.

With a the mean and beta the traceless part of the polarizability of one molecule that does not turn,

    A(nu) = 1 / kB T * integral (45 <a_dot(0) a_dot(t)> + 21/2 <beta_dot(0) : beta_dot(t)>) exp(-i omega t) dt,

whose integral over a harmonic band is the activity 45 a'^2 + 7 gamma'^2 of its mode: classical dynamics in Placzek's
approximation, without the factor of the exciting light, (nu_0 - nu)^4 / nu, and of the thermal population, which who
compares with a measured spectrum multiplies by (D. A. Long, The Raman Effect, Wiley 2002, chapter 5; Thomas et al.,
Phys. Chem. Chem. Phys. 15, 6608 (2013)). The trajectory must be free of overall rotation, as the productions of the
engines begin: what turns, scatters too.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from densnet_core.spectra.infrared import Spectrum, TemperatureKind, checked_series, flux_spectrum
from densnet_core.spectra.intensity import (
    FLUX_SPECTRUM_TO_KM_PER_MOL,
    SQUARED_DIPOLE_DERIVATIVE_TO_KM_PER_MOL,
    SQUARED_POLARIZABILITY_DERIVATIVE_TO_ANGSTROM4_PER_DALTON,
    mean_and_rest,
)
from densnet_core.spectra.windows import Window

Array = NDArray[np.float64]


def raman_spectrum(
    polarizabilities: Array,
    frame_spacing: float,
    time_step: float | None,
    temperature: float,
    *,
    temperature_kind: TemperatureKind = "kinetic",
    window: Window = "gaussian",
    width: float = 10.0,
    max_wavenumber: float = 4500.0,
) -> Spectrum:
    """Raman activity of a molecule, averaged over its replicas and all orientations, angstrom^4/dalton per cm^-1.

    >>> for frame in run_together(model, molecules, velocities, stage, ["polarizability"]):
    ...     tensors.append(frame.outputs["polarizability"])
    >>> raman_spectrum(np.array(tensors), spacing, time_step, 300.0).intensity(3500.0, 3900.0)

    Parameters
    ----------
    polarizabilities : (n_frames, n_replicas, 3, 3)
        At equal spacing in time, bohr^3.
    frame_spacing, time_step, temperature, temperature_kind, window, width, max_wavenumber
        As for ``infrared_spectrum``.

    Raises
    ------
    InputError
        As ``infrared_spectrum``.
    """
    tensors = checked_series(polarizabilities, "polarizability", (3, 3))
    mean, rest = mean_and_rest(tensors)
    series = np.concatenate([sqrt(45.0) * mean[..., None], sqrt(10.5) * rest.reshape(*mean.shape, 9)], axis=2)
    # the same integral over a band as of a dipole, whose unit is known
    activity = SQUARED_POLARIZABILITY_DERIVATIVE_TO_ANGSTROM4_PER_DALTON / SQUARED_DIPOLE_DERIVATIVE_TO_KM_PER_MOL
    return flux_spectrum(
        series,
        FLUX_SPECTRUM_TO_KM_PER_MOL * activity,
        frame_spacing,
        time_step,
        temperature,
        temperature_kind=temperature_kind,
        window=window,
        width=width,
        max_wavenumber=max_wavenumber,
    )
