"""Properties of the PySCF backend: field response, dispersion, families of functionals; kept and fitted in a store."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from densnet_pyscf import response as pyscf_response
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.mean_field import make_solver
from densnet_pyscf.molecule import make_molecule
from densnet_pyscf.plugin import densnet_components

from densnet_core.basis.base import Basis
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import ConvergenceError, InputError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.dispersion import Dispersion
from densnet_core.reference.finite_field import field_response
from densnet_core.reference.level import PROPERTIES, LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory
from densnet_core.stores.fits import Fit
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure
from densnet_core.testing.reference import BENT
from densnet_core.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM
from densnet_core.workflow.labels import label_into
from densnet_core.workflow.property_fits import FITTED, fit_properties, fit_property_into, property_fit_name
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.stores import project_store

CATION = Structure(BENT.numbers, BENT.positions, charge=1, multiplicity=2)
RESPONSE = ("polarizability", "density_response")


def backend(level: str, **options: object) -> PySCFBackend:
    return PySCFBackend(LevelOfTheory.parse(level), PySCFOptions(**options))


def water(bond: float, angle: float) -> Structure:
    """O-H in angstrom, H-O-H in degrees; O at the origin, the axis along z."""
    half = np.radians(angle) / 2.0
    arm = bond / BOHR_TO_ANGSTROM * np.array([np.sin(half), 0.0, np.cos(half)])
    return Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], arm, arm * [-1.0, 1.0, 1.0]]))


@pytest.mark.parametrize(
    ("level", "structure", "density_fitting"),
    [
        ("HF/6-31G", CATION, False),
        ("SVWN/6-31G", BENT, False),
        ("r2SCAN/6-31G", BENT, True),
        ("wB97X/6-31G", BENT, True),
        ("PBE0/6-31G", CATION, True),
    ],
    ids=["HF-cation", "SVWN", "r2SCAN", "wB97X", "PBE0-cation"],
)
def test_analytic_response_against_finite_fields(level: str, structure: Structure, density_fitting: bool) -> None:
    """Polarizability and first-order orbitals; restricted and unrestricted, every family of functionals."""
    options = {"density_fitting": density_fitting, "conv_tol": 1e-11, "grid_level": 1}  # a coarse grid on both sides
    result = backend(level, **options).compute(structure, RESPONSE)
    basis = MolecularBasis(backend(level).orbital_basis(structure.numbers), structure.numbers)
    polarizability, orbitals = field_response(
        lambda field: backend(level, electric_field=field.tolist(), **options).compute(structure),
        result.orbitals,
        result.occupations,
        (structure.n_electrons + structure.multiplicity - 1) // 2,
        two_center("overlap", basis, torch.tensor(structure.positions)).numpy(),
    )
    assert result.polarizability is not None
    assert result.response is not None
    size = np.abs(result.polarizability).max()
    np.testing.assert_allclose(polarizability, result.polarizability, atol=1e-4 * size)
    np.testing.assert_allclose(orbitals, result.response, atol=2e-4 * np.abs(result.response).max())
    assert (np.linalg.eigvalsh(result.polarizability) > 0.0).all()


@pytest.mark.parametrize(
    ("basis", "bond", "angle", "debye", "cubic_angstrom"),
    [("def2-SVP", 0.9667, 103.09, 2.00, 0.79), ("def2-SVPD", 0.9645, 104.9, 1.90, 1.44)],
)
def test_dipole_and_polarizability_of_water_at_its_minimum(
    basis: str, bond: float, angle: float, debye: float, cubic_angstrom: float
) -> None:
    """B3LYP, numbers of another PySCF script with its own response code (pyscf-properties)."""
    result = backend(f"B3LYP/{basis}").compute(water(bond, angle), ["polarizability"])
    assert result.polarizability is not None
    assert result.response is None
    assert np.linalg.norm(result.dipole) * AU_TO_DEBYE == pytest.approx(debye, abs=0.015)
    assert np.trace(result.polarizability) / 3.0 * BOHR_TO_ANGSTROM**3 == pytest.approx(cubic_angstrom, abs=0.008)


def test_non_local_correlation_takes_finite_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """PySCF leaves it out of its response; the way round gives what the analytic way gives where both exist."""
    calculation = backend("PBE/STO-3G", grid_level=1)
    analytic = calculation.compute(CATION, RESPONSE)
    monkeypatch.setattr("densnet_pyscf.backend.has_analytic_response", lambda solver: False)
    numerical = calculation.compute(CATION, RESPONSE)
    np.testing.assert_allclose(numerical.polarizability, analytic.polarizability, atol=1e-3)
    np.testing.assert_allclose(numerical.response, analytic.response, atol=1e-4)
    for method, analytic_exists in (("PBE", True), ("HF", True), ("B97M-V", False), ("wB97X-V", False)):
        solver = make_solver(make_molecule(BENT, "STO-3G", 1000), method, PySCFOptions())
        assert pyscf_response.has_analytic_response(solver) == analytic_exists


def test_a_response_that_does_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyscf_response, "MAX_CYCLE", 1)
    with pytest.raises(ConvergenceError, match="coupled-perturbed"):
        backend("HF/6-31G").compute(BENT, ["polarizability"])


@pytest.mark.parametrize("method", ["SVWN", "PBE", "TPSS", "r2SCAN", "B3LYP", "PBE0", "wB97X", "HF", "PBE-D4"])
def test_forces_of_every_family_are_derivatives_of_the_energy(method: str) -> None:
    calculation = backend(f"{method}/STO-3G", conv_tol=1e-10)
    direction = np.random.default_rng(7).normal(size=(3, 3))
    ends = [calculation.compute(BENT.with_positions(BENT.positions + h * direction)).energy for h in (2e-3, -2e-3)]
    slope = -(calculation.compute(BENT).forces * direction).sum()
    assert slope == pytest.approx((ends[0] - ends[1]) / 4e-3, abs=1e-5)


def test_the_correction_is_added_to_energy_and_forces_and_named() -> None:
    bare, corrected = (backend(level).compute(BENT) for level in ("PBE/STO-3G", "PBE-D3BJ/STO-3G"))
    energy, forces = Dispersion("PBE", "d3bj").energy_and_forces(BENT)
    assert corrected.energy - bare.energy == pytest.approx(energy, abs=1e-10)
    np.testing.assert_allclose(corrected.forces - bare.forces, forces, atol=1e-9)
    assert corrected.provenance["dispersion"].startswith("D3BJ for PBE, dftd3 ")
    assert "dispersion" not in bare.provenance


def test_the_component_announces_what_the_backend_computes() -> None:
    (component,) = densnet_components()
    assert component.capabilities == PySCFBackend.properties == frozenset(PROPERTIES)


def test_refusals_name_the_property() -> None:
    with pytest.raises(InputError, match=r"no property 'polarisability'\. Did you mean 'polarizability'"):
        backend("HF/STO-3G").compute(BENT, ["polarisability"])
    with pytest.raises(InputError, match="dftd4 has no D4 parameters"):
        backend("SVWN-D4/STO-3G")


# From the calculation to fitted densities in a store

LEVEL = LevelOfTheory("PBE0", "def2-SVP")
FACTORY = BackendFactory(
    "densnet_pyscf.backend:PySCFBackend", LEVEL, {}, "densnet_pyscf.config:PySCFOptions", properties=PROPERTIES
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferenceStore]:
    """Water and its cation with all properties, labelled and fitted by workers."""
    path = tmp_path_factory.mktemp("properties") / "water.zarr"
    executor = LocalExecutor(LocalExecutorOptions(workers=1))
    with ReferenceStore.create(path, LEVEL, "pyscf", {}) as created:
        assert label_into(created, FACTORY, [BENT, CATION], executor) == []
        basis = basis_by_name("def2-universal-jkfit", [1, 8])
        for quantity in ("density_response", "spin_density"):
            fit_property_into(created, FACTORY, basis, "coulomb", quantity, executor)
        yield created


def test_every_property_is_kept_and_checked(store: ReferenceStore) -> None:
    assert store.info()["labels"]["response"] == 2
    assert [fit["quantity"] for fit in store.info()["fits"]] == ["density_response", "spin_density"]
    assert verify(store.path) == []
    result = ReferenceStore.open(store.path).result(0)
    assert result.quadrupole is not None
    assert result.response is not None
    assert result.response.shape == (3, *result.orbitals.shape)
    closed = np.einsum("xpi,pi,i->x", result.response, _overlap(store, 0) @ result.orbitals, result.occupations)
    np.testing.assert_allclose(closed, 0.0, atol=1e-9)  # no charge: orthogonal to what it is the change of


@pytest.mark.parametrize("index", [0, 1])
def test_the_fitted_response_has_no_charge_and_the_dipole_of_the_polarizability(
    store: ReferenceStore, index: int
) -> None:
    fit = next(store.fit(name) for name in store.fit_names() if "density_response" in name)
    structure, polarizability = store.structure(index), store.result(index, ("polarizability",)).polarizability
    functions = MolecularBasis(fit.basis, structure.numbers)
    coefficients = fit.coefficients(index)
    assert coefficients.shape == (3, functions.n_functions)
    np.testing.assert_allclose(coefficients @ functions.electron_counts().numpy(), 0.0, atol=1e-10)
    moments = functions.dipoles(torch.tensor(structure.positions)).numpy()
    assert polarizability is not None
    np.testing.assert_allclose(-(coefficients @ moments), polarizability, atol=1e-9)
    assert fit.constraints == ("charge", "dipole")


def test_the_fitted_spin_density_holds_the_unpaired_electrons(store: ReferenceStore) -> None:
    fit = next(store.fit(name) for name in store.fit_names() if "spin_density" in name)
    counts = MolecularBasis(fit.basis, BENT.numbers).electron_counts().numpy()
    assert (fit.coefficients(0) == 0.0).all()
    spin = fit.coefficients(1)
    assert spin @ counts == pytest.approx(1.0, abs=1e-10)
    # The hole of water's cation is in the lone pair of oxygen, the middle atom of three.
    on_atoms = [part @ count for part, count in zip(_by_atom(fit, spin), _by_atom(fit, counts), strict=True)]
    assert on_atoms[1] == pytest.approx(1.0, abs=0.15)


def test_the_command_and_a_run_make_the_same_fits(store: ReferenceStore, tmp_path: Path) -> None:
    copy = tmp_path / "water.zarr"
    shutil.copytree(store.path, copy, ignore=shutil.ignore_patterns(".lock"))
    basis = basis_by_name("def2-universal-jfit", [1, 8])
    with ReferenceStore.open(copy, writable=True) as writable:
        executor = LocalExecutor(LocalExecutorOptions(workers=1))
        fit_properties(writable, FACTORY, FITTED, basis, "coulomb", executor, Reporter())
    made = {name: fit.coefficients(1) for name, fit in _fits(ReferenceStore.open(copy), basis)}
    assert len(made) == 2
    shutil.rmtree(copy)
    shutil.copytree(store.path, copy, ignore=shutil.ignore_patterns(".lock"))
    for quantity in FITTED:
        name, frames = project_store(copy, basis.name, "coulomb", Reporter(), quantity)
        assert (name, frames) == (property_fit_name(basis, "coulomb", quantity), 2)
        found = ReferenceStore.open(copy).fit(name)
        assert found.quantity == quantity
        np.testing.assert_allclose(found.coefficients(1), made[name], atol=1e-10)
        assert np.abs(made[name]).max() > 1e-2


def _fits(store: ReferenceStore, basis: Basis) -> Iterator[tuple[str, Fit]]:
    for name in store.fit_names():
        if store.fit(name).basis.content_hash() == basis.content_hash():
            yield name, store.fit(name)


def _by_atom(fit: object, values: np.ndarray) -> list[np.ndarray]:
    sizes = [fit.basis.n_functions([number]) for number in BENT.numbers]  # type: ignore[attr-defined]
    return np.split(values, np.cumsum(sizes)[:-1])


def _overlap(store: ReferenceStore, index: int) -> np.ndarray:
    structure, basis = store.structure(index), store.orbital_basis
    assert basis is not None
    functions = MolecularBasis(basis, structure.numbers)
    return two_center("overlap", functions, torch.tensor(structure.positions)).numpy()
