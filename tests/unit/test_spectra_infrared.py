"""Absolute intensities, positions and widths of spectra from trajectories whose answer is known on paper."""

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.spectra.infrared import infrared_spectrum
from densnet_core.spectra.raman import raman_spectrum
from densnet_core.units import (
    ATOMIC_TIME_TO_FEMTOSECOND,
    AU_TO_DEBYE,
    BOHR_TO_ANGSTROM,
    BOLTZMANN,
    DALTON_TO_ELECTRON_MASS,
    HARTREE_TO_WAVENUMBER,
)

TEMPERATURE = 300.0
KT = BOLTZMANN * TEMPERATURE
DEBYE_PER_ANGSTROM_ROOT_DALTON = BOHR_TO_ANGSTROM / AU_TO_DEBYE / np.sqrt(DALTON_TO_ELECTRON_MASS)
KM_PER_MOL = 42.256  # of one such oscillator, the conversion factor of the harmonic-frequency literature


def verlet(wavenumber, step, n_steps, position, velocity):
    """Positions and velocities of an oscillator of unit mass, integrated by velocity Verlet."""
    force_constant = (wavenumber / HARTREE_TO_WAVENUMBER) ** 2
    positions, velocities = np.empty(n_steps), np.empty(n_steps)
    for index in range(n_steps):
        positions[index], velocities[index] = position, velocity
        velocity = velocity - 0.5 * step * force_constant * position
        position = position + step * velocity
        velocity = velocity - 0.5 * step * force_constant * position
    return positions, velocities


def oscillator(wavenumber, femtoseconds, picoseconds=8.0):
    step = femtoseconds / ATOMIC_TIME_TO_FEMTOSECOND
    start = np.sqrt(2.0 * KT) * HARTREE_TO_WAVENUMBER / wavenumber
    positions, velocities = verlet(wavenumber, step, int(1000 * picoseconds / femtoseconds), start, 0.0)
    return step, positions, velocities


def dipoles_of(positions, static=0.7):
    dipoles = np.zeros((len(positions), 1, 3))
    dipoles[:, 0, :] = static + DEBYE_PER_ANGSTROM_ROOT_DALTON * positions[:, None] * [0.6, 0.0, 0.8]
    return dipoles


@pytest.mark.parametrize("femtoseconds", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("wavenumber", [500.0, 1600.0, 3700.0])
@pytest.mark.parametrize("window", ["gaussian", "hann"])
def test_an_oscillator_has_its_textbook_intensity_at_its_true_frequency(wavenumber, femtoseconds, window):
    step, positions, velocities = oscillator(wavenumber, femtoseconds)
    kinetic = np.mean(velocities**2) / BOLTZMANN
    spectrum = infrared_spectrum(dipoles_of(positions), step, step, kinetic, window=window)
    assert spectrum.intensity(wavenumber - 150, wavenumber + 150) == pytest.approx(KM_PER_MOL, rel=2e-3)
    assert spectrum.wavenumbers[np.argmax(spectrum.absorption)] == pytest.approx(wavenumber, abs=0.5)


@pytest.mark.parametrize("wavenumber", [500.0, 3700.0])
def test_an_oscillator_has_the_raman_activity_of_its_mode(wavenumber):
    """45 a'^2 + 7 gamma'^2 with gamma'^2 written out as in textbooks, angstrom^4/dalton."""
    step, positions, velocities = oscillator(wavenumber, 0.5)
    slope = np.random.default_rng(1).normal(size=(3, 3))
    slope = 0.5 * (slope + slope.T)
    tensors = 9.0 * np.eye(3) + positions[:, None, None, None] * slope
    kinetic = np.mean(velocities**2) / BOLTZMANN
    spectrum = raman_spectrum(tensors, step, step, kinetic)
    mean = np.trace(slope) / 3.0
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = slope
    squared = 0.5 * ((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2) + 3.0 * (xy**2 + yz**2 + xz**2)
    expected = (45.0 * mean**2 + 7.0 * squared) * BOHR_TO_ANGSTROM**4 * DALTON_TO_ELECTRON_MASS
    assert spectrum.intensity(wavenumber - 150, wavenumber + 150) == pytest.approx(expected, rel=2e-3)
    assert spectrum.wavenumbers[np.argmax(spectrum.absorption)] == pytest.approx(wavenumber, abs=0.5)
    with pytest.raises(InputError, match=r"Polarizabilities must have shape \(n_frames, n_replicas, 3, 3\)"):
        raman_spectrum(tensors[:, 0], step, step, kinetic)
    tensors[7, 0, 1, 1] = np.nan
    with pytest.raises(InputError, match="The polarizability of frame 7, replica 0 is not finite"):
        raman_spectrum(tensors, step, step, kinetic)


@pytest.mark.parametrize("kind", ["kinetic", "nominal", "configurational"])
def test_every_definition_of_the_temperature_gives_the_same_absolute_intensity(kind):
    wavenumber, step = 3700.0, 1.0 / ATOMIC_TIME_TO_FEMTOSECOND
    omega = wavenumber / HARTREE_TO_WAVENUMBER
    generator = np.random.default_rng(3)
    temperatures = []
    dipoles = []
    for quarter in range(8):
        # A stratified canonical start: four opposite phases with one energy cancel its potential-kinetic covariance.
        angle = 0.25 * np.pi * quarter + generator.uniform(0, 1e-3)
        start = np.sqrt(2.0 * KT) * np.array([np.cos(angle) / omega, np.sin(angle)])
        positions, velocities = verlet(wavenumber, step, 8000, *start)
        dipoles.append(dipoles_of(positions))
        measured = {"kinetic": velocities**2, "configurational": (omega * positions) ** 2}
        temperatures.append(np.mean(measured[kind]) / BOLTZMANN if kind in measured else TEMPERATURE)
    spectrum = infrared_spectrum(
        np.concatenate(dipoles, axis=1), step, step, float(np.mean(temperatures)), temperature_kind=kind
    )
    assert spectrum.intensity(3500, 3900) == pytest.approx(KM_PER_MOL, rel=3e-3)


def test_frames_at_every_fourth_step_give_the_same_band():
    step, positions, velocities = oscillator(1600.0, 0.5)
    kinetic = np.mean(velocities**2) / BOLTZMANN
    spectrum = infrared_spectrum(dipoles_of(positions[::4]), 4 * step, step, kinetic)
    assert spectrum.intensity(1450, 1750) == pytest.approx(KM_PER_MOL, rel=2e-3)
    assert spectrum.wavenumbers[np.argmax(spectrum.absorption)] == pytest.approx(1600.0, abs=0.5)


def test_a_trajectory_without_time_step_error_is_left_alone():
    step = 0.5 / ATOMIC_TIME_TO_FEMTOSECOND
    omega = 3000.0 / HARTREE_TO_WAVENUMBER
    positions = np.sqrt(2.0 * KT) / omega * np.cos(omega * step * np.arange(16000))
    spectrum = infrared_spectrum(dipoles_of(positions), step, None, TEMPERATURE)
    assert spectrum.intensity(2850, 3150) == pytest.approx(KM_PER_MOL, rel=2e-3)
    assert spectrum.wavenumbers[np.argmax(spectrum.absorption)] == pytest.approx(3000.0, abs=0.5)


def test_rotation_of_a_strong_dipole_does_not_leak_into_a_weak_band():
    step, positions, velocities = oscillator(3700.0, 0.5)
    vibration = dipoles_of(0.1 * positions)
    angle = 120.0 / HARTREE_TO_WAVENUMBER * step * np.arange(len(positions))
    rotating = vibration.copy()
    rotating[:, 0, 0] += 1.0 * np.cos(angle)
    rotating[:, 0, 1] += 1.0 * np.sin(angle)
    kinetic = np.mean(velocities**2) / BOLTZMANN
    spectrum = infrared_spectrum(rotating, step, step, kinetic)
    assert spectrum.intensity(60, 180) > 1000 * 0.01 * KM_PER_MOL
    assert spectrum.intensity(3550, 3850) == pytest.approx(0.01 * KM_PER_MOL, rel=0.01)


@pytest.mark.parametrize("window", ["gaussian", "hann"])
@pytest.mark.parametrize("width", [8.0, 25.0])
def test_a_sharp_line_has_the_width_of_the_window(window, width):
    step, positions, _ = oscillator(1600.0, 0.25, picoseconds=7.0)
    spectrum = infrared_spectrum(dipoles_of(positions), step, step, TEMPERATURE, window=window, width=width)
    above = spectrum.wavenumbers[spectrum.absorption > 0.5 * spectrum.absorption.max()]
    assert above[-1] - above[0] == pytest.approx(width, abs=width / 6)


def test_replicas_are_averaged_and_the_temperature_divides():
    step, positions, _ = oscillator(1600.0, 0.5)
    weak, strong = dipoles_of(positions), dipoles_of(3.0 * positions)
    one = infrared_spectrum(weak, step, step, 300.0).intensity()
    both = infrared_spectrum(np.concatenate([weak, strong], axis=1), step, step, 300.0).intensity()
    hot = infrared_spectrum(weak, step, step, 600.0).intensity()
    assert both == pytest.approx((1 + 9) / 2 * one, rel=1e-6)
    assert hot == pytest.approx(one / 2, rel=1e-12)


def test_the_settings_are_kept_in_everyday_units():
    step, positions, _ = oscillator(1600.0, 0.5)
    settings = infrared_spectrum(dipoles_of(positions[::2]), 2 * step, step, 310.0, width=12.0).settings
    assert settings.time_step == pytest.approx(0.5)
    assert settings.frame_spacing == pytest.approx(1.0)
    assert settings.length == pytest.approx(7.999)
    assert (settings.n_frames, settings.n_replicas, settings.temperature, settings.width) == (8000, 1, 310.0, 12.0)


def test_a_trajectory_too_short_for_the_window_names_a_width_that_works():
    step, positions, _ = oscillator(1600.0, 0.5, picoseconds=1.0)
    with pytest.raises(InputError, match=r"at least .* ps, these are 1\.00 ps long") as caught:
        infrared_spectrum(dipoles_of(positions), step, step, 300.0, width=5.0)
    width = float(str(caught.value).rsplit("at least ", 1)[1].split()[0])
    infrared_spectrum(dipoles_of(positions), step, step, 300.0, width=width + 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dipoles": np.zeros((100, 3))}, "n_frames, n_replicas, 3"),
        ({"dipoles": np.full((9000, 2, 3), np.nan)}, "frame 0, replica 0 is not finite"),
        ({"frame_spacing": 200.0}, "up to 3[0-9]{3} cm"),
        ({"time_step": 15.0}, "whole number of time steps"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature_kind": "quantum"}, "not one of kinetic, nominal"),
        ({"window": "blackman"}, "gaussian, hann"),
        ({"width": -1.0}, "width must be positive"),
    ],
)
def test_wrong_input_is_named(change, message):
    arguments = {"dipoles": np.zeros((9000, 2, 3)), "frame_spacing": 20.0, "time_step": 20.0, "temperature": 300.0}
    with pytest.raises(InputError, match=message):
        infrared_spectrum(**(arguments | change))
