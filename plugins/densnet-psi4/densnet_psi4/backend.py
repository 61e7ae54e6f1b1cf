"""The Psi4 reference backend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis, Metric
from densnet_core.density.radial import RadialDensity
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceBackend, ReferenceResult
from densnet_core.reference.checks import check_structure
from densnet_core.reference.finite_field import FIELD_STEP, field_response
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.radial import spherical_density
from densnet_core.reference.scf_state import GAP, SPIN_SQUARE, orbital_gap, spin_square
from densnet_core.structures import Structure
from densnet_psi4.basis import basis_of, check_basis_name, check_basis_used, gaussian_text, psi4_order
from densnet_psi4.config import Psi4Options
from densnet_psi4.configurations import electrons_per_l
from densnet_psi4.functional import default_radial_points, functional_record
from densnet_psi4.installation import find_installation
from densnet_psi4.process import Answer, Limits, run_job
from densnet_psi4.projection import project_density

Array = NDArray[np.float64]
LARGEST_NET_FORCE: Final = 3e-4
"""hartree/bohr."""


class Psi4Backend(ReferenceBackend):
    """Kohn-Sham and Hartree-Fock calculations with Psi4 (Smith et al., J. Chem. Phys. 152, 184108, 2020).

    Every calculation is a process of Psi4, which this package never imports. Singlets are computed restricted, other
    multiplicities unrestricted, with spherical functions. Orbital and fitting bases come from the Basis Set Exchange.

    Parameters
    ----------
    level : LevelOfTheory
        A density functional of ``densnet_psi4.functional`` or ``HF``, and an all-electron basis set.
    options : Psi4Options or None

    Raises
    ------
    InputError
        Unknown functional or basis, or no such dispersion correction for the functional.
    PluginError
        There is no Psi4; the message says how to install it.

    Examples
    --------
    >>> backend = Psi4Backend(LevelOfTheory.parse("PBE/def2-SVP"))
    >>> result = backend.compute(read_xyz("water.xyz")[0])
    """

    options: Psi4Options
    properties: ClassVar[frozenset[str]] = frozenset(
        {"quadrupole", "polarizability", "density_response", "spin_density"}
    )

    def __init__(self, level: LevelOfTheory, options: Psi4Options | None = None) -> None:
        super().__init__(level, Psi4Options() if options is None else options)
        self._functional = functional_record(level.method)
        check_basis_name(level.basis)
        check_basis_name(self.options.auxiliary_basis)
        self._radial_points = self.options.radial_points or default_radial_points(level.method)
        self._installation = find_installation(self.options.command, self.options.python)
        chosen = self.options
        self._limits = Limits(
            chosen.threads, chosen.max_memory_mb, chosen.memory_limit_mb, chosen.time_limit_s, chosen.scratch
        )

    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        """Energy, forces, dipole, occupied orbitals and properties; see ``ReferenceBackend.calculate``.

        Polarizability and response come from six more calculations in small fields.
        """
        start = time.perf_counter()
        label = f"{structure.formula} at {self.level}"
        fields = [np.asarray(self.options.electric_field or (0.0, 0.0, 0.0))]
        responds = bool(properties & {"polarizability", "density_response"})
        if responds:
            fields += [fields[0] + sign * FIELD_STEP * axis for axis in np.eye(3) for sign in (1.0, -1.0)]
        basis = basis_of(self.level.basis, structure.numbers)
        check_structure(structure, basis)
        answer = self._scf(structure, basis, fields, label)
        forces = -np.asarray(answer.arrays["gradient"])
        check_net_force(forces, structure.charge * fields[0], label)
        restricted = structure.multiplicity == 1
        results = [_result(answer, i, structure, basis, restricted) for i in range(len(fields))]
        order = psi4_order(basis, structure.numbers)
        overlap = np.empty_like(answer.arrays["overlap_0"])
        overlap[np.ix_(order, order)] = answer.arrays["overlap_0"]
        polarizability = response = None
        if responds:
            steps = iter(results[1:])
            polarizability, response = field_response(
                lambda field: next(steps), results[0].orbitals, results[0].occupations, structure.n_alpha, overlap
            )
        return ReferenceResult(
            energy=results[0].energy,
            forces=forces,
            dipole=results[0].dipole,
            orbitals=results[0].orbitals,
            occupations=results[0].occupations,
            seconds=time.perf_counter() - start,
            provenance=self._provenance(structure, answer.version),
            quadrupole=results[0].quadrupole if "quadrupole" in properties else None,
            polarizability=polarizability if "polarizability" in properties else None,
            response=response if "density_response" in properties else None,
            more=_state(structure, results[0], overlap, answer.arrays),
        )

    def orbital_basis(self, numbers: NDArray[np.int64]) -> GaussianBasis:
        """Orbital basis in the order of the orbitals' rows; see ``ReferenceBackend.orbital_basis``.

        It is what Psi4 is given; every calculation checks that Psi4 uses it to the last digit.
        """
        return basis_of(self.level.basis, np.asarray(numbers).tolist())

    def project(self, structure: Structure, orbitals: Array, occupations: Array, basis: Basis, metric: Metric) -> Array:
        """Right-hand side of a density fit; see ``ReferenceBackend.project``."""
        orbital_basis = basis_of(self.level.basis, structure.numbers)
        orbitals, occupations = np.asarray(orbitals, dtype=np.float64), np.asarray(occupations, dtype=np.float64)
        expected = (orbital_basis.n_functions(structure.numbers), occupations.shape[-1] if occupations.ndim else 0)
        if occupations.ndim not in (1, 2) or orbitals.shape != expected:
            raise InputError(
                f"Orbitals of shape {orbitals.shape} with occupations of shape {occupations.shape} do not belong to "
                f"{structure.formula} in {self.level.basis}, which has {expected[0]} functions."
            )
        matrices = np.stack([(orbitals * row) @ orbitals.T for row in np.atleast_2d(occupations)])
        projected = project_density(self._installation, self._limits, structure, orbital_basis, matrices, basis, metric)
        return projected if occupations.ndim == 2 else projected[0]

    def atomic_density(self, number: int) -> RadialDensity:
        """Spherically averaged density of the free neutral atom; see ``ReferenceBackend.atomic_density``.

        Spin-restricted, with the electrons of an open shell spread evenly over its functions, and exact integrals.
        """
        basis = basis_of(self.level.basis, [number])
        atom = Structure(np.array([number]), np.zeros((1, 3)), multiplicity=1 + number % 2)
        request = {
            "orbital_basis": gaussian_text(basis, [number]),
            "symbols": [symbol(number)],
            "number": number,
            "functional": self._functional,
            "electrons_per_l": electrons_per_l(number, self._functional is None),
            "max_cycle": max(200, self.options.max_cycle),
        }
        label = f"The free atom {symbol(number)} at {self.level}"
        answer = run_job(self._installation, "atom", request, {"positions": atom.positions}, self._limits, label)
        check_basis_used(answer.arrays, "", basis, atom)
        matrices = {
            int(name.removeprefix("matrix_")): matrix
            for name, matrix in answer.arrays.items()
            if name.startswith("matrix_")
        }
        return spherical_density(number, basis.shells(number), matrices)

    def versions(self) -> dict[str, str]:
        """Version of Psi4."""
        answer = run_job(self._installation, "version", {}, {}, self._limits, "The version of Psi4")
        return {"psi4": answer.version}

    def _scf(self, structure: Structure, basis: GaussianBasis, fields: list[Array], label: str) -> Answer:
        chosen = self.options
        fitting = basis_of(chosen.auxiliary_basis, structure.numbers)
        request = {
            "orbital_basis": gaussian_text(basis, structure.numbers),
            "fitting_basis": gaussian_text(fitting, structure.numbers),
            "symbols": [symbol(z) for z in structure.numbers.tolist()],
            "charge": structure.charge,
            "multiplicity": structure.multiplicity,
            "functional": self._functional,
            "density_fitting": self._fits(structure),
            "radial_points": self._radial_points,
            "angular_points": chosen.angular_points,
            "conv_tol": chosen.conv_tol,
            "density_tol": chosen.density_tol,
            "max_cycle": chosen.max_cycle,
            "forces": True,
        }
        arrays = {"positions": structure.positions, "fields": np.array(fields)}
        answer = run_job(self._installation, "scf", request, arrays, self._limits, label)
        check_basis_used(answer.arrays, "", basis, structure)
        return answer

    def _fits(self, structure: Structure) -> bool:
        """Whether integrals are fitted: Psi4 1.3 crashes in the fitted gradient where there are no beta electrons."""
        return self.options.density_fitting and structure.n_electrons >= structure.multiplicity

    def _provenance(self, structure: Structure, version: str) -> dict[str, str]:
        chosen, field = self.options, self.options.electric_field
        return {
            "program": "Psi4",
            "psi4": version,
            "density_fitting": chosen.auxiliary_basis if self._fits(structure) else "none, exact integrals",
            "grid": f"({self._radial_points}, {chosen.angular_points})",
            "scf_tolerance": f"{chosen.conv_tol:g}",
            **({} if field is None else {"electric_field": " ".join(f"{strength:g}" for strength in field)}),
        }


def check_net_force(forces: Array, expected: Array, label: str) -> None:
    """``InputError`` if the forces (n_atoms, 3) do not add up to what the field pulls at the charge.

    In Psi4's gradient the integration grid stands still, so their sum is the error of a grid too coarse for the
    functional.
    """
    net = float(np.abs(forces.sum(axis=0) - expected).max())
    if not net < LARGEST_NET_FORCE:
        raise InputError(
            f"{label}: the forces add up to {net:.1e} hartree/bohr; {LARGEST_NET_FORCE:.0e} is allowed. The "
            "integration grid is too coarse: raise radial_points (200) and angular_points (770, 974)."
        )


def _state(
    structure: Structure, result: ReferenceResult, overlap: Array, arrays: Mapping[str, Any]
) -> dict[str, Array]:
    """Spin and gap by the names of ``densnet_core.reference.scf_state``; stability is not looked at."""
    orbitals, n_alpha = result.orbitals, structure.n_alpha
    beta = orbitals if structure.multiplicity == 1 else orbitals[:, n_alpha:]
    found = {SPIN_SQUARE: np.array(spin_square(orbitals[:, :n_alpha], beta, overlap))}
    energies = arrays["orbital_energies_0"]
    counts = np.array([n_alpha, structure.n_electrons - n_alpha])[:, None]
    gap = orbital_gap(np.sort(energies, axis=1), np.arange(energies.shape[1]) < counts)
    return {**found, GAP: np.array(gap)} if np.isfinite(gap) else found


def _result(answer: Answer, index: int, structure: Structure, basis: Basis, restricted: bool) -> ReferenceResult:
    """The calculation in field number ``index``, its orbitals in the core's order; without forces."""
    arrays: Mapping[str, Any] = answer.arrays
    given = arrays[f"orbitals_{index}"]
    orbitals = np.empty_like(given)
    orbitals[psi4_order(basis, structure.numbers)] = given
    return ReferenceResult(
        energy=float(answer.values["energies"][index]),
        forces=np.zeros_like(structure.positions),
        dipole=arrays[f"dipole_{index}"],
        orbitals=orbitals,
        occupations=np.full(orbitals.shape[1], 2.0 if restricted else 1.0),
        quadrupole=arrays[f"quadrupole_{index}"],
    )
