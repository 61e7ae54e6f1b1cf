"""Normal modes and infrared intensities from PySCF calculations against published and independent numbers."""

from dataclasses import replace

import numpy as np
import pytest
from pyscf import dft, gto, scf

from densnet_core.spectra.harmonic import finite_differences, harmonic_reference, normal_modes
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM


def calculator(make, basis):
    def calculate(structures):
        results = []
        for structure in structures:
            atoms = list(zip(structure.numbers.tolist(), structure.positions, strict=True))
            method = make(gto.M(atom=atoms, unit="Bohr", basis=basis, verbose=0))
            method.conv_tol = 1e-11
            energy = method.kernel()
            assert method.converged
            gradient = method.nuc_grad_method()
            gradient.grid_response = True
            results.append((energy, -gradient.kernel(), method.dip_moment(unit="AU", verbose=0)))
        return results

    return calculate


def test_ammonia_has_the_intensities_of_q_chem():
    """The geometry is far from the minimum; intensities belong to the modes of the Hessian there, one after the other.

    Values of Q-Chem (RHF/6-31G) from the tests of pyscf-properties.
    """
    angstrom = np.array([[0.0, 0.0, 0.0], [0.8, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.2]])
    ammonia = Structure(np.array([7, 1, 1, 1]), angstrom / BOHR_TO_ANGSTROM)
    modes = normal_modes(finite_differences(calculator(scf.RHF, "6-31g"), ammonia))
    # Q-Chem's masses are those of the isotopes, ours the standard atomic weights: 0.02 % for hydrogen.
    assert modes.intensities == pytest.approx([23.708, 24.939, 12.931, 75.893, 25.018, 0.103], rel=1e-3, abs=1e-3)
    assert np.sign(modes.wavenumbers).tolist() == [-1, -1, 1, 1, 1, 1]


def test_water_is_optimised_and_has_its_harmonic_spectrum():
    """PBE/def2-SVP; frequencies and intensities from an analytical Hessian in PySCF (FACTS.md, item 4)."""
    calls = []
    run = calculator(lambda molecule: dft.RKS(molecule, xc="PBE"), "def2-svp")

    def calculate(structures):
        calls.append(len(structures))
        return run(structures)

    angstrom = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
    harmonic = harmonic_reference(calculate, Structure(np.array([8, 1, 1]), angstrom / BOHR_TO_ANGSTROM))
    modes = normal_modes(harmonic)
    assert modes.wavenumbers == pytest.approx([1609.0, 3691.0, 3790.0], abs=1.5)
    assert modes.intensities == pytest.approx([47.5, 2.3, 19.9], abs=0.15)
    assert calls[-1] == 19
    assert len(calls) - 1 <= 8

    # Other isotopes, same Hessian: PySCF's analytical one at our minimum, mass-weighted by itself.
    for hydrogens, expected in (
        ((2.01410177812, 2.01410177812), [1176.5, 2662.4, 2774.4]),
        ((2.01410177812, 1.008), [1409.7, 2717.1, 3741.9]),
    ):
        isotopes = replace(harmonic.structure, isotope_masses=np.array([15.999, *hydrogens]))
        found = normal_modes(replace(harmonic, structure=isotopes)).wavenumbers
        assert found == pytest.approx(expected, abs=1.5)
