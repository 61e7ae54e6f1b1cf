"""Starting density matrices from densities: against PySCF's own integrals, and by the SCF iterations they save."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from densnet_pyscf import guess, mean_field
from densnet_pyscf.auxiliary import auxiliary_shells
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.guess import scf_guess
from densnet_pyscf.molecule import make_molecule
from pyscf import df, dft, gto, scf
from tiny_run import FinishedRun, densnet

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.library import basis_by_name
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.fitting import fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceBackend
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure

DATA = Path(__file__).parents[1] / "data"
PBE = LevelOfTheory("PBE", "def2-SVP")
WATER = Structure(np.array([8, 1, 1]), np.array([[0.1, 0.2, 0.22], [0.0, 1.5, -0.9], [0.3, -1.4, -0.8]]))
CATION = Structure(WATER.numbers, WATER.positions, charge=1, multiplicity=2)


@cache
def prior() -> AtomicPrior:
    return AtomicPrior.fit({number: PySCFBackend(PBE).atomic_density(number) for number in (1, 8)})


def unsolved(structure: Structure, level: LevelOfTheory = PBE, grid_level: int = 3) -> Any:
    molecule = make_molecule(structure, level.basis, 4000)
    # Converged as PySCF does by itself, so that the iterations are those that its users know.
    return mean_field.make_solver(molecule, level.method, PySCFOptions(grid_level=grid_level, gradient_tol=1.0))


@cache
def solved(structure: Structure, level: LevelOfTheory = PBE) -> Any:
    solver = unsolved(structure, level)
    mean_field.solve(solver, "reference", coarse_grid=False)
    return solver


def fitted(structure: Structure, level: LevelOfTheory = PBE, basis_name: str = "densnet-l") -> ExpandedDensity:
    """The converged density, fitted."""
    basis = basis_by_name(basis_name, structure.numbers)
    orbitals, occupations = mean_field.occupied_orbitals(solved(structure, level))
    projection = PySCFBackend(level).project(structure, orbitals, occupations, basis, "coulomb")
    return ExpandedDensity(
        structure, basis, fit_difference(structure, projection, basis, prior()).coefficients, prior()
    )


@pytest.mark.parametrize(
    ("structure", "method", "at_most"),
    [(WATER, "PBE", 0.6), (WATER, "LDA,VWN", 0.6), (CATION, "PBE", 0.55), (WATER, "r2SCAN", 0.8), (WATER, "PBE0", 0.9)],
)
def test_the_scf_takes_fewer_iterations_to_the_same_energy(structure: Structure, method: str, at_most: float) -> None:
    level = LevelOfTheory(method, "def2-SVP")
    default, solver = solved(structure, level), unsolved(structure, level)
    mean_field.solve(solver, "from the guess", scf_guess(solver, fitted(structure, level)), coarse_grid=False)
    assert solver.cycles <= at_most * default.cycles
    assert solver.e_tot == pytest.approx(default.e_tot, abs=3e-9)


@pytest.mark.parametrize("structure", [WATER, CATION])
def test_the_guess_is_the_matrix_of_filled_orthonormal_orbitals(structure: Structure) -> None:
    found = PySCFBackend(PBE).starting_density_matrix(fitted(structure))
    molecule = make_molecule(structure, "def2-SVP", 4000)
    overlap = molecule.intor("int1e_ovlp")
    spins = found if structure.multiplicity == 2 else np.stack([found, found]) / 2
    for matrix, electrons in zip(spins, molecule.nelec, strict=True):
        np.testing.assert_allclose(matrix @ overlap @ matrix, matrix, atol=1e-10)
        assert np.trace(matrix @ overlap) == pytest.approx(electrons, abs=1e-10)


def test_the_coulomb_matrix_is_that_of_pyscf_integrals() -> None:
    """PySCF builds the auxiliary molecule itself, from a basis whose shells it leaves in their order."""
    basis = basis_by_name("def2-universal-jfit", WATER.numbers)
    molecule = make_molecule(WATER, "def2-SVP", 4000)
    coefficients = np.random.default_rng(0).normal(size=basis.n_functions(WATER.numbers))
    auxiliary = df.addons.make_auxmol(molecule, "def2-universal-jfit")
    expected = df.incore.aux_e2(molecule, auxiliary, "int3c2e") @ coefficients
    found = guess.coulomb_matrix(molecule, [(auxiliary_shells(WATER.numbers, basis), coefficients)])
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("functional", ["LDA,VWN", "PBE", "BLYP"])
def test_an_exact_expansion_gives_the_operator_of_pyscf(functional: str) -> None:
    """Helium: products of s functions on one centre are s functions there, so its density has an exact expansion."""
    exponents = (0.3, 1.1, 5.0)
    place = np.array([[0.4, -0.3, 0.2]])
    molecule = gto.M(atom=[("He", place[0])], basis={"He": [[0, (a, 1.0)] for a in exponents]}, unit="Bohr", verbose=0)
    solver = dft.RKS(molecule, xc=functional)
    solver.grids.level = guess.GRID_LEVEL
    solver.kernel()
    matrix = solver.make_rdm1()
    pairs = [(i, j) for i in range(3) for j in range(i + 1)]
    product = GaussianBasis("products", {2: [Shell(0, (exponents[i] + exponents[j],), (1.0,)) for i, j in pairs]})
    shells = auxiliary_shells(np.array([2]), product)
    # The value at the nucleus tells the factor between a product of two functions and the normalised function.
    height = molecule.eval_gto("GTOval_sph", place)[0]
    values = np.array([shell.coefficients[0] for shell in shells]) / np.sqrt(4 * np.pi)
    coefficients = np.array([(1 + (i != j)) * matrix[i, j] * height[i] * height[j] for i, j in pairs]) / values
    expansion = [(shells, coefficients)]
    points, weights = guess.quadrature(molecule)
    density = guess.expanded_values(molecule, expansion, points, guess.n_components(functional))
    (potential,) = guess.exchange_correlation_matrices(molecule, functional, points, weights, density[None])
    fock = solver.get_hcore() + guess.coulomb_matrix(molecule, expansion) + potential
    np.testing.assert_allclose(fock, solver.get_fock(dm=matrix), atol=1e-8)


@pytest.mark.parametrize("functional", ["LDA,VWN", "PBE"])
def test_the_potentials_of_spin_densities_are_those_of_pyscf(functional: str) -> None:
    matrices = solved(CATION).make_rdm1()
    molecule, components = solved(CATION).mol, guess.n_components(functional)
    grid = solved(CATION).grids
    densities = [guess.orbital_values(molecule, matrix, grid.coords, components) for matrix in matrices]
    found = guess.exchange_correlation_matrices(molecule, functional, grid.coords, grid.weights, np.stack(densities))
    expected = dft.numint.NumInt().nr_uks(molecule, grid, functional, matrices)[2]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_functionals_without_a_potential_of_the_density_alone_borrow_that_of_pbe() -> None:
    names = ("LDA,VWN", "PBE", "BLYP", "B3LYP", "wB97X", "r2SCAN", "HF")
    assert [guess.potential_functional(name) for name in names] == ["LDA,VWN", "PBE", "BLYP", *["PBE"] * 4]


def test_any_orbital_basis_and_every_open_shell_object_of_pyscf() -> None:
    density = fitted(CATION)
    molecule = make_molecule(CATION, "def2-TZVP", 4000)
    for solver in (scf.UHF(molecule), scf.ROHF(molecule), dft.UKS(molecule, xc="PBE"), dft.ROKS(molecule, xc="PBE")):
        assert scf_guess(solver, density).shape == (2, molecule.nao_nr(), molecule.nao_nr())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"atom": "O .1 .2 .22; H 0 1.5 -.9; F .3 -1.4 -.8"}, "belongs to H2O with atoms"),
        ({"atom": "O .1 .2 .22; H 0 1.5 -.9; H .3 -1.4 -.7"}, "other positions"),
        ({"charge": -2}, "10 electrons and the molecule has 12"),
        ({"cart": True}, "cart=False"),
        ({"ecp": {"O": "stuttgart"}, "basis": {"O": "stuttgart", "H": "def2-SVP"}}, "core potentials"),
    ],
)
def test_another_molecule_is_refused(changes: dict[str, Any], words: str) -> None:
    atoms = list(zip("OHH", WATER.positions.tolist(), strict=True))
    given = {"atom": atoms, "basis": "def2-SVP", "unit": "Bohr", "verbose": 0, "spin": None, **changes}
    with pytest.raises(InputError, match=words):
        scf_guess(dft.RKS(gto.M(**given), xc="PBE"), fitted(WATER))


def test_objects_of_other_kinds_and_backends_without_a_guess_refuse() -> None:
    with pytest.raises(InputError, match=r"not for GHF"):
        scf_guess(scf.GHF(make_molecule(WATER, "def2-SVP", 4000)), fitted(WATER))
    with pytest.raises(InputError, match="PySCFBackend makes no density matrix"):
        ReferenceBackend.starting_density_matrix(PySCFBackend(PBE), fitted(WATER))


def test_predict_writes_a_guess_that_pyscf_starts_from(finished_run: FinishedRun, tmp_path: Path) -> None:
    """The lines of docs/method.md; the model of this run has seen 14 frames for 60 steps."""
    geometry = finished_run.folder / "water.xyz"
    done = densnet("predict", finished_run.model, geometry, "--scf-guess", "water.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "water.npz" in done.stdout
    given = np.load(tmp_path / "water.npz")
    atoms = list(zip(given["numbers"].tolist(), given["positions_bohr"].tolist(), strict=True))
    molecule = gto.M(atom=atoms, unit="Bohr", basis=str(given["basis"]), charge=int(given["charge"]), verbose=0)
    solver = scf.RHF(molecule).density_fit()
    solver.kernel(dm0=given["density_matrix"])
    default = scf.RHF(molecule).density_fit().run()
    assert solver.e_tot == pytest.approx(default.e_tot, abs=1e-8)
    start = solver.energy_tot(given["density_matrix"])
    assert 0 < start - solver.e_tot < 0.05
    basis = GaussianBasis.from_dict(json.loads(str(given["shells"])))
    assert basis.n_functions(given["numbers"]) == len(given["density_matrix"]) == molecule.nao_nr()

    done = densnet("predict", finished_run.model, geometry, "--scf-guess", "no/water.npz", cwd=tmp_path)
    assert done.returncode != 0
    assert "no/water.npz cannot be written: No such file" in " ".join(done.stderr.split())
