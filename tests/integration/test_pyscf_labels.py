"""What makes labels cheap - two grids, our own integration and gradient - against plain PySCF called directly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from densnet_pyscf import gradient, mean_field, two_grids
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.integration import SPARSE, Integrator, function_blocks, orbitals_of
from densnet_pyscf.molecule import make_molecule
from densnet_pyscf.weights import Cells, points_of
from pyscf import dft, gto
from pyscf.grad.rks import grids_response_cc

from densnet_core.errors import ConvergenceError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Array, Structure
from densnet_core.testing.reference import BENT, HYDROXIDE, HYDROXYL

CATION = Structure(BENT.numbers, BENT.positions, charge=1, multiplicity=2)


def molecule_of(structure: Structure, basis: str = "def2-SVP") -> gto.Mole:
    atoms = list(zip(structure.numbers.tolist(), structure.positions.tolist(), strict=True))
    return gto.M(
        atom=atoms,
        unit="Bohr",
        basis=basis,
        charge=structure.charge,
        spin=structure.multiplicity - 1,
        verbose=0,
    )


def plain(structure: Structure, method: str, grid_level: int = 4) -> Any:
    """The SCF in the fewest lines of PySCF, converged as tightly as ours."""
    molecule = molecule_of(structure)
    solver = (dft.UKS if molecule.spin else dft.RKS)(molecule, xc=method).density_fit(auxbasis="def2-universal-jkfit")
    solver.grids.level, solver.conv_tol, solver.conv_tol_grad = grid_level, 1e-10, 3e-7
    solver.kernel()
    assert solver.converged
    return solver


def ours(structure: Structure, method: str, **options: Any) -> Any:
    chosen = PySCFOptions(**options)
    solver = mean_field.make_solver(make_molecule(structure, "def2-SVP", 4000), method, chosen)
    mean_field.solve(solver, "ours", coarse_grid=chosen.coarse_grid)
    return solver


def full_gradient(solver: Any) -> Array:
    derivative = solver.nuc_grad_method()
    derivative.grid_response = True
    return np.asarray(derivative.kernel())


def nmae_percent(solver: Any, one: Array, other: Array) -> float:
    points = solver.grids
    difference = dft.numint.eval_rho(solver.mol, dft.numint.eval_ao(solver.mol, points.coords), one - other)
    return float(100.0 * points.weights @ np.abs(difference) / solver.mol.nelectron)


def total(matrices: Array) -> Array:
    matrices = np.asarray(matrices)
    return np.asarray(matrices.sum(axis=0) if matrices.ndim == 3 else matrices)


@pytest.mark.parametrize(
    ("structure", "method", "evaluations"),
    [
        (BENT, "PBE", 3),
        (BENT, "LDA,VWN", 3),
        (BENT, "B3LYP", 3),
        (BENT, "wB97X", 4),
        (BENT, "r2SCAN", 4),
        (CATION, "PBE", 4),
        (CATION, "B3LYP", 4),
        (HYDROXIDE, "PBE0", 4),
    ],
    ids=lambda value: value.formula + f"{value.charge:+d}" if isinstance(value, Structure) else None,
)
def test_two_grids_give_the_result_of_the_fine_one(
    structure: Structure, method: str, evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And take the fine one a few times, where plain PySCF takes it in each of some ten iterations."""
    points: list[int] = []
    integrate = Integrator._integrate

    def counted(self: Integrator, molecule: Any, grids: Any, *rest: Any) -> Any:
        points.append(grids.size)
        return integrate(self, molecule, grids, *rest)

    monkeypatch.setattr(Integrator, "_integrate", counted)
    found, expected = ours(structure, method), plain(structure, method)
    assert points.count(found.grids.size) <= evaluations
    assert found.grids.size == expected.grids.size
    assert found.e_tot == pytest.approx(expected.e_tot, abs=1e-9)
    densities = [total(solver.make_rdm1()) for solver in (found, expected)]
    assert nmae_percent(expected, *densities) < 1e-4
    np.testing.assert_allclose(mean_field.forces(found, "ours"), -full_gradient(expected), atol=2e-6)
    np.testing.assert_allclose(found.mo_energy, expected.mo_energy, atol=1e-5)


@pytest.mark.parametrize(("grid_level", "grids"), [(1, 2), (2, 2), (3, 3)])
def test_a_grid_between_the_two_is_one_that_is_finer_than_the_coarse(
    grid_level: int, grids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Any] = []
    integrate = Integrator._integrate

    def noted(self: Integrator, molecule: Any, grids: Any, *rest: Any) -> Any:
        used.append(grids)
        return integrate(self, molecule, grids, *rest)

    monkeypatch.setattr(Integrator, "_integrate", noted)
    found, expected = ours(BENT, "PBE", grid_level=grid_level), plain(BENT, "PBE", grid_level)
    assert len({id(each) for each in used}) == grids
    assert found.e_tot == pytest.approx(expected.e_tot, abs=1e-9)
    assert nmae_percent(expected, *(total(solver.make_rdm1()) for solver in (found, expected))) < 1e-4


def test_without_the_coarse_grid_the_result_is_the_same() -> None:
    level = LevelOfTheory("PBE", "def2-SVP")
    one, other = (PySCFBackend(level, PySCFOptions(coarse_grid=flag)).compute(BENT) for flag in (True, False))
    assert one.energy == pytest.approx(other.energy, abs=1e-9)
    np.testing.assert_allclose(one.forces, other.forces, atol=1e-6)
    np.testing.assert_allclose(one.dipole, other.dipole, atol=1e-5)


@pytest.mark.parametrize("structure", [BENT, CATION], ids=["restricted", "unrestricted"])
def test_two_grids_in_an_electric_field(structure: Structure) -> None:
    field = np.array([0.01, -0.02, 0.03])
    level = LevelOfTheory("PBE", "def2-SVP")
    with_field = PySCFOptions(electric_field=tuple(field), coarse_grid=True)
    result = PySCFBackend(level, with_field).compute(structure)
    molecule = molecule_of(structure)
    solver = (dft.UKS if molecule.spin else dft.RKS)(molecule, xc="PBE").density_fit(auxbasis="def2-universal-jkfit")
    solver.grids.level, solver.conv_tol_grad = 4, 1e-6
    with molecule.with_common_origin((0.0, 0.0, 0.0)):
        core = solver.get_hcore() + np.einsum("x,xij->ij", field, molecule.intor("int1e_r"))
    solver.get_hcore = lambda *_: core
    nuclei = molecule.atom_charges() @ molecule.atom_coords() @ field
    assert result.energy == pytest.approx(solver.kernel() - nuclei, abs=1e-8)


@pytest.mark.parametrize(
    ("structure", "options"),
    [(HYDROXYL, {}), (BENT, {"density_fitting": False}), (BENT, {"grid_level": 0})],
    ids=["open shell on a line", "exact integrals", "coarsest grid"],
)
def test_where_two_grids_do_not_apply(structure: Structure, options: dict[str, Any]) -> None:
    chosen = PySCFOptions(**options)
    solver = mean_field.make_solver(make_molecule(structure, "def2-SVP", 4000), "PBE", chosen)
    assert not two_grids.applies(solver)


def test_a_coarse_grid_that_leads_nowhere_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """No correction is good enough: the fine grid alone finishes, with PySCF's own cycles."""
    monkeypatch.setattr(two_grids, "MAX_CORRECTIONS", 1)
    assert ours(BENT, "PBE").e_tot == pytest.approx(plain(BENT, "PBE").e_tot, abs=1e-9)
    with pytest.raises(ConvergenceError, match="in 1 cycles"):
        ours(BENT, "PBE", max_cycle=1)


@pytest.mark.parametrize("kept_mb", [0.0, 1e3])
@pytest.mark.parametrize("method", ["LDA,VWN", "PBE", "TPSS"])
def test_the_potential_is_that_of_pyscf(method: str, kept_mb: float) -> None:
    """Of a chain so long that most functions are negligible in most blocks."""
    chain = Structure(np.full(16, 2), np.linspace([0.0, 0.0, 0.0], [90.0, 9.0, 0.0], 16))
    molecule = molecule_of(chain, "6-31G")
    grids = dft.gen_grid.Grids(molecule)
    grids.level = 1
    grids.build(with_non0tab=True)
    blocks = function_blocks(molecule, grids.coords, 0, grids.non0tab, grids.cutoff)
    assert any(not isinstance(kept, slice) and kept.size < SPARSE * molecule.nao for _, kept, _ in blocks)
    vectors = np.linalg.qr(np.random.default_rng(3).normal(size=(molecule.nao, molecule.nao)))[0][:, :16]
    alpha, beta = vectors @ vectors.T, 0.7 * vectors[:, :9] @ vectors[:, :9].T
    integrator, other = Integrator(kept_mb), dft.numint.NumInt()
    for _ in range(2):  # the second time from what was kept
        found = integrator.nr_rks(molecule, grids, method, 2.0 * alpha)
        np.testing.assert_allclose(found[2], other.nr_rks(molecule, grids, method, 2.0 * alpha)[2], atol=1e-11)
        found = integrator.nr_uks(molecule, grids, method, np.stack([alpha, beta]))
        expected = other.nr_uks(molecule, grids, method, np.stack([alpha, beta]))
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-11)
        assert found[1] == pytest.approx(expected[1], rel=1e-11)
        np.testing.assert_allclose(found[2], expected[2], atol=1e-11)


@pytest.mark.parametrize("structure", [BENT, CATION, HYDROXYL], ids=["restricted", "unrestricted", "hydroxyl"])
@pytest.mark.parametrize("method", ["LDA,VWN", "PBE", "B3LYP", "TPSS", "wB97X"])
@pytest.mark.parametrize("density_fitting", [True, False])
def test_the_gradient_is_that_of_pyscf(structure: Structure, method: str, density_fitting: bool) -> None:
    solver = ours(structure, method, density_fitting=density_fitting, grid_level=1)
    assert gradient.applies(solver)
    np.testing.assert_allclose(mean_field.forces(solver, "ours"), -full_gradient(solver), atol=1e-11)


def test_gradients_of_other_kinds_are_left_to_pyscf() -> None:
    molecule = make_molecule(BENT, "STO-3G", 4000)
    for method in ("HF", "wB97M-V"):
        assert not gradient.applies(mean_field.make_solver(molecule, method, PySCFOptions()))


def test_orbitals_of_a_bare_density_matrix_make_it_again() -> None:
    solver = plain(CATION, "PBE", grid_level=0)
    matrices = solver.make_rdm1()
    for given in (matrices, np.asarray(matrices)):
        for matrix, (coefficients, occupations) in zip(matrices, orbitals_of(given), strict=True):
            np.testing.assert_allclose((coefficients * occupations) @ coefficients.T, matrix, atol=1e-12)


@pytest.mark.parametrize("adjusted", [True, False])
def test_weights_and_their_gradient_are_pyscfs_where_cells_of_far_atoms_are_left_out(adjusted: bool) -> None:
    """A chain longer than the reach of a cell, with more atoms than those that bound a cell function."""
    chain = "; ".join(f"{'CHO'[i % 3]} {2.1 * i} {0.7 * (i % 2)} {0.3 * (i % 5)}" for i in range(15))
    molecule = gto.M(atom=chain, unit="Bohr", basis="STO-3G", spin=None, verbose=0)
    grids = dft.gen_grid.Grids(molecule)
    grids.level = 0
    if not adjusted:
        grids.radii_adjust = None
    cells, left_out = Cells(grids), 0
    for own, (points, weights, derivatives) in zip(points_of(grids), grids_response_cc(grids), strict=True):
        blocks = list(cells.blocks(own))
        kept = np.concatenate([block.positions for block in blocks])
        index = {tuple(point): i for i, point in enumerate(points)}
        rows = np.array([index[tuple(point)] for point in kept])
        np.testing.assert_allclose(np.concatenate([block.weights for block in blocks]), weights[rows], atol=1e-11)
        assert np.abs(np.delete(weights, rows)).sum() < 1e-10
        left_out += len(points) - len(rows)

        def values(positions: Array) -> Array:
            return np.exp(-0.2 * np.linalg.norm(positions, axis=1)) * np.cos(positions[:, 1])

        found = sum(block.gradient(values(block.positions)) for block in blocks)
        np.testing.assert_allclose(found, np.einsum("p,axp->ax", values(points), derivatives), atol=1e-11)
    assert left_out > 0
    assert min(len(block.members) for block in blocks) < molecule.natm
