"""Cube files as another program reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.units import Bohr

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.density.cube import write_cube
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.structures import Structure

# Soft enough for a grid: so that the sum over it is the number of electrons.
PRIOR = AtomicPrior(GaussianBasis("soft", {z: [Shell(0, (0.8,), (1.0,))] for z in (1, 9)}))
BASIS = GaussianBasis("p", {z: [Shell(1, (0.6,), (1.0,))] for z in (1, 9)})
FLUORIDE = Structure(np.array([9, 1]), np.array([[0.1, -0.2, 0.3], [0.4, 0.5, 1.9]]))
DENSITY = ExpandedDensity(FLUORIDE, BASIS, np.array([0.3, -0.1, 0.2, 0.05, 0.1, -0.2]), PRIOR)


def test_ase_reads_the_density_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "hf.cube"
    write_cube(path, DENSITY, spacing=0.4, margin=5.0)
    with path.open() as file:
        cube = read_cube(file)
    values, atoms = cube["data"], cube["atoms"]
    assert atoms.numbers.tolist() == [9, 1]
    np.testing.assert_allclose(atoms.positions / Bohr, FLUORIDE.positions, atol=1e-5)
    origin, steps = np.array(cube["origin"]) / Bohr, atoms.cell.array / np.array(values.shape)[:, None] / Bohr
    np.testing.assert_allclose(np.diag(steps), 0.4, rtol=1e-5)
    for index in ((0, 0, 0), (11, 12, 13), (14, 10, 17), tuple(n - 1 for n in values.shape)):
        point = origin + np.array(index) @ steps
        assert values[index] == pytest.approx(DENSITY.evaluate(point[None])[0], rel=1e-3, abs=1e-12)
    assert values.sum() * 0.4**3 == pytest.approx(10.0, rel=1e-4)


@pytest.mark.parametrize(("spacing", "margin"), [(0.0, 1.0), (-1.0, 1.0), (0.2, -1.0)])
def test_impossible_grids_are_refused(tmp_path: Path, spacing: float, margin: float) -> None:
    with pytest.raises(InputError, match="positive spacing"):
        write_cube(tmp_path / "x.cube", DENSITY, spacing=spacing, margin=margin)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no_folder.*cannot be written: No such file"):
        write_cube(tmp_path / "no_folder" / "x.cube", DENSITY, spacing=2.0, margin=1.0)
