"""The Psi4 backend's own promises: which Psi4, the same numbers as PySCF, limits, failures, nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from densnet_psi4.backend import Psi4Backend, check_net_force
from densnet_psi4.basis import basis_of, check_basis_name, check_basis_used
from densnet_psi4.config import Psi4Options
from densnet_psi4.configurations import electrons_per_l
from densnet_psi4.failures import error_of_death, error_of_psi4
from densnet_psi4.functional import functional_names, functional_record
from densnet_psi4.installation import Installation, find_installation
from densnet_psi4.process import Limits, run_job
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.functional import check_method
from pyscf.data.elements import NRSRHF_CONFIGURATION, NRSRHFS_CONFIGURATION

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.electron import nmae_percent
from densnet_core.density.fitting import fit_density
from densnet_core.density.quadrature import quadrature
from densnet_core.errors import ConvergenceError, DataError, InputError, PluginError, ResourceError, TransientError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.properties import density_orbitals
from densnet_core.testing.reference import BENT, HYDROXIDE, HYDROXYL, tensor
from densnet_core.testing.reference_properties import processes_with
from densnet_core.units import AU_TO_DEBYE

COARSE = {"radial_points": 50, "angular_points": 194}


def psi4(level: str, **options: object) -> Psi4Backend:
    return Psi4Backend(LevelOfTheory.parse(level), Psi4Options(**options))


def pyscf(level: str, **options: object) -> PySCFBackend:
    return PySCFBackend(LevelOfTheory.parse(level), PySCFOptions(**options))


def test_water_as_with_pyscf() -> None:
    """The numbers of issue 4 for one molecule; the others are in science/test_psi4_agreement.py."""
    level = "PBE/def2-SVP"
    ours, theirs = (backend(level).compute(BENT, ["quadrupole"]) for backend in (psi4, pyscf))
    assert ours.energy == pytest.approx(theirs.energy, abs=1e-6)
    np.testing.assert_allclose(ours.forces, theirs.forces, atol=1e-5)
    np.testing.assert_allclose(ours.dipole * AU_TO_DEBYE, theirs.dipole * AU_TO_DEBYE, atol=1e-4)
    np.testing.assert_allclose(ours.quadrupole, theirs.quadrupole, atol=1e-4)
    basis = basis_by_name("densnet-s", [1, 8])
    functions = MolecularBasis(basis, BENT.numbers)
    metric = two_center("coulomb", functions, tensor(BENT.positions))
    points, weights = quadrature(BENT)
    values = functions.evaluate(tensor(BENT.positions), tensor(points)).numpy()
    densities = []
    for backend, result in ((psi4(level), ours), (pyscf(level), theirs)):
        projection = backend.project(BENT, result.orbitals, result.occupations, basis, "coulomb")
        electronic = tensor(BENT.numbers @ BENT.positions - result.dipole)
        constraints = moment_constraints(functions, tensor(BENT.positions), 10.0, electronic)
        fit = fit_density(metric, tensor(projection), constraints)
        densities.append(values @ np.asarray(fit.coefficients))
    assert nmae_percent(densities[1], densities[0], weights, 10.0) < 1e-4


def test_response_as_with_pyscf() -> None:
    wanted = ["polarizability", "density_response"]
    ours, theirs = (backend("HF/6-31G*").compute(BENT, wanted) for backend in (psi4, pyscf))
    np.testing.assert_allclose(ours.polarizability, theirs.polarizability, atol=1e-3)
    basis = basis_by_name("densnet-s", [1, 8])
    projected = []
    for backend, result in ((psi4("HF/6-31G*"), ours), (pyscf("HF/6-31G*"), theirs)):
        orbitals, occupations = density_orbitals(BENT, result, "density_response")
        projected.append(backend.project(BENT, orbitals, occupations, basis, "coulomb"))
    np.testing.assert_allclose(projected[0], projected[1], atol=2e-4 * np.abs(projected[1]).max())


@pytest.mark.parametrize(("method", "density_fitting"), [("SVWN", True), ("TPSS", True), ("CAM-B3LYP", False)])
def test_functionals_of_other_kinds_as_with_pyscf(method: str, density_fitting: bool) -> None:
    """Long-range exchange is fitted in two ways, which differ by 2e-5 hartree here; its exact integrals agree."""
    ours = psi4(f"{method}/6-31+G*", density_fitting=density_fitting).compute(HYDROXIDE)
    theirs = pyscf(f"{method}/6-31+G*", density_fitting=density_fitting).compute(HYDROXIDE)
    assert ours.energy == pytest.approx(theirs.energy, abs=2e-6)
    np.testing.assert_allclose(ours.forces, theirs.forces, atol=2e-5)


def test_every_functional_is_known_to_pyscf_by_the_same_name() -> None:
    for name in functional_names():
        check_method(name)
        assert functional_record(name.upper().replace("-", "")) == functional_record(name)


def test_exact_integrals_as_with_pyscf() -> None:
    ours, theirs = (backend("HF/def2-SVP", density_fitting=False).compute(HYDROXYL) for backend in (psi4, pyscf))
    assert ours.energy == pytest.approx(theirs.energy, abs=1e-8)
    np.testing.assert_allclose(ours.forces, theirs.forces, atol=1e-6)


@pytest.mark.parametrize(
    ("level", "number"),
    [("PBE0/def2-SVP", 26), ("PBE0/def2-SVP", 1), ("HF/def2-SVP", 1), ("HF/def2-SVP", 21), ("wB97X/def2-SVP", 8)],
)
def test_free_atoms_as_with_pyscf(level: str, number: int) -> None:
    ours, theirs = (backend(level).atomic_density(number) for backend in (psi4, pyscf))
    np.testing.assert_array_equal(ours.radii, theirs.radii)
    assert ours.weights @ np.abs(ours.values - theirs.values) < 2e-6 * number


def test_configurations_of_atoms_are_those_of_the_paper_as_pyscf_has_them() -> None:
    for number in range(1, 87):
        assert list(electrons_per_l(number, True)) == NRSRHF_CONFIGURATION[number]
        assert list(electrons_per_l(number, False)) == NRSRHFS_CONFIGURATION[number]


@pytest.mark.parametrize("metric", ["coulomb", "overlap"])
def test_projection_in_blocks_is_the_same(metric: str) -> None:
    rng = np.random.default_rng(0)
    plenty, little = psi4("HF/def2-TZVP"), psi4("HF/def2-TZVP", max_memory_mb=256)
    orbitals = rng.normal(size=(plenty.orbital_basis(BENT.numbers).n_functions(BENT.numbers), 4))
    occupations = np.array([2.0, 2.0, 1.0, -0.5])
    basis = GaussianBasis("many", {z: [Shell(x, (0.5 + x,), (1.0,)) for x in (4, 0, 3, 2, 1)] * 40 for z in (1, 8)})
    once = plenty.project(BENT, orbitals, occupations, basis, metric)
    np.testing.assert_allclose(little.project(BENT, orbitals, occupations, basis, metric), once, rtol=0, atol=1e-11)
    expected = pyscf("HF/def2-TZVP").project(BENT, orbitals, occupations, basis, metric)
    np.testing.assert_allclose(once, expected, rtol=0, atol=1e-9)


def test_names_of_bases() -> None:
    assert check_basis_name("DEF2SVP") == check_basis_name("def2-svp") == "def2-SVP"
    assert basis_of("6-31G(d)", [8]).shells(8) == basis_of("6-31g*", [8]).shells(8)
    with pytest.raises(InputError, match="def2-SVP"):
        check_basis_name("def2-SVPP")
    with pytest.raises(InputError, match="core potential"):
        basis_of("def2-SVP", [53])
    with pytest.raises(InputError, match="def2-jfit-typo"):
        psi4("HF/STO-3G", auxiliary_basis="def2-jfit-typo")
    for method in ("wB97X-2", "LDA", "B2PLYP", "PBE-D3"):
        with pytest.raises(InputError, match=method):
            psi4(f"{method}/def2-SVP")


def test_another_basis_than_the_one_given_is_noticed() -> None:
    basis = basis_of("STO-3G", BENT.numbers)
    shells = [(atom, shell) for atom, z in enumerate(BENT.numbers) for shell in basis.shells(int(z))]
    record = {
        "shell_l": np.array([shell.l for _, shell in shells]),
        "shell_centre": np.array([atom for atom, _ in shells]),
        "shell_primitives": np.array([3 for _ in shells]),
        "exponents": np.array([a for _, shell in shells for a in shell.exponents]),
        "contraction": np.array([c for _, shell in shells for c in shell.coefficients]),
    }
    check_basis_used(record, "", basis, BENT)
    for name, values in record.items():
        changed = values.astype(float)
        changed[-1] *= 1.0 + 1e-15 if name in ("exponents", "contraction") else 2.0
        changed[-1] += name == "shell_l"
        with pytest.raises(DataError, match=name):
            check_basis_used({**record, name: changed}, "", basis, BENT)


def test_a_grid_that_the_forces_do_not_bear_is_refused() -> None:
    with pytest.raises(InputError, match="radial_points"):
        psi4("PBE/def2-SVP", radial_points=20, angular_points=26).compute(BENT)
    check_net_force(np.array([[0.1, 0.0, 0.0], [-0.09, 0.0, 0.0]]), np.array([0.01, 0.0, 0.0]), "an ion in a field")


def test_a_second_order_method_rescues_what_diis_leaves() -> None:
    plain = psi4("PBE/STO-3G", **COARSE).compute(BENT)
    rescued = psi4("PBE/STO-3G", max_cycle=6, **COARSE).compute(BENT)
    assert rescued.energy == pytest.approx(plain.energy, abs=1e-8)
    with pytest.raises(ConvergenceError, match="H2O at PBE/STO-3G"):
        psi4("PBE/STO-3G", max_cycle=2, **COARSE).compute(BENT)


def test_absent_psi4_is_answered_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("densnet_psi4.installation._DEBIAN", (tmp_path / "python3", f"{tmp_path}/psi4/__init__.py"))
    with pytest.raises(PluginError, match=r"apt-get install psi4.*conda-forge"):
        psi4("HF/STO-3G")
    for name in ("command", "python"):
        with pytest.raises(PluginError, match=f"{name} = .*{tmp_path}"):
            psi4("HF/STO-3G", **{name: tmp_path / "nothing"})


def test_the_psi4_named_is_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_installation()
    there = tmp_path / "bin"
    there.mkdir()
    wrapper = there / "python3"
    wrapper.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexec {real.python} "$@"\n')
    program = there / "psi4"
    paths = "".join(f"echo 'export PYTHONPATH={path}:$PYTHONPATH'\n" for path in real.paths)
    program.write_text(f"#!/bin/sh\necho 'export PATH={there}:$PATH'\n{paths}")
    for file in (wrapper, program):
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    assert find_installation(program) == Installation(str(wrapper), real.paths)
    monkeypatch.setenv("PATH", f"{there}:{os.environ['PATH']}")
    assert find_installation() == Installation(str(wrapper), real.paths)
    assert psi4("HF/STO-3G", command=program).versions() == psi4("HF/STO-3G").versions()
    assert (tmp_path / "called").exists()
    program.write_text("#!/bin/sh\necho unknown option\nexit 2\n")
    find_installation.__globals__["_of_program"].cache_clear()
    with pytest.raises(PluginError, match="unknown option"):
        find_installation(program)


def test_an_interpreter_without_psi4_is_named() -> None:
    with pytest.raises(PluginError, match="command or python"):
        psi4("HF/STO-3G", python=Path(sys.executable)).versions()


def test_time_memory_and_disk_are_limits(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="time_limit_s"):
        psi4("PBE/def2-SVP", time_limit_s=0.5, scratch=tmp_path).compute(BENT)
    # So little that the libraries alone do not fit; a limit below 256 MiB is no valid option.
    with pytest.raises(ResourceError, match="memory"):
        run_job(find_installation(), "version", {}, {}, Limits(memory_limit_mb=20, scratch=tmp_path), "a job")
    with pytest.raises(ResourceError, match="scratch"):
        psi4("HF/STO-3G", scratch=tmp_path / "missing").compute(BENT)
    assert list(tmp_path.iterdir()) == []


CHILD = """
import sys
from pathlib import Path
import numpy as np
from densnet_psi4.backend import Psi4Backend
from densnet_psi4.config import Psi4Options
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.properties import density_orbitals
from densnet_core.testing.reference import BENT
from densnet_core.structures import Structure
shifts = 6.0 * np.indices((2, 2, 3)).reshape(3, -1).T
many = Structure(np.tile(BENT.numbers, 12), (BENT.positions[None] + shifts[:, None]).reshape(-1, 3))
Psi4Backend(LevelOfTheory("PBE", "def2-SVP"), Psi4Options(scratch=Path(sys.argv[1]))).compute(many)
"""


def test_a_killed_parent_takes_psi4_and_its_files_along(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mark = f"DENSNET_TEST_MARK={tmp_path.name}-{os.getpid()}"
    environment = {**os.environ, **dict([mark.split("=")])}
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(scratch)], env=environment)
    try:
        _wait_for(lambda: any(scratch.glob("*/output.txt")))
        assert len(processes_with(mark)) >= 3  # this child, the guard and Psi4
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _wait_for(lambda: not processes_with(mark))
    assert list(scratch.iterdir()) == []


def _wait_for(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "message", "expected", "says"),
    [
        ("SCFConvergenceError", "Could not converge SCF iterations in 5 iterations.", ConvergenceError, "max_cycle"),
        ("MemoryError", "std::bad_alloc", ResourceError, "max_memory_mb"),
        ("RuntimeError", "Fatal Error: SCF::DF: memory exceeded", ResourceError, "max_memory_mb"),
        ("OSError", "[Errno 28] No space left on device", ResourceError, "scratch"),
        ("RuntimeError", "PSIO_ERROR: unit = 35, errval = 6", TransientError, "scratch"),
        ("BasisSetNotFound", "BasisSet::construct: Unable to find a basis set for atom 1", InputError, "basis"),
        ("ValidationError", "Inconsistent charge/multiplicity", InputError, "charge"),
        ("ModuleNotFoundError", "No module named 'psi4'", PluginError, "command or python"),
        ("ValidationError", "Error setting options: {'x': ('none')}", PluginError, "version"),
    ],
)
def test_what_psi4_says_becomes_an_error_with_advice(kind, message, expected, says) -> None:
    error = error_of_psi4("H2O at PBE/def2-SVP", {"type": kind, "message": message, "traceback": ""})
    assert type(error) is expected
    assert str(error).startswith("H2O at PBE/def2-SVP: ")
    assert says in str(error)


def test_a_death_without_an_answer() -> None:
    assert type(error_of_death("x", -signal.SIGKILL, "")) is ResourceError
    assert type(error_of_death("x", -signal.SIGABRT, "what(): std::bad_alloc")) is ResourceError
    crash = error_of_death("x", -signal.SIGSEGV, "last words")
    assert type(crash) is TransientError
    assert "SIGSEGV" in str(crash)
    assert "last words" in str(crash)
