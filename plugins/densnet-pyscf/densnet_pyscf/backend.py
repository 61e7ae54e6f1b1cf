"""The PySCF reference backend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pyscf
from numpy.typing import NDArray
from pyscf import lib
from pyscf.dft import libxc

from densnet_core.basis.base import Basis, GaussianBasis, Metric
from densnet_core.density.radial import RadialDensity
from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceBackend, ReferenceResult
from densnet_core.reference.finite_field import field_response
from densnet_core.reference.level import PROPERTIES, LevelOfTheory
from densnet_core.structures import Structure
from densnet_pyscf import mean_field, states
from densnet_pyscf.atom import atomic_density
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.field import add_field
from densnet_pyscf.functional import check_method
from densnet_pyscf.guess import scf_guess
from densnet_pyscf.molecule import bare_molecule, check_basis_name, make_molecule, orbital_basis
from densnet_pyscf.projection import project_density
from densnet_pyscf.properties import quadrupole
from densnet_pyscf.response import first_order_orbitals, has_analytic_response

if TYPE_CHECKING:
    from densnet_core.density.electron import ExpandedDensity

Array = NDArray[np.float64]
FINITE_FIELD_CONV_TOL: Final = 1e-12
"""hartree; the error of a density goes as its root, and differences in a small field magnify it."""


class PySCFBackend(ReferenceBackend):
    """Kohn-Sham and Hartree-Fock calculations with PySCF (Sun et al., J. Chem. Phys. 153, 024109, 2020).

    Singlets are computed restricted, other multiplicities unrestricted, with spherical functions.

    Parameters
    ----------
    level : LevelOfTheory
        A density functional of libxc or ``HF``, and an all-electron basis set known to PySCF.
    options : PySCFOptions or None

    Raises
    ------
    InputError
        Unknown functional or basis, or no such dispersion correction for the functional.

    Examples
    --------
    >>> backend = PySCFBackend(LevelOfTheory.parse("PBE/def2-SVP"))
    >>> result = backend.compute(read_xyz("water.xyz")[0])
    """

    options: PySCFOptions
    properties: ClassVar[frozenset[str]] = frozenset(PROPERTIES)

    def __init__(self, level: LevelOfTheory, options: PySCFOptions | None = None) -> None:
        super().__init__(level, PySCFOptions() if options is None else options)
        check_method(level.method)
        check_basis_name(level.basis)

    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        """Energy, forces, dipole, occupied orbitals and properties; see ``ReferenceBackend.calculate``."""
        start = time.perf_counter()
        label = f"{structure.formula} at {self.level}"
        with lib.with_omp_threads(self.options.threads):
            solver = self._converged(structure, label, self.options.electric_field)
            stable = self._stability(structure, solver, label)
            forces = mean_field.forces(solver, label)
            result = replace(self._result(solver), forces=forces, provenance=self._provenance())
            result = replace(result, more=states.describe(solver, stable))
            if "quadrupole" in properties:
                result = replace(result, quadrupole=quadrupole(solver))
            if properties & {"polarizability", "density_response"}:
                polarizability, response = self._response(structure, solver, result, label)
                result = replace(
                    result,
                    polarizability=polarizability if "polarizability" in properties else None,
                    response=response if "density_response" in properties else None,
                )
        return replace(result, seconds=time.perf_counter() - start)

    def _converged(self, structure: Structure, label: str, field: Sequence[float] | None) -> Any:
        molecule = make_molecule(structure, self.level.basis, self.options.max_memory_mb)
        mean_field.check_auxiliary(molecule, self._auxiliary)
        solver = mean_field.make_solver(molecule, self.level.method, self.options)
        if field is not None:
            add_field(solver, field)
        mean_field.solve(solver, label, coarse_grid=self.options.coarse_grid)
        return solver

    def _stability(self, structure: Structure, solver: Any, label: str) -> bool | None:
        """Whether the SCF ended in a minimum, after following it there if that is wanted; None: not looked at."""
        wanted = self.options.stability or ("off" if structure.multiplicity == 1 else "check")
        if wanted == "off" or not states.has_rotations(solver):
            return None
        return states.follow(solver, label) if wanted == "follow" else states.is_stable(solver)

    def _result(self, solver: Any) -> ReferenceResult:
        """What a calculation gives without any derivative; the forces are missing."""
        orbitals, occupations = mean_field.occupied_orbitals(solver)
        forces = np.full((solver.mol.natm, 3), np.nan)
        return ReferenceResult(float(solver.e_tot), forces, mean_field.dipole(solver), orbitals, occupations)

    def _response(self, structure: Structure, solver: Any, result: ReferenceResult, label: str) -> tuple[Array, Array]:
        """Polarizability and first-order orbitals: analytic, or by finite fields where PySCF's would be incomplete."""
        if has_analytic_response(solver):
            return first_order_orbitals(solver, label)
        tight = PySCFBackend(self.level, self.options.model_copy(update={"conv_tol": FINITE_FIELD_CONV_TOL}))
        present = np.zeros(3) if self.options.electric_field is None else np.array(self.options.electric_field)
        return field_response(
            lambda field: self._result(tight._converged(structure, label, (present + field).tolist())),
            result.orbitals,
            result.occupations,
            int(solver.mol.nelec[0]),
            solver.get_ovlp(),
        )

    def orbital_basis(self, numbers: NDArray[np.int64]) -> GaussianBasis:
        """Orbital basis in the order of the orbitals' rows; see ``ReferenceBackend.orbital_basis``."""
        return orbital_basis(np.unique(numbers).tolist(), self.level.basis)

    def project(self, structure: Structure, orbitals: Array, occupations: Array, basis: Basis, metric: Metric) -> Array:
        """Right-hand side of a density fit; see ``ReferenceBackend.project``."""
        molecule = bare_molecule(structure, self.level.basis, self.options.max_memory_mb)
        orbitals, occupations = np.asarray(orbitals, dtype=np.float64), np.asarray(occupations, dtype=np.float64)
        expected = (molecule.nao_nr(), occupations.shape[-1] if occupations.ndim else 0)
        if occupations.ndim not in (1, 2) or orbitals.shape != expected:
            raise InputError(
                f"Orbitals of shape {orbitals.shape} with occupations of shape {occupations.shape} do not belong to "
                f"{structure.formula} in {self.level.basis}, which has {expected[0]} functions."
            )
        matrices = np.stack([(orbitals * row) @ orbitals.T for row in np.atleast_2d(occupations)])
        with lib.with_omp_threads(self.options.threads):
            projected = project_density(molecule, matrices, structure, basis, metric)
        return projected if occupations.ndim == 2 else projected[0]

    def atomic_density(self, number: int) -> RadialDensity:
        """Spherically averaged density of the free neutral atom; see ``ReferenceBackend.atomic_density``."""
        atom = Structure(np.array([number]), np.zeros((1, 3)), multiplicity=1 + number % 2)
        with lib.with_omp_threads(self.options.threads):
            return atomic_density(make_molecule(atom, self.level.basis, self.options.max_memory_mb), self.level.method)

    def starting_density_matrix(self, density: ExpandedDensity) -> Array:
        """Start of an SCF from a density; see ``ReferenceBackend.starting_density_matrix`` and ``scf_guess``."""
        with lib.with_omp_threads(self.options.threads):
            molecule = make_molecule(density.structure, self.level.basis, self.options.max_memory_mb)
            return scf_guess(mean_field.make_solver(molecule, self.level.method, self.options), density)

    def versions(self) -> dict[str, str]:
        """Versions of PySCF and of its library of functionals."""
        return {"pyscf": pyscf.__version__, "libxc": libxc.libxc_version()}

    @property
    def _auxiliary(self) -> str | None:
        return self.options.auxiliary_basis if self.options.density_fitting else None

    def _provenance(self) -> dict[str, str]:
        field = self.options.electric_field
        fitting = self._auxiliary or "none, exact integrals"
        return {
            "program": "PySCF",
            **self.versions(),
            "density_fitting": fitting,
            "grid_level": str(self.options.grid_level),
            "scf_tolerance": f"{self.options.conv_tol:g}",
            **({} if field is None else {"electric_field": " ".join(f"{strength:g}" for strength in field)}),
        }
