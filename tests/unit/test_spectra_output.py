"""JSON and pictures of a spectrum."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from densnet_core.errors import InputError
from densnet_core.files.records import write_json
from densnet_core.spectra.assignment import assign
from densnet_core.spectra.bands import bands
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.export import spectrum_record
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.infrared import Spectrum, SpectrumSettings
from densnet_core.spectra.lines import Conformer, HarmonicLines
from densnet_core.spectra.plots import _spread, plot_spectrum
from densnet_core.structures import Structure

GRID = np.linspace(0.0, 4500.0, 4501)
SPECTRUM = Spectrum(
    GRID,
    5.0 * np.exp(-0.5 * ((GRID - 3700.0) / 10.0) ** 2) + 1.0 * np.exp(-0.5 * ((GRID - 1600.0) / 10.0) ** 2),
    SpectrumSettings(301.5, "kinetic", 1.0, 0.5, 20001, 16, "gaussian", 10.0),
)
WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))
MODES = NormalModes(
    WATER, np.array([1609.0, 3691.0, 3790.0]), np.zeros((3, 3, 3)), np.ones(3), np.array([47.5, 2.3, 19.9])
)
LINES = HarmonicLines.of(MODES, "PBE/def2-SVP")
EXPERIMENT = ExperimentalBands((3657.0, 1595.0, 3756.0), "Shimanouchi, NIST WebBook", (2.9, 62.5, 41.7))


def record():
    return spectrum_record(
        SPECTRUM,
        bands=bands(SPECTRUM),
        harmonic=LINES,
        assignment=assign(SPECTRUM, MODES.wavenumbers, MODES.intensities),
        experiment=EXPERIMENT,
    )


def numbers(value, key=""):
    """All (key, number) pairs of nested data."""
    if isinstance(value, dict):
        return [pair for name, part in value.items() for pair in numbers(part, name)]
    if isinstance(value, list):
        return [pair for part in value for pair in numbers(part, key)]
    return [(key, value)] if isinstance(value, float) else []


def test_the_file_holds_bands_lines_and_settings(tmp_path):
    path = tmp_path / "spectrum.json"
    write_json(path, record())
    read = json.loads(path.read_text())
    assert read["settings"]["temperature_kelvin"] == 301.5
    assert read["settings"]["length_picosecond"] == pytest.approx(20.0)
    assert read["bands"][1]["position_per_cm"] == pytest.approx(3700.0, abs=0.01)
    assert read["bands"][1]["intensity_km_per_mol"] == pytest.approx(5.0 * 10.0 * np.sqrt(2 * np.pi), rel=1e-3)
    assert read["integrated_intensity_km_per_mol"] == pytest.approx(60.0 * np.sqrt(2 * np.pi), rel=1e-6)
    rows = read["assignment"]["rows"]
    assert [row["modes"] for row in rows] == [[0], [1], [2]]
    assert rows[0]["shift_per_cm"] == pytest.approx(-9.0, abs=0.01)
    assert rows[1]["intensity_ratio"] == pytest.approx(5.0 * 10.0 * np.sqrt(2 * np.pi) / 2.3, rel=1e-3)
    assert rows[2]["bands"] == []
    assert rows[2]["position_per_cm"] is None
    assert read["assignment"]["lines_of"] == "harmonic"
    assert read["experiment"]["source"] == EXPERIMENT.source
    curve = np.interp(3705.0, read["wavenumbers_per_cm"], read["absorption_km_cm_per_mol"])
    assert curve == pytest.approx(5.0 * np.exp(-0.125), rel=1e-3)


def test_every_number_names_its_unit():
    units = ("_per_cm", "_km_per_mol", "_km_cm_per_mol", "_kelvin", "_femtosecond", "_picosecond", "_dalton", "_ratio")
    found = numbers(record())
    assert len(found) > 9000
    assert {key for key, _ in found if not key.endswith(units)} == set()


def test_a_record_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "spectrum.json"
    write_json(path, {"a": 1.0})
    with pytest.raises(InputError, match="was not written"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1.0}
    assert [entry.name for entry in tmp_path.iterdir()] == ["spectrum.json"]
    with pytest.raises(InputError, match="Cannot write"):
        write_json(tmp_path / "missing" / "spectrum.json", {"a": 1.0})


def columns_of_colour(picture, hexadecimal):
    wanted = np.array([int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return np.flatnonzero((np.abs(picture[..., :3] - wanted) < 0.02).all(axis=2).sum(axis=0) > 0.1 * len(picture))


def test_the_picture_has_high_wavenumbers_on_the_left(tmp_path):
    path = tmp_path / "spectrum.png"
    plot_spectrum(path, SPECTRUM, title="Water", lines=[LINES], experiment=EXPERIMENT)
    picture = imread(path)
    assert picture.shape[1] > 1500
    strongest = columns_of_colour(picture, "#0072B2") / picture.shape[1]
    assert strongest.size
    assert strongest.min() < 0.2  # the axis title and the band at 3700 cm^-1
    sticks = columns_of_colour(picture, "#D55E00") / picture.shape[1]
    # The strongest stick, 1609 cm^-1, stands two thirds of the way from 4000 to 400 cm^-1.
    assert np.any(np.abs(sticks - (0.085 + 0.835 * (4000 - 1609) / 3600)) < 0.005)


def test_the_picture_has_the_standard_error_and_the_warning(tmp_path):
    plain, banded = tmp_path / "plain.png", tmp_path / "banded.png"
    plot_spectrum(plain, SPECTRUM)
    plot_spectrum(banded, SPECTRUM, errors=0.4 * SPECTRUM.absorption, remarks=["The spectrum is uneven."])
    assert imread(banded).shape[0] > imread(plain).shape[0]  # a line of text more
    light = np.array([0.65, 0.8, 0.895])  # the blue of the band at 35 % on white

    def area(path):
        return (np.abs(imread(path)[..., :3] - light) < 0.03).all(axis=2).sum()

    assert area(banded) > area(plain) + 500


def test_the_picture_has_the_lines_of_every_source(tmp_path):
    conformers = (Conformer(MODES, name="a", weight=0.5), Conformer(MODES, name="b", weight=0.5))
    plot_spectrum(tmp_path / "many.png", SPECTRUM, lines=[LINES, HarmonicLines("CCSD", conformers, "given")] * 2)
    picture = imread(tmp_path / "many.png")
    for colour in ("#D55E00", "#CC79A7", "#E69F00", "#56B4E9"):
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
        assert (np.abs(picture[..., :3] - wanted) < 0.02).all(axis=2).any(), colour


def test_a_picture_needs_nothing_but_a_spectrum(tmp_path):
    empty = Spectrum(GRID, np.zeros_like(GRID), SPECTRUM.settings)
    plot_spectrum(tmp_path / "empty.png", empty)
    assert imread(tmp_path / "empty.png").std() > 0
    with pytest.raises(InputError, match="range to plot is empty"):
        plot_spectrum(tmp_path / "no.png", SPECTRUM, lower=4000.0, upper=400.0)
    with pytest.raises(InputError, match="Cannot write the picture"):
        plot_spectrum(tmp_path / "missing" / "no.png", SPECTRUM)


def test_labels_keep_their_distance_and_order():
    positions = np.array([410.0, 800.0, 1058.0, 1060.0, 1066.0, 2000.0, 3990.0, 3995.0])
    placed = _spread(positions, 94.0, 400.0, 4000.0)
    assert np.diff(placed).min() >= 94.0 - 1e-9
    assert placed[-1] <= 4000.0 + 1e-9
    assert placed[[0, 1, 5]] == pytest.approx(positions[[0, 1, 5]])
    assert placed[2:5].mean() == pytest.approx(positions[2:5].mean())


def test_experimental_bands_need_a_source():
    with pytest.raises(InputError, match="need a source"):
        ExperimentalBands((1595.0,), " ")
    with pytest.raises(InputError, match="1 bands have 2 intensities"):
        ExperimentalBands((1595.0,), "S", (1.0, 2.0))
