"""Spectra of several trajectories with weights, and weights of conformers."""

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.spectra.assignment import assign, error_curve
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.infrared import Spectrum, SpectrumSettings
from densnet_core.spectra.lines import Conformer, HarmonicLines
from densnet_core.spectra.mixture import energies_together, mixture
from densnet_core.spectra.uncertainty import standard_error
from densnet_core.spectra.weights import boltzmann, shares
from densnet_core.structures import Structure

GRID = np.linspace(0.0, 4500.0, 4501)
WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))


def gaussian(position, intensity):
    sigma = 12.0 / 2.3548200450309493
    return intensity / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((GRID - position) / sigma) ** 2)


def spectrum(curves, n_frames=40000, time_step=0.5, temperature=300.0):
    replicas = np.array(curves)
    settings = SpectrumSettings(temperature, "kinetic", 1.0, time_step, n_frames, len(replicas), "gaussian", 10.0)
    return Spectrum(GRID, replicas.mean(axis=0), settings, replicas)


def modes(wavenumbers, intensities):
    return NormalModes(WATER, np.array(wavenumbers), np.zeros((2, 3, 3)), np.ones(2), np.array(intensities))


def test_a_mixture_is_the_weighted_mean_whatever_the_numbers_of_replicas():
    one = spectrum([gaussian(1600.0, a) for a in (40.0, 60.0)], n_frames=30000, temperature=290.0)
    two = spectrum([gaussian(1700.0, a) for a in (10.0, 20.0, 30.0, 40.0, 50.0)])
    both = mixture([one, two], [0.25, 0.75])
    np.testing.assert_allclose(both.absorption, 0.25 * one.absorption + 0.75 * two.absorption, atol=1e-14)
    assert both.intensity(1550.0, 1650.0) == pytest.approx(0.25 * 50.0, rel=1e-6)
    assert both.replica_intensities().mean() == pytest.approx(0.25 * 50.0 + 0.75 * 30.0, rel=1e-6)
    settings = both.settings
    assert (both.groups, settings.n_replicas, settings.n_frames) == ((2, 5), 7, 30000)
    assert settings.temperature == pytest.approx(0.25 * 290.0 + 0.75 * 300.0)


def test_standard_errors_of_independent_trajectories_add_in_squares():
    one, two = [40.0, 60.0], [10.0, 20.0, 30.0, 40.0, 50.0]
    parts = spectrum([gaussian(1600.0, a) for a in one]), spectrum([gaussian(1600.0, a) for a in two])
    both = mixture(parts, [0.25, 0.75])
    single = [np.std(values, ddof=1) / np.sqrt(len(values)) for values in (one, two)]
    expected = np.hypot(0.25 * single[0], 0.75 * single[1])
    assert standard_error(both.replica_intensities(), None, both.groups) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(
        error_curve(both), np.hypot(0.25 * error_curve(parts[0]), 0.75 * error_curve(parts[1])), atol=1e-15
    )
    assert error_curve(mixture([parts[0], spectrum([gaussian(1600.0, 1.0)])], [0.5, 0.5])) is None


def test_the_error_of_a_mixture_is_the_spread_of_repeated_ones():
    """Two conformers whose means differ by far: their difference is no error."""
    random = np.random.default_rng(2)
    sets = random.normal(100.0, 8.0, (3000, 4)), random.normal(10.0, 3.0, (3000, 8))
    weights, n = (0.3, 0.7), 12
    scaled = np.concatenate([w * n / one.shape[1] * one for w, one in zip(weights, sets, strict=True)], axis=1)
    errors = np.array([standard_error(one, None, (4, 8)) for one in scaled])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(scaled.mean(axis=1).std(), rel=0.05)


def test_energies_of_each_conformer_explain_its_own_part():
    first = np.array([[0.2, 1.5], [1.8, 0.5]])
    second = np.array([[0.5, 1.0], [1.5, 0.4], [1.0, 1.6]])
    one = spectrum([gaussian(1600.0, 50.0 * a) + gaussian(3700.0, 10.0 * b) for a, b in first])
    two = spectrum([gaussian(1605.0, 80.0 * a) + gaussian(3500.0, 20.0 * b) for a, b in second])
    lines = HarmonicLines(
        "model",
        (
            Conformer(modes([1600.0, 3700.0], [50.0, 10.0]), ("bend", "stretch"), "a", 0.4),
            Conformer(modes([1605.0, 3500.0], [80.0, 20.0]), ("bend", "stretch"), "b", 0.6),
        ),
        "given",
    )
    assert lines.places == [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert lines.intensities == pytest.approx([20.0, 48.0, 12.0, 4.0])
    energies = energies_together([first, second])[:, [0, 2, 3, 1]]
    both = mixture([one, two], [0.4, 0.6])
    plain = assign(both, lines.wavenumbers, lines.intensities)
    known = assign(both, lines.wavenumbers, lines.intensities, energies=energies)
    assert [row.modes for row in known.rows] == [(0, 1), (2,), (3,)]
    assert [row.intensity for row in known.rows] == pytest.approx([68.0, 12.0, 4.0], rel=1e-3)
    assert [row.ratio for row in known.rows] == pytest.approx([1.0] * 3, rel=1e-3)
    for with_energies, without in zip(known.rows, plain.rows, strict=True):
        assert with_energies.error < 0.01 * without.error
    assert known.expected.sum(axis=1).mean() == pytest.approx(84.0)


def test_one_replica_of_a_conformer_leaves_no_error_and_is_told():
    both = mixture([spectrum([gaussian(1600.0, 50.0)]), spectrum([gaussian(1600.0, 50.0)] * 3)], [0.5, 0.5])
    found = assign(both, np.array([1600.0]), np.array([50.0]))
    assert found.rows[0].error is None
    assert "one replica" in found.warning


def test_other_frames_make_no_mixture():
    with pytest.raises(InputError, match="same time step"):
        mixture([spectrum([GRID]), spectrum([GRID], time_step=0.25)], [0.5, 0.5])


def test_weights_are_normalised_or_refused():
    assert shares([None, None], "files") is None
    assert shares([1.0, 3.0], "files") == pytest.approx([0.25, 0.75])
    with pytest.raises(InputError, match="1 of 2 files have a weight"):
        shares([0.5, None], "files")
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="must be positive"):
            shares([0.5, weight], "files")


def test_boltzmann_weights_are_those_of_the_textbook():
    """1 kcal/mol at 298.15 K: exp(-1/0.592484), and one twice as often with a mirror image."""
    energies = [-76.0, -76.0 + 1.0 / 627.5094740631]
    ratio = np.exp(-1.0 / (1.987204259e-3 * 298.15))
    assert boltzmann(energies, 298.15) == pytest.approx(np.array([1.0, ratio]) / (1.0 + ratio), rel=1e-6)
    assert boltzmann([energies[0], *energies[1:] * 2], 298.15)[1:].sum() == pytest.approx(2 * ratio / (1 + 2 * ratio))
    assert boltzmann([0.0, 50.0], 300.0).tolist() == [1.0, 0.0]


def test_lines_of_one_geometry_have_no_conformers_in_their_records():
    (first, second) = HarmonicLines.of(modes([1600.0, 3700.0], [50.0, 10.0]), "CCSD(T)").records()
    assert first == {"wavenumber_per_cm": 1600.0, "intensity_km_per_mol": 50.0, "reduced_mass_dalton": 1.0}
    assert "conformer" not in second
