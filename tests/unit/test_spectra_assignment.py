"""Every part of a spectrum belongs to a line or to the rest, with a standard error over replicas."""

import numpy as np
import pytest

from densnet_core.spectra.assignment import assign, error_curve
from densnet_core.spectra.infrared import Spectrum, SpectrumSettings
from densnet_core.spectra.uncertainty import standard_error, uneven_warning

GRID = np.linspace(0.0, 4500.0, 5401)


def settings(n_replicas):
    return SpectrumSettings(300.0, "kinetic", 0.5, 0.5, 40000, n_replicas, "gaussian", 10.0)


def gaussian(position, intensity, width=12.0):
    sigma = width / 2.3548200450309493
    return intensity / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((GRID - position) / sigma) ** 2)


def of_replicas(curves):
    replicas = np.array(curves)
    return Spectrum(GRID, replicas.mean(axis=0), settings(len(replicas)), replicas)


def test_three_peaks_of_one_anharmonic_mode_are_one_row():
    """Ammonia's umbrella: each energy that a replica has shows a peak of its own."""
    peaks = [1000.0, 940.0, 860.0, 1010.0]
    spectrum = of_replicas([gaussian(place, 100.0) + gaussian(1630.0, 27.0) for place in peaks])
    found = assign(spectrum, np.array([1030.0, 1640.0, 1641.0]), np.array([100.0, 13.0, 14.0]))
    umbrella, bend = found.rows
    assert len(umbrella.bands) >= 3
    assert umbrella.intensity == pytest.approx(100.0, rel=1e-3)
    assert (bend.modes, bend.harmonic_intensity) == ((1, 2), 27.0)
    assert bend.ratio == pytest.approx(1.0, rel=1e-3)
    assert found.row_of(2) is bend
    assert umbrella.unevenness > 0.7 > 0.1 > bend.unevenness
    assert "replicas" in found.warning
    assert "at 10" in found.warning
    assert umbrella.error == pytest.approx(0.0, abs=0.1)  # each has it, wherever it is


def test_rows_and_rest_add_up_to_the_spectrum():
    curve = gaussian(1600.0, 50.0) + gaussian(2500.0, 7.0) + gaussian(3700.0, 3.0, 30.0) + gaussian(3790.0, 20.0, 30.0)
    curve = curve + 1e-3 * np.sin(GRID / 7.0) ** 2
    spectrum = of_replicas([curve, 1.1 * curve, 0.9 * curve])
    found = assign(spectrum, np.array([1610.0, 3710.0, 3800.0]), np.array([50.0, 3.0, 20.0]))
    total = spectrum.intensity(found.lower, found.upper)
    assert sum(row.intensity for row in found.rows) + found.rest == pytest.approx(total, rel=1e-9)
    assert [band.position for band in found.others if band.intensity > 1.0] == pytest.approx([2500.0], abs=1.0)
    assert found.rest >= 7.0
    assert found.rest_error == pytest.approx(found.rest * 0.1 / np.sqrt(3), rel=0.01)
    assert found.warning is None


def test_standard_errors_are_those_of_repeated_spectra():
    """Intensities of replicas with independent energies: the error is the spread of the means of many such sets."""
    random = np.random.default_rng(0)
    sets = random.exponential(1.0, (4000, 8)) * 30.0
    errors = np.array([standard_error(one) for one in sets])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(sets.mean(axis=1).std(), rel=0.05)


def test_energies_that_are_right_together_leave_only_what_they_do_not_explain():
    random = np.random.default_rng(1)
    energies = random.exponential(1.0, (4000, 8))
    energies /= energies.mean(axis=1, keepdims=True)
    values = 30.0 * energies * (1.0 + 0.03 * random.normal(size=energies.shape))
    errors = np.array([standard_error(one, expected) for one, expected in zip(values, energies, strict=True)])
    true = values.mean(axis=1).std()
    assert true < 0.7  # 30 / sqrt(8) = 11 without
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(true, rel=0.1)
    # Energies that say nothing must not make an error larger than the plain one.
    constant = np.array([standard_error(np.full(8, 30.0), one) for one in energies[:10]])
    np.testing.assert_allclose(constant, 0.0)


def test_an_assignment_uses_the_energies_of_the_modes():
    energies = np.array([[0.2, 1.5], [1.8, 0.1], [0.6, 0.9], [1.4, 1.5]])
    curves = [gaussian(1600.0, 50.0 * a) + gaussian(3700.0, 10.0 * b) for a, b in energies]
    lines, intensities = np.array([1610.0, 3710.0]), np.array([50.0, 10.0])
    plain = assign(of_replicas(curves), lines, intensities)
    known = assign(of_replicas(curves), lines, intensities, energies=energies)
    assert [row.intensity for row in known.rows] == pytest.approx([50.0, 10.0], rel=1e-3)
    assert plain.rows[0].error == pytest.approx(50.0 * energies[:, 0].std(ddof=1) / 2.0, rel=1e-3)
    assert known.rows[0].error < 0.01 * plain.rows[0].error
    assert known.errors.sum() < 0.1 * plain.errors.sum()
    np.testing.assert_allclose(error_curve(of_replicas(curves)), plain.errors)


def test_one_replica_has_no_error_and_says_so():
    spectrum = of_replicas([gaussian(1600.0, 50.0)])
    found = assign(spectrum, np.array([1600.0]), np.array([50.0]))
    assert (found.rows[0].error, found.rest_error, found.errors) == (None, None, None)
    assert "one replica" in found.warning
    assert error_curve(spectrum) is None


def test_a_line_without_a_band_keeps_its_row():
    found = assign(of_replicas([gaussian(1600.0, 50.0)] * 2), np.array([1600.0, 3000.0]), np.array([50.0, 0.0]))
    row = found.rows[1]
    assert (row.main, row.bands, row.intensity, row.ratio) == (None, (), 0.0, None)


def test_a_warning_names_the_bands_and_how_many_replicas_do():
    assert uneven_warning({1600.0: 0.49}, 8) is None
    told = uneven_warning({1600.0: 0.1, 940.0: 1.0}, 8)
    assert "940 cm-1 (100%)" in told
    assert "1600" not in told
    assert "replicas = 23" in told
