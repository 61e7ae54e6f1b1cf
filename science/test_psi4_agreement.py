"""PySCF against Psi4 with the same configuration: four molecules, two functionals; and every functional by name.

About half an hour on one core; not part of ``make test``, which has water. See the numbers with ``pytest -s``.
"""

from __future__ import annotations

import numpy as np
import pytest
from densnet_psi4.backend import Psi4Backend
from densnet_psi4.config import Psi4Options
from densnet_psi4.functional import functional_names
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions

from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.electron import nmae_percent
from densnet_core.density.fitting import fit_density
from densnet_core.density.quadrature import quadrature
from densnet_core.elements import atomic_number
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.testing.reference import HYDROXIDE, tensor
from densnet_core.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM


def molecule(text: str, charge: int = 0, multiplicity: int = 1) -> Structure:
    rows = [line.split() for line in text.strip().splitlines()]
    positions = np.array([[float(x) for x in row[1:]] for row in rows]) / BOHR_TO_ANGSTROM
    return Structure(np.array([atomic_number(row[0]) for row in rows]), positions, charge, multiplicity)


WATER = "O 0.000 0.000 0.117\nH 0.000 0.763 -0.477\nH 0.000 -0.763 -0.477"
MOLECULES = {
    "water": molecule(WATER),
    "water cation": molecule(WATER, 1, 2),
    "ethanol": molecule(
        """
        C  0.313146  0.713822  1.170093
        C -0.894906  0.653998  0.187680
        O -0.807829 -0.426538 -0.657795
        H  0.130642 -0.606697 -0.668031
        H -1.670625  0.399702  0.921539
        H -1.014465  1.491973 -0.484298
        H  0.618473 -0.235028  1.547739
        H  1.173714  1.231005  0.754530
        H  0.164579  1.285308  2.049968
        """
    ),
    "ethanethiol": molecule(
        """
        C -0.240025  0.639311  1.764827
        C  0.444718 -0.076049  0.655335
        S -0.810772  0.073128 -0.742666
        H  0.269886  0.610466 -1.339176
        H  1.347505  0.298975  0.232988
        H  0.625365 -1.058715  0.869690
        H  0.232550  0.894212  2.724786
        H -0.574747  1.560321  1.469245
        H -1.050260  0.003862  1.957527
        """
    ),
}


@pytest.mark.parametrize("method", ["PBE", "B3LYP"])
@pytest.mark.parametrize("name", MOLECULES)
def test_both_programs_agree(name: str, method: str) -> None:
    structure, level = MOLECULES[name], LevelOfTheory(method, "def2-SVPD")
    backends = PySCFBackend(level), Psi4Backend(level)
    one, other = (backend.compute(structure) for backend in backends)
    basis = basis_by_name("densnet-m", structure.numbers)
    functions = MolecularBasis(basis, structure.numbers)
    metric = two_center("coulomb", functions, tensor(structure.positions))
    points, weights = quadrature(structure)
    values = functions.evaluate(tensor(structure.positions), tensor(points)).numpy()
    densities = []
    for backend, result in zip(backends, (one, other), strict=True):
        projection = backend.project(structure, result.orbitals, result.occupations, basis, "coulomb")
        electrons = float(structure.n_electrons)
        fit = fit_density(
            metric, tensor(projection), moment_constraints(functions, tensor(structure.positions), electrons)
        )
        densities.append(values @ np.asarray(fit.coefficients))
    energy = abs(other.energy - one.energy)
    forces = np.abs(other.forces - one.forces).max()
    dipole = np.abs(other.dipole - one.dipole).max() * AU_TO_DEBYE
    nmae = nmae_percent(densities[0], densities[1], weights, structure.n_electrons)
    print(
        f"\n{name:13s} {level!s:16s} energy {energy:.1e} Ha, forces {forces:.1e} Ha/bohr, dipole {dipole:.1e} D, "
        f"density {nmae:.1e} %, {one.seconds:.0f} and {other.seconds:.0f} s"
    )
    assert energy < 1e-6
    assert forces < 1e-5
    assert dipole < 1e-4
    assert nmae < 1e-4


@pytest.mark.parametrize("method", functional_names())
def test_every_functional_is_the_one_of_pyscf(method: str) -> None:
    """With exact integrals, so that long-range exchange, which the programs fit differently, is compared too."""
    level = LevelOfTheory(method, "6-31+G*")
    one = PySCFBackend(level, PySCFOptions(density_fitting=False, grid_level=5)).compute(HYDROXIDE)
    other = Psi4Backend(level, Psi4Options(density_fitting=False)).compute(HYDROXIDE)
    assert other.energy == pytest.approx(one.energy, abs=5e-6)
    np.testing.assert_allclose(other.forces, one.forces, atol=5e-5)
