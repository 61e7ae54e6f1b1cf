"""What moves in the normal modes of GFN2-xTB, against the assignments of the textbooks."""

import numpy as np
import pytest
from ase.build import molecule
from densnet_xtb.method import GFN2
from scipy.spatial.transform import Rotation

from densnet_core.spectra.harmonic import finite_differences, harmonic_reference, normal_modes
from densnet_core.spectra.motions import motions
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_ANGSTROM

AIM = Rotation.from_rotvec([0.3, -0.9, 0.5])
METHOD = GFN2(0.01)


def calculate(structures: list[Structure]) -> list[tuple[float, Array, Array]]:
    return [(*METHOD.energy_and_forces(one), np.zeros(3)) for one in structures]


def motions_of(name: str, masses: dict[int, float] | None = None):
    atoms = molecule(name)
    one = Structure(atoms.numbers, AIM.apply(atoms.positions) / BOHR_TO_ANGSTROM)
    weights = one.masses.copy()
    for atom, mass in (masses or {}).items():
        weights[atom] = mass
    one = Structure(one.numbers, one.positions, isotope_masses=weights)
    return motions(normal_modes(harmonic_reference(calculate, one)))


# Herzberg, Infrared and Raman Spectra, tables 58 (H2O), 59 (CO2), 74 (H2CO) and 76 (C2H4); NH3: table 72.
ASSIGNED = {
    "H2O": ["H-O-H bend", "O-H stretch in phase", "O-H stretch out of phase"],
    "CO2": ["O-C-O bend", "O-C-O bend", "C-O stretch in phase", "C-O stretch out of phase"],
    "H2CO": [
        "C out of plane",
        "O-C-H bend",
        "H-C-H bend",
        "C-O stretch",
        "C-H stretch out of phase",
        "C-H stretch in phase",
    ],
    "NH3": ["H-N-H bend"] * 3 + ["N-H stretch in phase"] + ["N-H stretch out of phase"] * 2,
}


@pytest.mark.parametrize(("name", "assigned"), ASSIGNED.items())
def test_modes_are_called_what_textbooks_call_them(name, assigned):
    found = motions_of(name)
    assert [one.text.split(",")[0].rstrip("0123456789% ") for one in found] == assigned
    for one in found:
        assert sum(one.shares.values()) == pytest.approx(1.0)
        assert one.kinetic.sum() == pytest.approx(1.0)


def test_ethanol_has_two_torsions_below_its_bends_and_an_oh_stretch_on_top():
    found = motions_of("CH3CH2OH")
    first, second, third = (next(iter(one.shares)) for one in found[:3])
    assert (first, second, third) == ("H-C-C-H torsion", "H-C-O-H torsion", "C-C-O bend")
    assert found[-1].text == "O-H stretch"
    assert found[-1].moving == [3]
    assert [("C-H stretch" in one.text) for one in found] == [False] * 15 + [True] * 5 + [False]
    assert any(one.text.startswith("C-O stretch 62 %") for one in found)  # the share is said where it is not nearly all


def test_the_twist_of_ethylene_is_a_torsion_and_its_wags_are_out_of_plane():
    largest = [next(iter(one.shares)) for one in motions_of("C2H4")[:4]]
    assert largest == ["C-C-H bend", "C out of plane", "C out of plane", "H-C-C-H torsion"]


def test_isotopes_have_stretches_of_their_own():
    texts = [one.text for one in motions_of("H2O", {1: 2.01410177812})]
    assert texts == ["D-O-H bend", "O-D stretch", "O-H stretch"]


def test_molecules_move_against_each_other():
    atoms = molecule("H2O")
    other = AIM.apply(atoms.positions) + np.array([0.0, 0.0, 2.9])
    pair = Structure(np.tile(atoms.numbers, 2), np.concatenate([atoms.positions, other]) / BOHR_TO_ANGSTROM)
    texts = [one.text for one in motions(normal_modes(finite_differences(calculate, pair)))]
    assert texts[:6] == ["molecules against each other"] * 6
    assert [text.split(" in ")[0].split(" out ")[0] for text in texts[6:]] == ["H-O-H bend"] * 2 + ["O-H stretch"] * 4
