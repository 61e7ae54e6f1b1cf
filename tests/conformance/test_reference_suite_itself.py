"""The suite for reference backends catches the mistakes it exists for: each fault below fails the test named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions

from densnet_core.basis.base import Basis, Metric
from densnet_core.density.radial import RadialDensity
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Array, Structure
from densnet_core.testing.reference import BENT, PBE, ReferenceBackendTests
from densnet_core.testing.reference_properties import WATER
from densnet_core.units import BOHR_TO_ANGSTROM

Fault = Callable[[ReferenceResult], ReferenceResult]


class Faulty(PySCFBackend):
    """PySCF with one mistake."""

    fault: Fault = staticmethod(lambda result: result)
    scale_of_projection = 1.0
    electrons_lost = 0.0

    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        return self.fault(super().calculate(structure, properties))

    def project(self, structure: Structure, orbitals: Array, occupations: Array, basis: Basis, metric: Metric) -> Array:
        return super().project(structure, orbitals, occupations, basis, metric) * self.scale_of_projection

    def atomic_density(self, number: int) -> RadialDensity:
        density = super().atomic_density(number)
        return replace(density, values=density.values * (1.0 - self.electrons_lost))


def suite(**attributes: Any) -> ReferenceBackendTests:
    backend = type("OneFault", (Faulty,), attributes)

    class Suite(ReferenceBackendTests):
        without_convergence = {"max_cycle": 50}  # noqa: RUF012 - a fault too: with these the SCF does converge

        def make_backend(self, level: LevelOfTheory, **options: Any) -> PySCFBackend:
            return backend(level, PySCFOptions(**options))

    return Suite()


def swapped(result: ReferenceResult) -> ReferenceResult:
    """The p functions of oxygen as z, x, y, which is how Psi4 orders them."""
    orbitals = result.orbitals.copy()
    orbitals[[3, 4, 5]] = orbitals[[5, 3, 4]]
    return replace(result, orbitals=orbitals)


FAULTS: dict[str, tuple[Fault, Callable[[ReferenceBackendTests], None]]] = {
    "dipole sign": (lambda r: replace(r, dipole=-r.dipole), lambda s: s.test_energy_and_dipole_of_water()),
    "energy unit": (lambda r: replace(r, energy=r.energy * 27.2), lambda s: s.test_energy_of_the_hydrogen_atom()),
    "forces sign": (
        lambda r: replace(r, forces=-r.forces),
        lambda s: s.test_forces_are_the_derivative_of_the_energy(PBE, BENT),
    ),
    "forces unit": (
        lambda r: replace(r, forces=r.forces / BOHR_TO_ANGSTROM),
        lambda s: s.test_forces_are_the_derivative_of_the_energy(PBE, BENT),
    ),
    "fixed dipole": (
        lambda r: replace(r, dipole=np.array([0.0, 0.6, 0.0])),
        lambda s: s.test_dipole_of_an_ion_is_about_the_origin(),
    ),
    "order of p": (swapped, lambda s: s.test_orbitals_in_the_convention_of_the_core(PBE, BENT)),
    "quadrupole sign": (
        lambda r: replace(r, quadrupole=None if r.quadrupole is None else -r.quadrupole),
        lambda s: s.test_quadrupole_is_the_second_moment_of_nuclei_and_density(),
    ),
    "polarizability unit": (
        lambda r: replace(r, polarizability=None if r.polarizability is None else 1.01 * r.polarizability),
        lambda s: s.test_field_lowers_the_energy_by_the_dipole_and_the_polarizability(),
    ),
    "response sign": (
        lambda r: replace(r, response=None if r.response is None else -r.response),
        lambda s: s.test_response_has_no_charge_and_the_dipole_of_the_polarizability(WATER),
    ),
    "occupations": (
        lambda r: replace(r, occupations=r.occupations / 2),
        lambda s: s.test_orbitals_in_the_convention_of_the_core(PBE, BENT),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_result_is_caught(name: str) -> None:
    fault, test = FAULTS[name]
    test(suite())
    with pytest.raises(AssertionError):
        test(suite(fault=staticmethod(fault)))


@pytest.mark.parametrize("metric", ["coulomb", "overlap"])
def test_a_wrong_projection_is_caught(metric: Metric) -> None:
    with pytest.raises(AssertionError):
        suite(scale_of_projection=1.001).test_projection_against_quadrature(metric, BENT)


def test_a_lost_electron_is_caught() -> None:
    with pytest.raises(AssertionError):
        suite(electrons_lost=1e-6).test_atomic_density_holds_the_electrons_of_the_neutral_atom(8)


def test_a_label_where_none_may_be_is_caught() -> None:
    with pytest.raises(pytest.fail.Exception):
        suite().test_no_label_without_convergence()
