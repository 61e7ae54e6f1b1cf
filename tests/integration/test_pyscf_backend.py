"""The PySCF backend's own promises: conventions, refusals, rescue of a stubborn SCF, bounded memory, free atoms."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.molecule import bare_molecule, orbital_basis
from pyscf import dft, gto

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import ConvergenceError, InputError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.testing.reference import BENT, HYDROXYL, WATER, density_on
from densnet_core.units import BOHR_TO_ANGSTROM


def backend(level: str, **options: object) -> PySCFBackend:
    return PySCFBackend(LevelOfTheory.parse(level), PySCFOptions(**options))


def atom(number: int) -> Structure:
    return Structure(np.array([number]), np.zeros((1, 3)), multiplicity=1 + number % 2)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("cc-pVDZ", (8, 1)),  # general contractions
        ("ano-rcc", (7, 1)),  # many contractions of one set of exponents, up to g
        ("6-31G*", (8, 17)),  # sp shells
        ("aug-cc-pV5Z", (8,)),  # up to h
        ("cc-pV6Z", (9,)),  # up to i, from the Basis Set Exchange or PySCF
        ("def2-QZVP", (36,)),
        ("unc-cc-pVDZ", (6,)),  # uncontracted by PySCF
    ],
)
def test_orbital_basis_lists_the_functions_in_the_order_of_pyscf(name: str, numbers: tuple[int, ...]) -> None:
    positions = np.array([[0.1, 0.2, 0.3], [1.4, -0.8, 0.9]])[: len(numbers)]
    structure = Structure(np.array(numbers), positions, multiplicity=1 + sum(numbers) % 2)
    expected = bare_molecule(structure, name, 4000).intor("int1e_ovlp")
    basis = MolecularBasis(orbital_basis(numbers, name), numbers)
    overlap = two_center("overlap", basis, torch.tensor(positions)).numpy()
    # Loosely for the cancellation in contractions of very tight functions.
    np.testing.assert_allclose(overlap, expected, atol=1e-9)


def test_same_energy_as_a_plain_pyscf_script() -> None:
    atoms = list(zip(HYDROXYL.numbers.tolist(), HYDROXYL.positions, strict=True))
    script = dft.UKS(gto.M(atom=atoms, unit="Bohr", basis="def2-svp", spin=1), xc="PBE0")
    script = script.density_fit(auxbasis="def2-universal-jkfit")
    script.grids.level, script.conv_tol_grad = 4, 1e-6
    result = backend("PBE0/def2-SVP").compute(HYDROXYL)
    assert result.energy == pytest.approx(script.kernel(), abs=1e-8)
    np.testing.assert_allclose(result.dipole, script.dip_moment(unit="AU", verbose=0), atol=1e-5)


@pytest.mark.parametrize("method", ["r2SCAN", "wB97X"])
def test_forces_of_other_kinds_of_functional(method: str) -> None:
    """Meta-GGA and range-separated hybrid: central finite differences."""
    calculation = backend(f"{method}/STO-3G")
    direction = np.random.default_rng(7).normal(size=(3, 3))
    ends = [calculation.compute(BENT.with_positions(BENT.positions + h * direction)).energy for h in (2e-3, -2e-3)]
    slope = -(calculation.compute(BENT).forces * direction).sum()
    assert slope == pytest.approx((ends[0] - ends[1]) / 4e-3, abs=2e-5)


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ("PBE-D3/def2-SVP", "dispersion"),
        ("wB97X-D/def2-SVP", "dispersion"),
        ("wB97X-2/def2-SVP", "expression"),  # PySCF takes it for wB97X minus functional number 2
        ("0.5*PBE/def2-SVP", "expression"),
        ("402/def2-SVP", "expression"),
        ("LDA/def2-SVP", "without correlation"),
        ("GGA_K_APBE/def2-SVP", "exchange-correlation"),
        ("B2PLYP/def2-SVP", "double hybrids"),
        ("PBEO/def2-SVP", "PBE0|PBEOP"),
        ("PBE/def2-SVPP", "def2-?svp"),
        ("PBE/gth-szv", "pseudopotentials"),
        ("PBE/6-31G(d)x", "6-?31"),
    ],
)
def test_levels_that_pyscf_would_misread_are_refused(level: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        backend(level)


def test_basis_must_be_a_name_not_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "def2-SVP").write_text("H S\n 1.0 1.0\n")
    backend("PBE/def2-SVP")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="file"):
        backend("PBE/def2-SVP")


@pytest.mark.parametrize(("level", "number"), [("HF/def2-SVP", 37), ("HF/LANL2DZ", 11), ("HF/cc-pVDZ-PP", 29)])
def test_effective_core_potentials_are_refused(level: str, number: int) -> None:
    with pytest.raises(InputError, match="core potential"):
        backend(level).compute(atom(number))


def test_the_level_of_the_shipped_bases_has_all_electrons_of_their_elements() -> None:
    for number in basis_by_name("densnet-m").elements:
        shells = backend("PBE/aug-cc-pVDZ").orbital_basis(np.array([number])).shells(number)
        row = 1 + int(np.searchsorted([2, 10, 18], number))  # of the periodic table: as many s shells are occupied
        assert sum(shell.l == 0 for shell in shells) > row


def test_other_refusals_say_what_is_wrong() -> None:
    calculation = backend("HF/def2-SVP")
    shifted = WATER.positions.copy()
    shifted[1] = shifted[0] + [0.0, 0.0, 0.05 / BOHR_TO_ANGSTROM]
    with pytest.raises(InputError, match=r"O \(atom 1\) and H \(atom 2\) are 0\.0500 angstrom apart"):
        calculation.compute(WATER.with_positions(shifted))
    with pytest.raises(InputError, match="no electrons"):
        calculation.compute(Structure(np.array([1]), np.zeros((1, 3)), charge=1))
    with pytest.raises(InputError, match="functions"):
        backend("HF/STO-3G").compute(Structure(np.array([2]), np.zeros((1, 3)), multiplicity=3))
    with pytest.raises(InputError, match="def2-jfit-typo"):
        backend("HF/STO-3G", auxiliary_basis="def2-jfit-typo").compute(WATER)
    with pytest.raises(InputError, match="Metric"):
        calculation.project(WATER, np.ones((24, 1)), np.ones(1), calculation.orbital_basis(np.array([1, 8])), "l2")


def test_a_second_order_method_rescues_what_diis_leaves() -> None:
    assert not _converges_with_diis(max_cycle=4)
    rescued = backend("PBE/STO-3G", max_cycle=4, density_fitting=False).compute(BENT)
    normal = backend("PBE/STO-3G", density_fitting=False).compute(BENT)
    assert rescued.energy == pytest.approx(normal.energy, abs=1e-8)
    np.testing.assert_allclose(rescued.forces, normal.forces, atol=1e-5)
    with pytest.raises(ConvergenceError, match="H2O at PBE/STO-3G"):
        backend("PBE/STO-3G", max_cycle=1).compute(BENT)


def _converges_with_diis(max_cycle: int) -> bool:
    atoms = list(zip(BENT.numbers.tolist(), BENT.positions, strict=True))
    script = dft.RKS(gto.M(atom=atoms, unit="Bohr", basis="sto-3g", verbose=0), xc="PBE")
    script.max_cycle = max_cycle
    script.kernel()
    return bool(script.converged)


@pytest.mark.parametrize("metric", ["coulomb", "overlap"])
def test_projection_in_blocks_is_the_same(metric: str) -> None:
    plenty, little = backend("HF/def2-TZVP"), backend("HF/def2-TZVP", max_memory_mb=1)
    rng = np.random.default_rng(0)
    n_functions = plenty.orbital_basis(WATER.numbers).n_functions(WATER.numbers)
    orbitals, occupations = rng.normal(size=(n_functions, 4)), np.array([2.0, 2.0, 1.0, 0.5])
    basis = GaussianBasis("up to l = 6", {z: [Shell(x, (0.5 + x,), (1.0,)) for x in (6, 0, 3, 5, 1)] for z in (1, 8)})
    once = plenty.project(WATER, orbitals, occupations, basis, metric)
    pieces = little.project(WATER, orbitals, occupations, basis, metric)
    np.testing.assert_allclose(pieces, once, rtol=0, atol=1e-11)


def test_projection_knows_the_electrons_and_the_dipole() -> None:
    """<P|rho> of ever flatter s and p functions gives the number of electrons and the dipole."""
    calculation = backend("PBE/def2-SVP")
    result = calculation.compute(BENT)
    flat = 1e-7
    basis = GaussianBasis("flat", {z: [Shell(0, (flat,), (1.0,)), Shell(1, (flat,), (1.0,))] for z in (1, 8)})
    values = calculation.project(BENT, result.orbitals, result.occupations, basis, "overlap")
    s_height = (2.0 * flat / np.pi) ** 0.75
    p_slope = s_height * 2.0 * np.sqrt(flat)
    first = BENT.positions[0]
    assert values[0] / s_height == pytest.approx(10.0, abs=1e-4)
    electronic = values[1:4] / p_slope + 10.0 * first
    np.testing.assert_allclose(BENT.numbers @ BENT.positions - electronic, result.dipole, atol=1e-4)


@pytest.mark.parametrize(
    ("level", "numbers"),
    [("HF/def2-SVP", range(1, 37)), ("PBE/aug-cc-pVDZ", (1, 6, 7, 8, 16)), ("PBE/def2-SVP", (24, 29))],
)
def test_free_atoms_hold_their_electrons(level: str, numbers: Iterable[int]) -> None:
    calculation = backend(level)
    for number in numbers:
        density = calculation.atomic_density(number)
        assert density.weights @ density.values == pytest.approx(number, rel=1e-7)


@pytest.mark.parametrize(("level", "number"), [("PBE/def2-TZVP", 10), ("r2SCAN/def2-SVP", 18), ("HF/def2-SVP", 30)])
def test_free_atom_with_closed_shells_is_the_ordinary_one(level: str, number: int) -> None:
    """By two routes: the averaged atom on its radial grid, and the molecule's orbitals evaluated by the core."""
    calculation = backend(level, density_fitting=False, grid_level=6, conv_tol=1e-11)
    free = calculation.atomic_density(number)
    nucleus = atom(number)
    result = calculation.compute(nucleus)
    basis = MolecularBasis(calculation.orbital_basis(nucleus.numbers), nucleus.numbers)
    direction = np.array([0.6, -0.48, 0.64])
    values = density_on(free.radii[:, None] * direction, basis, nucleus, result)
    np.testing.assert_allclose(free.values, values, rtol=1e-4, atol=1e-12)


def test_hydrogen_atom_of_hartree_fock_is_the_exact_one() -> None:
    """The restricted equations would let its electron repel itself: exp(-2r)/pi, 1/pi at the nucleus."""
    density = backend("HF/aug-cc-pVQZ").atomic_density(1)
    outside = (density.radii > 0.1) & (density.radii < 4.0)
    np.testing.assert_allclose(
        density.values[outside], np.exp(-2.0 * density.radii[outside]) / np.pi, atol=2e-3, rtol=0.03
    )


def test_density_of_a_dissociated_molecule_is_that_of_its_atoms() -> None:
    """Two hydrogen atoms 30 bohr apart in a triplet: the density near one is the atom's."""
    pair = Structure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 30.0]]), multiplicity=3)
    calculation = backend("HF/def2-TZVP", density_fitting=False)
    result = calculation.compute(pair)
    free = calculation.atomic_density(1)
    near = (free.radii > 0.01) & (free.radii < 5.0)
    points = np.zeros((near.sum(), 3))
    points[:, 0] = free.radii[near]
    basis = MolecularBasis(calculation.orbital_basis(pair.numbers), pair.numbers)
    np.testing.assert_allclose(density_on(points, basis, pair, result), free.values[near], atol=1e-5)
