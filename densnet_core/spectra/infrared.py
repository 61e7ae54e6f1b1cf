"""Absolute infrared absorption from the dipole moments of molecular dynamics.

With mu_dot the time derivative of the dipole of one molecule,

    N_A sigma(nu) = N_A / (6 eps0 c kB T) * integral <mu_dot(0) . mu_dot(t)> exp(-i omega t) dt.

Classical dynamics with the harmonic quantum correction gives exactly this expression, so no further correction is
applied; the integral over a harmonic band is its double-harmonic intensity.

Time step
---------
Velocity Verlet with step h turns a mode of frequency omega into one of frequency omega', with
omega = (2/h) sin(omega' h / 2). The frequency axis is mapped back with this formula; for areas to survive, the density
is divided by d omega / d omega' = cos(omega' h / 2) = sqrt(1 - e), where e = (omega h / 2)^2.

A Verlet trajectory also has no single temperature. It conserves the shadow Hamiltonian
p^2/2m + m omega^2 (1 - e) q^2 / 2 exactly, with p the velocity at the time of the position (Toxvaerd, Phys. Rev. E 50,
2271 (1994); exact for a harmonic force). Hence, for one mode,

    <p^2/m> = (1 - e) <m omega^2 q^2>,

and the factor that makes the intensity exact depends on what the given temperature is the temperature of:
1 for the positions, 1 - e for the velocities, (1 - e) / (1 - e/2) for the canonical distribution of positions and
velocities that the trajectories were started from. At 3700 cm^-1 and 1 fs e is 0.12, at 0.5 fs 0.03.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.integrate import trapezoid

from densnet_core.errors import InputError
from densnet_core.spectra.intensity import FLUX_SPECTRUM_TO_KM_PER_MOL
from densnet_core.spectra.windows import Window, ends_faded, lag_window
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOLTZMANN, HARTREE_TO_WAVENUMBER

Array = NDArray[np.float64]
TemperatureKind = Literal["kinetic", "nominal", "configurational"]

_POINTS_PER_WIDTH = 12


@dataclass(frozen=True)
class SpectrumSettings:
    """How a spectrum was made; everything a reader needs to judge it.

    Parameters
    ----------
    temperature : float
        Kelvin.
    temperature_kind : {"kinetic", "nominal", "configurational"}
        What it is the temperature of, see ``infrared_spectrum``.
    frame_spacing : float
        Time between frames, femtosecond.
    time_step : float or None
        Time step of the dynamics, femtosecond; None if the frequencies were not corrected for it.
    n_frames, n_replicas : int
    window : {"gaussian", "hann"}
    width : float
        Full width at half maximum that the window gives a sharp line, cm^-1.
    """

    temperature: float
    temperature_kind: TemperatureKind
    frame_spacing: float
    time_step: float | None
    n_frames: int
    n_replicas: int
    window: Window
    width: float

    @property
    def length(self) -> float:
        """Length of each replica's trajectory, picosecond."""
        return (self.n_frames - 1) * self.frame_spacing * 1e-3


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Infrared absorption of one molecule, or its Raman activity (``densnet_core.spectra.raman``).

    Parameters
    ----------
    wavenumbers : (n,)
        cm^-1, ascending from 0; the spacing shrinks slightly where the time-step correction is large.
    absorption : (n,)
        N_A sigma, km/mol per cm^-1; Raman activity in angstrom^4/dalton per cm^-1.
    settings : SpectrumSettings
    replicas : (n_replicas, n) or None
        The spectrum of each replica, of which ``absorption`` is the mean.
    groups : tuple of int or None
        Of several trajectories with weights (``mixture``): how many of the replicas are of each, in order.
    """

    wavenumbers: Array
    absorption: Array
    settings: SpectrumSettings
    replicas: Array | None = None
    groups: tuple[int, ...] | None = None

    def intensity(self, lower: float = 0.0, upper: float = np.inf) -> float:
        """Integrated intensity between two wavenumbers (cm^-1), km/mol, by the trapezoidal rule."""
        return float(self._integrals(self.absorption[None], lower, upper)[0])

    def replica_intensities(self, lower: float = 0.0, upper: float = np.inf) -> Array:
        """(n_replicas,) what ``intensity`` gives for each replica; empty if they are not known."""
        return self._integrals(np.empty((0, 0)) if self.replicas is None else self.replicas, lower, upper)

    def _integrals(self, curves: Array, lower: float, upper: float) -> Array:
        lower = max(lower, float(self.wavenumbers[0]))
        upper = min(upper, float(self.wavenumbers[-1]))
        if upper <= lower:
            return np.zeros(len(curves))
        inside = (self.wavenumbers > lower) & (self.wavenumbers < upper)
        grid = np.concatenate([[lower], self.wavenumbers[inside], [upper]])
        return np.array([trapezoid(np.interp(grid, self.wavenumbers, curve), grid) for curve in curves])


def infrared_spectrum(
    dipoles: Array,
    frame_spacing: float,
    time_step: float | None,
    temperature: float,
    *,
    temperature_kind: TemperatureKind = "kinetic",
    window: Window = "gaussian",
    width: float = 10.0,
    max_wavenumber: float = 4500.0,
) -> Spectrum:
    """Absolute infrared spectrum of a molecule, averaged over its replicas.

    Parameters
    ----------
    dipoles : (n_frames, n_replicas, 3)
        Dipole moments at equal spacing in time, e bohr.
    frame_spacing : float
        Time between frames, atomic units.
    time_step : float or None
        Time step of the velocity-Verlet dynamics, atomic units; ``frame_spacing`` is a multiple of it. None for a
        trajectory without a time-step error: the frequencies are then taken as they are.
    temperature : float
        Kelvin.
    temperature_kind : {"kinetic", "nominal", "configurational"}
        ``"kinetic"``: measured in the trajectory from velocities at the times of the positions (OpenMM and velocity
        Verlet report this kinetic energy). ``"nominal"``: the bath in which positions and velocities were drawn
        before the constant-energy run. ``"configurational"``: measured from the potential energy, or from the
        half-step velocities of a leapfrog integrator. They differ by up to 12 % at 1 fs, see the module's text.
    window : {"gaussian", "hann"}
        Shape of the lag window; a Gaussian has no side lobes, a Hann window needs the shorter trajectory.
    width : float
        Full width at half maximum of a sharp line after windowing, cm^-1.
    max_wavenumber : float
        End of the spectrum, cm^-1. The frames must resolve it.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        Wrong shapes, values that are not finite, frames too far apart for ``max_wavenumber`` or trajectories too
        short for ``width``; the message says what would do.
    """
    return flux_spectrum(
        checked_series(dipoles, "dipole", (3,)),
        FLUX_SPECTRUM_TO_KM_PER_MOL,
        frame_spacing,
        time_step,
        temperature,
        temperature_kind=temperature_kind,
        window=window,
        width=width,
        max_wavenumber=max_wavenumber,
    )


def flux_spectrum(
    series: Array,
    unit: float,
    frame_spacing: float,
    time_step: float | None,
    temperature: float,
    *,
    temperature_kind: TemperatureKind,
    window: Window,
    width: float,
    max_wavenumber: float,
) -> Spectrum:
    """unit / kT times the integral of <x_dot(0) . x_dot(t)> exp(-i omega t) dt, for any quantity x of a molecule.

    Parameters
    ----------
    series : (n_frames, n_replicas, n_components)
        x at equal spacing in time.
    unit : float
        Of the result, per cm^-1.
    frame_spacing, time_step, temperature, temperature_kind, window, width, max_wavenumber
        See ``infrared_spectrum``.
    """
    _check_times(frame_spacing, time_step, temperature, temperature_kind, max_wavenumber)
    # Differences remove the static part and whiten slow motion, so that neither leaks into the bands; their exact
    # transfer function is divided out in _time_step_correction. For frames at every step they are the half-step
    # velocities, whose spectrum is omega^2 S_xx with the true omega.
    flux = np.diff(series, axis=0) / frame_spacing
    weights = lag_window(window, width, frame_spacing, len(flux))
    correlations = _autocorrelations(flux, weights.size) * weights
    observed, spectra = _cosine_transforms(correlations, frame_spacing, width)
    true, factor = _time_step_correction(observed, frame_spacing, time_step, temperature_kind)
    wavenumbers = true * HARTREE_TO_WAVENUMBER
    replicas = unit / (BOLTZMANN * temperature) * factor * spectra
    keep = wavenumbers <= max_wavenumber
    settings = SpectrumSettings(
        temperature=float(temperature),
        temperature_kind=temperature_kind,
        frame_spacing=float(frame_spacing) * ATOMIC_TIME_TO_FEMTOSECOND,
        time_step=None if time_step is None else float(time_step) * ATOMIC_TIME_TO_FEMTOSECOND,
        n_frames=int(series.shape[0]),
        n_replicas=int(series.shape[1]),
        window=window,
        width=float(width),
    )
    replicas = replicas[:, keep]
    return Spectrum(wavenumbers[keep], replicas.mean(axis=0), settings, replicas)


def true_frequency(observed: Array, time_step: float) -> Array:
    """Frequency of the continuous motion from that of its velocity-Verlet trajectory, both angular, atomic units."""
    return np.asarray(2.0 / time_step * np.sin(0.5 * time_step * np.asarray(observed)))


def _autocorrelations(series: Array, n_lags: int) -> Array:
    """<x(0) . x(t)> for lags 0 to n_lags-1, unbiased, (n_replicas, n_lags); series (n, n_replicas, 3)."""
    n = series.shape[0]
    size = next_fast_len(n + n_lags, real=True)
    # Fading the ends in and out keeps strong slow motion (rotation of a polar molecule) out of the vibrational bands:
    # abrupt ends would leak into all frequencies. Dividing by the taper's own correlation keeps the result unbiased.
    taper = ends_faded(n)
    sums = np.empty((series.shape[1], n_lags))
    for replica in range(len(sums)):  # one at a time: the padded transform of all would not fit in memory
        transform = rfft(series[:, replica] * taper[:, None], size, axis=0)
        power = (transform.real**2 + transform.imag**2).sum(axis=1)
        sums[replica] = irfft(power, size)[:n_lags]
    weights = irfft(np.abs(rfft(taper, size)) ** 2, size)[:n_lags]
    return np.asarray(sums / weights)


def _cosine_transforms(correlations: Array, spacing: float, width: float) -> tuple[Array, Array]:
    """Angular frequencies and the integrals over all t of C(t) exp(-i omega t) for even correlation functions."""
    n = correlations.shape[1]
    fine = 2.0 * np.pi / spacing / (width / HARTREE_TO_WAVENUMBER) * _POINTS_PER_WIDTH
    size = next_fast_len(max(2 * n, int(np.ceil(fine))), real=True)
    frequencies = 2.0 * np.pi * np.arange(size // 2 + 1) / (size * spacing)
    transforms = np.empty((len(correlations), frequencies.size))
    for correlation, transform in zip(correlations, transforms, strict=True):
        even = np.zeros(size)
        even[:n] = correlation
        even[size - n + 1 :] += correlation[:0:-1]
        transform[:] = spacing * rfft(even).real
    return frequencies, transforms


def _time_step_correction(
    observed: Array, spacing: float, time_step: float | None, kind: TemperatureKind
) -> tuple[Array, Array]:
    """True frequencies, and the factor from the spectrum of frame differences to the one of mu_dot per true omega."""
    true = observed if time_step is None else true_frequency(observed, time_step)
    difference = true_frequency(observed, spacing)
    ratio = np.divide(true, difference, out=np.ones_like(true), where=difference > 0)
    if time_step is None:
        return true, ratio**2
    remaining = np.maximum(1.0 - (0.5 * time_step * true) ** 2, 1e-12)  # 1 - e; zero at the Nyquist frequency only
    weight = {
        "configurational": np.ones_like(remaining),
        "kinetic": remaining,
        "nominal": 2.0 * remaining / (1.0 + remaining),
    }[kind]
    return true, ratio**2 * weight / np.sqrt(remaining)


def checked_series(values: Array, name: str, shape: tuple[int, ...]) -> Array:
    """Values (n_frames, n_replicas, *shape) as they are; ``InputError`` for another shape or what is not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 + len(shape) or values.shape[2:] != shape or values.shape[1] < 1 or values.shape[0] < 4:
        wanted = ", ".join(map(str, shape))
        plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
        raise InputError(
            f"{plural.capitalize()} must have shape (n_frames, n_replicas, {wanted}) with at least four frames, not "
            f"{values.shape}."
        )
    if not np.isfinite(values).all():
        frame, replica = np.argwhere(~np.isfinite(values))[0][:2]
        raise InputError(f"The {name} of frame {frame}, replica {replica} is not finite.")
    return values


def _check_times(
    spacing: float, time_step: float | None, temperature: float, kind: TemperatureKind, max_wavenumber: float
) -> None:
    if not (np.isfinite(temperature) and temperature > 0):
        raise InputError(f"The temperature must be positive, not {temperature} K.")
    if kind not in get_args(TemperatureKind):
        raise InputError(f"temperature_kind {kind!r} is not one of {', '.join(get_args(TemperatureKind))}.")
    if not (np.isfinite(spacing) and spacing > 0):
        raise InputError(f"The time between frames must be positive, not {spacing}.")
    if time_step is not None:
        steps = spacing / time_step if time_step > 0 else 0.0
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps:
            raise InputError(
                f"The time between frames ({spacing:g}) is not a whole number of time steps ({time_step:g})."
            )
    highest = np.pi / spacing
    highest = highest if time_step is None else float(true_frequency(np.array(highest), time_step))
    if not 0 < max_wavenumber <= highest * HARTREE_TO_WAVENUMBER:
        raise InputError(
            f"Frames {spacing * ATOMIC_TIME_TO_FEMTOSECOND:.3g} fs apart resolve wavenumbers up to "
            f"{highest * HARTREE_TO_WAVENUMBER:.0f} cm^-1 only; {max_wavenumber:g} cm^-1 was asked for, and faster "
            "motion would appear at false positions. Record frames more often, or lower max_wavenumber if the "
            "molecule has no faster vibration."
        )
