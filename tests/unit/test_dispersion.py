"""Dispersion corrections: the authors' own numbers, finite differences, asymptotics, refusals."""

import sys

import numpy as np
import pytest
from ase.build import molecule
from dftd4.interface import DampingParam, DispersionModel

from densnet_core.errors import InputError, PluginError
from densnet_core.reference.dispersion import Dispersion
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

KINDS = ("d3bj", "d4")
WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.1, 0.2], [1.5, 0.3, -0.9], [-1.2, 1.1, 0.9]]))


@pytest.mark.parametrize(
    ("kind", "electronvolts", "force_on_the_fourth_atom"),
    [("d3bj", -0.03898577243903914, [0.0, 0.0, -1.54664530e-03]), ("d4", -0.021665446836610567, None)],
)
def test_numbers_of_the_authors(kind: str, electronvolts: float, force_on_the_fourth_atom: list | None) -> None:
    """Methylenecyclopropane with the parameters of SCAN: tests of dftd3 1.7 and dftd4 4.3 (ASE calculators)."""
    atoms = molecule("methylenecyclopropane")
    energy, forces = Dispersion("SCAN", kind).energy_and_forces(
        Structure(atoms.numbers, atoms.positions / BOHR_TO_ANGSTROM)
    )
    assert energy * HARTREE_TO_EV == pytest.approx(electronvolts, abs=1e-6)
    if force_on_the_fourth_atom is not None:
        np.testing.assert_allclose(forces[3] * HARTREE_TO_EV / BOHR_TO_ANGSTROM, force_on_the_fourth_atom, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_forces_are_the_derivative_of_the_energy(kind: str) -> None:
    correction, step = Dispersion("PBE0", kind), 1e-4
    forces = correction.energy_and_forces(WATER)[1]
    numerical = np.empty((3, 3))
    for index in np.ndindex(3, 3):
        moved = np.zeros((3, 3))
        moved[index] = step
        plus, minus = (
            correction.energy_and_forces(WATER.with_positions(WATER.positions + sign * moved))[0] for sign in (1, -1)
        )
        numerical[index] = -(plus - minus) / (2.0 * step)
    np.testing.assert_allclose(forces, numerical, atol=1e-9)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_two_argon_atoms_far_apart_attract_with_the_known_coefficient(kind: str) -> None:
    """C6 of Ar2 is 64.3 atomic units (Kumar and Meath, Mol. Phys. 54, 823, 1985)."""
    distance = 40.0
    pair = Structure(np.array([18, 18]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))
    energy = Dispersion("PBE", kind).energy_and_forces(pair)[0]
    assert -energy * distance**6 == pytest.approx(64.3, rel=0.1)


def test_d4_depends_on_the_charge_and_d3_does_not() -> None:
    cation = Structure(WATER.numbers, WATER.positions, charge=1, multiplicity=2)
    changes = [Dispersion("PBE", kind).energy_and_forces(cation)[0] for kind in KINDS]
    neutral = [Dispersion("PBE", kind).energy_and_forces(WATER)[0] for kind in KINDS]
    assert changes[0] == neutral[0]
    assert abs(changes[1]) < 0.95 * abs(neutral[1])


@pytest.mark.parametrize(
    ("method", "kind", "reason"),
    [
        ("SVWN", "d3bj", "dftd3 has no D3BJ parameters for the functional 'SVWN'"),
        ("M06-2X", "d4", "dftd4 has no D4 parameters"),
        ("wB97X", "d3bj", "belong to wB97X-V without"),
        ("wB97X-V", "d4", "contains dispersion already"),
        ("B97M_V", "d3bj", "contains dispersion already"),
        ("PBE", "d2", "known: d3bj, d4"),
    ],
)
def test_functionals_without_parameters_are_refused(method: str, kind: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Dispersion(method, kind)


def test_wb97x_means_the_functional_of_2008() -> None:
    """The tables of D4 have it under another name; what they call wb97x is wB97X-V without its non-local part."""
    model = DispersionModel(WATER.numbers, WATER.positions)
    ours = Dispersion("wB97X", "d4").energy_and_forces(WATER)[0]
    old, new = (
        float(model.get_dispersion(DampingParam(method=name), False)["energy"]) for name in ("wb97x_2008", "wb97x")
    )
    assert ours == pytest.approx(old, rel=1e-10)
    assert abs(ours - new) > 1e-5


def test_a_missing_package_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dftd4.interface", None)
    with pytest.raises(PluginError, match=r"pip install 'densnet-core\[dispersion\]'"):
        Dispersion("PBE", "d4")
