"""Cube files as another program reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.units import Bohr

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.density.cube import Quantity, field_values, write_cube
from densnet_core.density.electron import ExpandedDensity, OrbitalDensity
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


@pytest.mark.parametrize("quantity", ["difference", "potential"])
def test_ase_reads_the_difference_and_the_potential(tmp_path: Path, quantity: Quantity) -> None:
    path = tmp_path / "hf.cube"
    write_cube(path, DENSITY, quantity, spacing=0.5, margin=3.0)
    with path.open() as file:
        cube = read_cube(file)
    values, origin = cube["data"], np.array(cube["origin"]) / Bohr
    assert np.isfinite(values).all()
    for index in ((0, 0, 0), (3, 11, 2), (7, 9, 13)):
        point = origin + 0.5 * np.array(index)
        expected = field_values(DENSITY, quantity)(point[None])[0]
        assert values[index] == pytest.approx(expected, rel=2e-5, abs=1e-12)
    if quantity == "difference":
        assert values.min() < 0.0 < values.max()
    else:  # a nucleus lies on a point: the pole is cut where the bare nucleus has it at half the spacing
        assert values.max() == pytest.approx(9 / 0.25)
        assert np.unravel_index(values.argmax(), values.shape) == (6, 6, 6)


def test_the_format_is_what_vmd_and_jmol_expect(tmp_path: Path) -> None:
    """Two comments; positive counts, which mean bohr; six values to a line and a new line for every row of z."""
    path = tmp_path / "hf.cube"
    write_cube(path, DENSITY, "potential", spacing=0.7, margin=2.0)
    lines = path.read_text().splitlines()
    assert lines[0] == "electrostatic potential of nuclei and electrons of FH, hartree/e"
    counts = [int(line.split()[0]) for line in lines[2:6]]
    assert counts[0] == 2
    assert all(count > 0 for count in counts)
    assert [float(word) for word in lines[3].split()[1:]] == [0.7, 0.0, 0.0]
    assert [float(word) for word in lines[6].split()] == pytest.approx([9, 9.0, 0.1, -0.2, 0.3])
    nx, ny, nz = counts[1:]
    row = [6] * (nz // 6) + ([nz % 6] if nz % 6 else [])
    assert [len(line.split()) for line in lines[8:]] == row * (nx * ny)


def test_what_a_density_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no field 'potentail' of a density\. Did you mean 'potential'"):
        write_cube(tmp_path / "x.cube", DENSITY, "potentail")  # type: ignore[arg-type]
    orbitals = OrbitalDensity(FLUORIDE, BASIS, np.ones((6, 1)), np.ones(1))
    with pytest.raises(InputError, match="OrbitalDensity has no 'difference'"):
        write_cube(tmp_path / "x.cube", orbitals, "difference")
    assert not (tmp_path / "x.cube").exists()


@pytest.mark.parametrize(("spacing", "margin"), [(0.0, 1.0), (-1.0, 1.0), (0.2, -1.0)])
def test_impossible_grids_are_refused(tmp_path: Path, spacing: float, margin: float) -> None:
    with pytest.raises(InputError, match="positive spacing"):
        write_cube(tmp_path / "x.cube", DENSITY, spacing=spacing, margin=margin)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no_folder.*cannot be written: No such file"):
        write_cube(tmp_path / "no_folder" / "x.cube", DENSITY, spacing=2.0, margin=1.0)
