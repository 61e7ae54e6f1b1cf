"""Broken geometries are recognised, intact ones are not accused."""

import re

import numpy as np
import pytest
from pyscf.data.radii import COVALENT

from densnet_core.elements import covalent_radius
from densnet_core.errors import InputError
from densnet_core.sampling.checks import defect, fragments
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

WATER = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])


def molecule(numbers, angstrom):
    return Structure(np.array(numbers), np.asarray(angstrom) / BOHR_TO_ANGSTROM)


def water(angstrom=WATER):
    return molecule([8, 1, 1], angstrom)


def dimer(separation):
    return molecule([8, 1, 1, 8, 1, 1], np.vstack([WATER, WATER - np.array([0.0, 0.0, separation])]))


def test_thermal_distortions_are_intact():
    generator = np.random.default_rng(0)
    for _ in range(200):
        assert defect(water(WATER + generator.normal(scale=0.06, size=(3, 3))), water()) is None


@pytest.mark.parametrize(
    ("hydrogen", "reason"),
    [
        ([0.0, 0.30, 0.25], r"O1-H2 at 0\.40 times .* too short"),
        ([0.0, -0.6, 0.65], r"H2-H3 at 0\.[0-9]+ times .* too short"),
        ([0.0, 1.6, 1.1], r"come apart: O1-H2 at 2\.00 times"),
    ],
)
def test_broken_molecules_are_described(hydrogen, reason):
    broken = WATER.copy()
    broken[1] = hydrogen
    found = defect(water(broken), water())
    assert found is not None
    assert re.search(reason, str(found))


def test_molecules_that_were_apart_may_move_apart():
    assert fragments(dimer(2.9)) == [[0, 1, 2], [3, 4, 5]]
    assert defect(dimer(6.0), dimer(2.9)) is None
    torn = dimer(2.9).positions.copy()
    torn[4] += [0.0, 3.0, 0.0]
    assert "O4-H5" in str(defect(dimer(2.9).with_positions(torn), dimer(2.9)))


def test_another_molecule_is_an_error():
    with pytest.raises(InputError, match=r"\(H O H\) are not those of the molecule \(O H H\)"):
        defect(molecule([1, 8, 1], WATER[[1, 0, 2]]), water())


def test_covalent_radii_are_those_of_cordero():
    high_spin = {25: 1.61, 26: 1.52, 27: 1.50}  # where PySCF has an average; carbon is sp3 here and sp2 there
    for number in range(1, 87):
        expected = high_spin.get(number, 0.76 if number == 6 else float(COVALENT[number]) * BOHR_TO_ANGSTROM)
        assert covalent_radius(number) * BOHR_TO_ANGSTROM == pytest.approx(expected, abs=1e-3)
