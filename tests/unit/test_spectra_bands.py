"""Bands of synthetic spectra: found, integrated, and matched to the right lines."""

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.spectra.bands import bands, match_bands
from densnet_core.spectra.infrared import Spectrum, SpectrumSettings

SETTINGS = SpectrumSettings(300.0, "kinetic", 0.5, 0.5, 40000, 16, "gaussian", 10.0)


def spectrum_of(*components, noise=0.0, seed=0):
    """Sum of Gaussian bands (position, intensity, full width) and positive noise of a given intensity per 10 cm^-1."""
    grid = np.linspace(0.0, 4500.0, 5401)
    values = np.zeros_like(grid)
    for position, intensity, width in components:
        sigma = width / 2.3548200450309493
        values += intensity / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((grid - position) / sigma) ** 2)
    if noise:
        centres = np.arange(5.0, 4500.0, 10.0)
        heights = np.random.default_rng(seed).exponential(noise, centres.size)
        for centre, height in zip(centres, heights, strict=True):
            values += height / (3.0 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((grid - centre) / 3.0) ** 2)
    return Spectrum(grid, values, SETTINGS)


def test_bands_have_position_and_intensity():
    found = bands(spectrum_of((1600.3, 50.0, 12.0), (3700.0, 2.0, 20.0)))
    assert [band.position for band in found] == pytest.approx([1600.3, 3700.0], abs=0.05)
    assert [band.centroid for band in found] == pytest.approx([1600.3, 3700.0], abs=0.05)
    assert [band.intensity for band in found] == pytest.approx([50.0, 2.0], rel=1e-4)


def test_overlapping_bands_add_up_to_the_spectrum():
    spectrum = spectrum_of((3600.0, 5.0, 30.0), (3650.0, 20.0, 30.0), noise=0.01)
    found = bands(spectrum, lower=3000.0, upper=4000.0, resolution=20.0, min_intensity=0.0)
    assert sum(band.intensity for band in found) == pytest.approx(spectrum.intensity(3000, 4000), rel=1e-3)


def test_a_weak_stretch_is_found_beside_a_strong_one():
    # Water: harmonic lines, and bands red-shifted and broadened by the anharmonic motion.
    spectrum = spectrum_of((1590.0, 70.0, 20.0), (3662.0, 2.0, 28.0), (3755.0, 40.0, 28.0), noise=0.01)
    matches = match_bands(spectrum, [1597.0, 3680.0, 3790.0])
    assert [match.band.position for match in matches] == pytest.approx([1590.0, 3662.0, 3755.0], abs=3.0)
    assert matches[1].band.intensity == pytest.approx(2.0, rel=0.15)
    assert matches[1].shift == pytest.approx(-18.0, abs=3.0)


def test_a_split_strong_band_does_not_take_the_place_of_its_weak_neighbour():
    spectrum = spectrum_of(
        *[(3640.0, 1.0, 20.0), (3735.0, 8.0, 10.0), (3748.0, 12.0, 10.0), (3766.0, 9.0, 10.0)], noise=0.01, seed=4
    )
    symmetric, antisymmetric = match_bands(spectrum, [3690.0, 3790.0])
    assert symmetric.band.position == pytest.approx(3640.0, abs=4.0)
    assert 3735.0 < antisymmetric.band.position < 3766.0


def test_noise_next_to_a_line_loses_against_the_band_farther_away():
    spectrum = spectrum_of((1580.0, 10.0, 15.0), (1621.0, 0.1, 12.0))
    (match,) = match_bands(spectrum, [1620.0], resolution=5.0)
    assert match.band.position == pytest.approx(1580.0, abs=1.0)


def test_lines_closer_than_the_resolution_share_a_band_and_others_do_not():
    spectrum = spectrum_of((1405.0, 20.0, 25.0))
    near = match_bands(spectrum, [1402.0, 1409.0])
    assert near[0].band is near[1].band is not None
    far = match_bands(spectrum, [1400.0, 1460.0])
    assert far[0].band is not None
    assert far[1].band is None
    assert far[1].shift is None


def test_matches_come_in_the_order_of_the_lines():
    spectrum = spectrum_of((1590.0, 70.0, 20.0), (3755.0, 40.0, 28.0))
    first, second = match_bands(spectrum, [3790.0, 1597.0])
    assert (first.line, second.line) == (3790.0, 1597.0)
    assert first.band.position > 3000 > second.band.position


def test_nothing_is_matched_where_nothing_absorbs():
    spectrum = spectrum_of((1590.0, 70.0, 20.0))
    assert match_bands(spectrum, [3000.0])[0].band is None
    assert match_bands(spectrum, []) == []


def test_impossible_ranges_are_refused():
    spectrum = spectrum_of((1590.0, 70.0, 20.0))
    with pytest.raises(InputError, match="range of bands is empty"):
        bands(spectrum, lower=2000.0, upper=1000.0)
    with pytest.raises(InputError, match="window must be positive"):
        match_bands(spectrum, [1600.0], window=0.0)
