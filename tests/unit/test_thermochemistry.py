"""Thermochemistry of ideal gases against ASE and measured entropies; rotational symmetry of molecules."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.thermochemistry import IdealGasThermo
from scipy.spatial.transform import Rotation

from densnet_core.errors import InputError
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.symmetry import symmetry_number
from densnet_core.spectra.thermochemistry import Thermochemistry, ideal_gas, rotational_constants
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV, HARTREE_TO_KJ_PER_MOL, HARTREE_TO_WAVENUMBER

AIM = Rotation.from_rotvec([0.3, -0.9, 0.5])


def structure(numbers, angstrom, multiplicity=1):
    positions = AIM.apply(np.array(angstrom, dtype=float)) / BOHR_TO_ANGSTROM + [1.0, -2.0, 0.5]
    return Structure(np.array(numbers), positions, multiplicity=multiplicity)


def modes_of(one: Structure, wavenumbers):
    n = len(wavenumbers)
    return NormalModes(one, np.array(wavenumbers, dtype=float), np.zeros((n, one.n_atoms, 3)), np.ones(n), np.zeros(n))


def entropy(found: Thermochemistry) -> float:
    return found.entropy * HARTREE_TO_KJ_PER_MOL * 1000.0  # J/(mol K)


# Equilibrium geometries and fundamentals: Herzberg, volumes I and II.
HALF = np.radians(104.5 / 2)
ARMS = np.array([[0, 0, 0], [0, np.sin(HALF), np.cos(HALF)], [0, -np.sin(HALF), np.cos(HALF)]])
WATER = structure([8, 1, 1], 0.9575 * ARMS)
CARBON_DIOXIDE = structure([6, 8, 8], [[0, 0, 0], [0, 0, 1.160], [0, 0, -1.160]])
NITROGEN = structure([7, 7], [[0, 0, 0], [0, 0, 1.0977]])
OXYGEN = structure([8, 8], [[0, 0, 0], [0, 0, 1.2075]], multiplicity=3)
ARGON = structure([18], [[0, 0, 0]])
CASES = {
    "nonlinear": (WATER, [1594.7, 3657.1, 3755.9], 2),
    "linear": (CARBON_DIOXIDE, [667.4, 667.4, 1333.0, 2349.1], 2),
    "triplet": (OXYGEN, [1556.2], 2),
    "atom": (ARGON, [], 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("temperature", "pressure"), [(298.15, 1.0), (700.0, 30.0)])
def test_all_functions_are_those_of_ase(name, temperature, pressure):
    one, wavenumbers, symmetry = CASES[name]
    found = ideal_gas(
        modes_of(one, wavenumbers), -76.0, temperature=temperature, pressure=pressure, symmetry_number=symmetry
    )
    atoms = Atoms(one.numbers, one.positions * BOHR_TO_ANGSTROM, masses=one.masses)
    theirs = IdealGasThermo(
        vib_energies=np.array(wavenumbers) * units.invcm,
        geometry={"atom": "monatomic"}.get(name, "nonlinear" if name == "nonlinear" else "linear"),
        potentialenergy=-76.0 * HARTREE_TO_EV,
        atoms=atoms,
        symmetrynumber=symmetry,
        spin=(one.multiplicity - 1) / 2,
    )
    enthalpy = theirs.get_enthalpy(temperature, verbose=False) / HARTREE_TO_EV
    total = theirs.get_entropy(temperature, pressure * 1e5, verbose=False) / HARTREE_TO_EV
    gibbs = theirs.get_gibbs_energy(temperature, pressure * 1e5, verbose=False) / HARTREE_TO_EV
    assert found.zero_point_energy == pytest.approx(sum(wavenumbers) / 2 / HARTREE_TO_WAVENUMBER, rel=1e-12)
    assert found.enthalpy + 76.0 == pytest.approx(enthalpy + 76.0, rel=1e-6)
    assert found.entropy == pytest.approx(total, rel=2e-6)
    assert found.gibbs_energy == pytest.approx(gibbs, abs=3e-7)


@pytest.mark.parametrize(
    ("one", "wavenumbers", "symmetry", "published"),
    [
        (NITROGEN, [2329.9], 2, 191.609),
        (WATER, CASES["nonlinear"][1], 2, 188.835),
        (CARBON_DIOXIDE, CASES["linear"][1], 2, 213.785),
        (OXYGEN, [1556.2], 2, 205.152),
        (ARGON, [], 1, 154.846),
    ],
)
def test_standard_entropies_are_the_measured_ones(one, wavenumbers, symmetry, published):
    """CODATA Key Values for Thermodynamics (1989), 298.15 K and 1 bar, J/(mol K).

    What is left, 0.17 of water, is that a rotor is neither rigid nor classical.
    """
    found = ideal_gas(modes_of(one, wavenumbers), 0.0, symmetry_number=symmetry)
    assert symmetry_number(one) == symmetry
    assert entropy(found) == pytest.approx(published, abs=0.2)


def test_imaginary_frequencies_contribute_nothing():
    real = ideal_gas(modes_of(WATER, [1594.7, 3657.1]), 0.0)
    saddle = ideal_gas(modes_of(WATER, [-900.0, 1594.7, 3657.1]), 0.0)
    assert (saddle.enthalpy, saddle.entropy) == (real.enthalpy, real.entropy)


def test_rotational_constants():
    # B_e of nitrogen 59.906 GHz (1.99824 cm^-1, Huber and Herzberg) for 14.0031 dalton; water has three.
    to_ghz = HARTREE_TO_WAVENUMBER * 29.9792458
    assert rotational_constants(NITROGEN) * to_ghz == pytest.approx([59.906, 59.906], rel=1e-3)
    # Equilibrium structure of water: 27.4, 14.6, 9.5 cm^-1 (A B = C (A + B) because it is planar).
    a, b, c = rotational_constants(WATER) * HARTREE_TO_WAVENUMBER
    assert (a, b, c) == pytest.approx((27.4, 14.6, 9.5), rel=0.01)
    assert 1 / c == pytest.approx(1 / a + 1 / b, rel=1e-9)
    assert rotational_constants(ARGON).size == 0


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"pressure": -1.0}, {"symmetry_number": 0}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match="must be positive"):
        ideal_gas(modes_of(ARGON, []), 0.0, **wrong)


NUMBERS = {
    "H2O": 2, "NH3": 3, "CH4": 12, "C2H6": 6, "C2H4": 4, "C6H6": 12, "CO2": 2, "HCN": 1, "N2": 2, "CO": 1, "C2H2": 2,
    "CH3CH2OH": 1, "H2CO": 2, "CH3OH": 1, "C60": 60, "BF3": 6, "trans-butane": 2, "H2O2": 2, "cyclobutane": 4,
}  # fmt: skip
"""Order of the rotational subgroup of the point group: Herzberg, Infrared and Raman Spectra, table 140."""


@pytest.mark.parametrize(("name", "expected"), NUMBERS.items())
def test_symmetry_numbers(name, expected):
    atoms = molecule(name)
    turned = structure(atoms.numbers, atoms.positions)
    assert symmetry_number(turned) == expected
    noise = np.random.default_rng(1).normal(scale=0.01, size=turned.positions.shape)
    if expected > 2:
        assert symmetry_number(turned.with_positions(turned.positions + noise)) == expected


def test_isotopes_and_distortions_lower_the_symmetry():
    methane = molecule("CH4")
    one = structure(methane.numbers, methane.positions)
    masses = one.masses.copy()
    masses[1] = 2.014
    deuterated = Structure(one.numbers, one.positions, isotope_masses=masses)
    assert symmetry_number(deuterated) == 3
    stretched = one.positions.copy()
    stretched[1] += 0.2 * (stretched[1] - stretched[0])
    assert symmetry_number(one.with_positions(stretched)) == 3
    assert symmetry_number(ARGON) == 1
