"""Records of observables, and files of points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import DenSNetError, InputError
from densnet_core.potentials.densnet import Prediction
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.observables import (
    PROPERTIES,
    chosen_properties,
    potential_record,
    prediction_record,
    read_points,
)

PRIOR = AtomicPrior(GaussianBasis("soft", {z: [Shell(0, (0.8,), (1.0,))] for z in (1, 9)}))
BASIS = GaussianBasis("sp", {z: [Shell(0, (0.5,), (1.0,)), Shell(1, (0.6,), (1.0,))] for z in (1, 9)})
FLUORIDE = Structure(np.array([9, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.75]]))
DENSITY = ExpandedDensity(FLUORIDE, BASIS, np.array([0.05, 0, 0, 0.1, -0.05, 0, 0, 0.0]), PRIOR)
PREDICTION = Prediction(DENSITY, -100.0, np.array([[0, 0, 0.1], [0, 0, -0.1]]), DENSITY.dipole())


def test_units_are_those_of_the_names() -> None:
    """Conversion factors written out: debye, angstrom and volt per atomic unit."""
    record = prediction_record(PREDICTION, PROPERTIES)
    assert record["energy_ev"] == pytest.approx(-2721.1386, abs=1e-3)
    assert record["forces_ev_per_angstrom"][0][2] == pytest.approx(5.142207, abs=1e-5)
    np.testing.assert_allclose(record["dipole_debye"], DENSITY.dipole() * 2.541746, atol=1e-6)
    centre = np.array(record["quadrupole_origin_angstrom"]) / 0.529177211
    np.testing.assert_allclose(centre, [0, 0, 1.75 * 1.008 / (1.008 + 18.998)], rtol=1e-8)
    theta = DENSITY.quadrupole(centre) * 2.541746473 * 0.529177211
    np.testing.assert_allclose(record["quadrupole_debye_angstrom"], theta, atol=1e-8)
    forces = DENSITY.hellmann_feynman_forces() * 51.42206747
    np.testing.assert_allclose(record["hellmann_feynman_forces_ev_per_angstrom"], forces, rtol=1e-8)
    assert record["hartree_energy_hartree"] == DENSITY.hartree_energy()
    surface = record["surface_potential"]
    assert surface["minimum_volt"] < surface["mean_volt"] < surface["maximum_volt"]
    assert sum(record["hirshfeld_charges_e"]) == pytest.approx(0.0, abs=1e-12)


def test_only_what_is_asked_for_is_computed() -> None:
    always = {"formula", "energy_hartree", "energy_ev", "forces_ev_per_angstrom", "dipole_debye", "electron_count"}
    assert set(prediction_record(PREDICTION)) == always
    assert set(prediction_record(PREDICTION, ["hartree_energy"])) == always | {"hartree_energy_hartree"}


def test_properties_are_chosen_by_name() -> None:
    assert chosen_properties("") == []
    assert chosen_properties("quadrupole, charges,quadrupole") == ["quadrupole", "charges"]
    assert chosen_properties("all") == list(PROPERTIES)
    with pytest.raises(InputError, match=r"no property 'quadrapole'\. Did you mean 'quadrupole'"):
        chosen_properties("charges,quadrapole")


@pytest.mark.parametrize(
    "text",
    [
        "0 0 1.5\n-1.0 2 3e-1\n",
        "x,y,z\n0,0,1.5\n\n# a comment\n-1.0,2,0.3\n",
        "2\nprobe points\nX 0 0 1.5\nHe -1.0 2 0.3\n",
    ],
    ids=["blanks", "csv", "xyz"],
)
def test_points_are_read_from_every_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "points").write_text(text)
    expected = np.array([[0, 0, 1.5], [-1, 2, 0.3]]) / BOHR_TO_ANGSTROM
    np.testing.assert_allclose(read_points(tmp_path / "points"), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0\n", r"line 1: expected 'x, y, z' in angstrom, found '0 0'"),
        ("0 0 1\n0 0 nan\n", "line 2: expected"),
        ("x y z\nx y z\n", "holds no points"),
        ("", "holds no points"),
        ("x_bohr,y_bohr,z_bohr\n0 0 1\n", "line 1: points are read in angstrom, found 'x_bohr"),
        ("# in Bohr\n0 0 1\n", "line 1: points are read in angstrom"),
        ("3\n\nH 0 0 1\n", "3 atoms announced, 1 lines follow"),
        ("1\n\nH 0 0\n", "line 3: expected 'symbol x y z'"),
        ("1\nunits=bohr\nH 0 0 1\n", "units is not a known key"),
        ("1\n\nH 0 0 1\n1\n\nH 0 0 1\n", "has 2 frames"),
    ],
)
def test_bad_files_of_points_are_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "points").write_text(text)
    with pytest.raises(DenSNetError, match=message):
        read_points(tmp_path / "points")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.csv: No such file"):
        read_points(tmp_path / "nowhere.csv")


def test_the_potential_at_points_and_not_on_a_nucleus() -> None:
    points = np.array([[0.0, 0.0, 4.0], [3.0, 0.0, 0.0]])
    record = potential_record(DENSITY, points)
    np.testing.assert_allclose(record[1]["position_angstrom"], [1.587531633, 0, 0], atol=1e-9)
    assert record[0]["potential_hartree_per_e"] == DENSITY.electrostatic_potential(points)[0]
    with pytest.raises(InputError, match="Point 2 lies on a nucleus"):
        potential_record(DENSITY, np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 1.75]]))
