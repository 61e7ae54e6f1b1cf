"""Conformance suite for reference backends: units, signs, conventions and refusals.

A plugin's test subclasses ``ReferenceBackendTests`` and says how to make the backend::

    class TestMyBackend(ReferenceBackendTests):
        without_convergence = {"max_iterations": 1}

        def make_backend(self, level: LevelOfTheory, **options: object) -> ReferenceBackend:
            return MyBackend(level, MyOptions(**options))

Only Hartree-Fock, PBE, STO-3G and def2-SVP are used, which every program has; energies may carry the error of a
density fitting.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.special import gamma, gammainc
from torch import Tensor

from densnet_core.basis.base import Basis, GaussianBasis, Metric, Shell
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.quadrature import quadrature
from densnet_core.errors import ConvergenceError, InputError
from densnet_core.reference.base import ReferenceBackend, ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Array, Structure
from densnet_core.testing.reference_properties import PropertyTests
from densnet_core.testing.suites import ConformanceSuite

HF = LevelOfTheory("HF", "STO-3G")
PBE = LevelOfTheory("PBE", "STO-3G")
PBE_SVP = LevelOfTheory("PBE", "def2-SVP")

WATER = Structure(
    np.array([8, 1, 1]),
    np.array(
        [[0.0, -0.143225816552, 0.0], [1.638036840407, 1.136548822547, 0.0], [-1.638036840407, 1.136548822547, 0.0]]
    ),
)
"""The water molecule of T. D. Crawford's programming projects (project 3, github.com/CrawfordGroup)."""
HYDROXYL = Structure(np.array([8, 1]), np.array([[0.1, -0.2, 0.3], [0.3, 0.6, 1.9]]), multiplicity=2)
HYDROXIDE = Structure(HYDROXYL.numbers, HYDROXYL.positions, charge=-1)
BENT = Structure(np.array([1, 8, 1]), np.array([[1.5, 0.3, -0.9], [0.1, -0.1, 0.2], [-1.2, 1.1, 0.9]]))
"""Water without any symmetry, the oxygen in the middle of the list."""

UNORDERED = GaussianBasis(
    "shells in no order of l, some contracted",
    {
        1: (Shell(1, (0.9,), (1.0,)), Shell(0, (1.1, 0.3), (0.4, 0.7)), Shell(2, (0.7,), (1.0,))),
        8: (
            Shell(3, (1.3,), (1.0,)),
            Shell(0, (2.0,), (1.0,)),
            Shell(2, (1.7, 0.6), (0.5, -0.6)),
            Shell(1, (0.8,), (1.0,)),
            Shell(4, (0.9,), (1.0,)),
            Shell(0, (0.4,), (1.0,)),
        ),
    },
)


class ReferenceBackendTests(PropertyTests, ConformanceSuite):
    """What every backend must do. Subclasses give ``make_backend``; pytest finds the rest."""

    maker = "make_backend"
    without_convergence: ClassVar[Mapping[str, Any] | None] = None
    """Options with which the SCF of hydroxyl cannot converge, for example one cycle."""

    @abstractmethod
    def make_backend(self, level: LevelOfTheory, **options: Any) -> ReferenceBackend:
        """A new backend."""

    def compute(self, level: LevelOfTheory, structure: Structure) -> ReferenceResult:
        return self.make_backend(level).compute(structure)

    def test_energy_and_dipole_of_water(self) -> None:
        """Crawford's project 3: -74.942079928192 hartree; 0.603521296525 e bohr, from O towards the hydrogens."""
        result = self.compute(HF, WATER)
        assert result.energy == pytest.approx(-74.942079928192, abs=5e-4)
        np.testing.assert_allclose(result.dipole, [0.0, 0.603521296525, 0.0], atol=1e-3)

    def test_energy_of_the_hydrogen_atom(self) -> None:
        """Szabo and Ostlund, Modern Quantum Chemistry, section 3.5.1: -0.4666 hartree in STO-3G."""
        atom = Structure(np.array([1]), np.array([[1.0, 2.0, 3.0]]), multiplicity=2)
        result = self.compute(HF, atom)
        assert result.energy == pytest.approx(-0.4666, abs=1e-4)
        np.testing.assert_allclose(result.forces, 0.0, atol=1e-6)
        np.testing.assert_allclose(result.dipole, 0.0, atol=1e-6)

    @pytest.mark.parametrize("level", [HF, PBE], ids=str)
    @pytest.mark.parametrize("structure", [BENT, HYDROXYL], ids=["water", "hydroxyl"])
    def test_forces_are_the_derivative_of_the_energy(self, level: LevelOfTheory, structure: Structure) -> None:
        backend = self.make_backend(level)
        direction = np.random.default_rng(4).normal(size=(structure.n_atoms, 3))
        step = 2e-3
        energies = [
            backend.compute(structure.with_positions(structure.positions + sign * step * direction)).energy
            for sign in (1.0, -1.0)
        ]
        forces = backend.compute(structure).forces
        slope = (energies[0] - energies[1]) / (2.0 * step)
        assert -(forces * direction).sum() == pytest.approx(slope, abs=1e-4)
        np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=2e-4)

    def test_rotation_and_translation(self) -> None:
        first = self.compute(HF, BENT)
        rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
        rotation *= np.linalg.det(rotation)
        second = self.compute(HF, BENT.with_positions(BENT.positions @ rotation.T + [3.0, -2.0, 5.0]))
        assert second.energy == pytest.approx(first.energy, abs=1e-7)
        np.testing.assert_allclose(second.forces, first.forces @ rotation.T, atol=1e-5)
        np.testing.assert_allclose(second.dipole, rotation @ first.dipole, atol=1e-5)

    def test_dipole_of_an_ion_is_about_the_origin(self) -> None:
        shift = np.array([1.0, -2.0, 0.5])
        first = self.compute(HF, HYDROXIDE)
        second = self.compute(HF, HYDROXIDE.with_positions(HYDROXIDE.positions + shift))
        np.testing.assert_allclose(second.dipole - first.dipole, -shift, atol=1e-5)

    @pytest.mark.parametrize("level", [HF, PBE_SVP], ids=str)
    @pytest.mark.parametrize("structure", [BENT, HYDROXYL], ids=["water", "hydroxyl"])
    def test_orbitals_in_the_convention_of_the_core(self, level: LevelOfTheory, structure: Structure) -> None:
        """Orthonormal under the core's overlap, and their density has the electrons and the dipole of the result."""
        backend = self.make_backend(level)
        result = backend.compute(structure)
        basis = MolecularBasis(backend.orbital_basis(structure.numbers), structure.numbers)
        assert result.orbitals.shape == (basis.n_functions, result.occupations.size)
        n_beta = (structure.n_electrons - structure.multiplicity + 1) // 2
        closed = structure.multiplicity == 1
        assert (result.occupations == (2.0 if closed else 1.0)).all()
        assert result.occupations.sum() == structure.n_electrons

        overlap = two_center("overlap", basis, tensor(structure.positions)).numpy()
        n_alpha = structure.n_electrons - n_beta
        for spin in np.split(result.orbitals, [] if closed else [n_alpha], axis=1):
            np.testing.assert_allclose(spin.T @ overlap @ spin, np.eye(spin.shape[1]), atol=1e-7)

        points, weights = quadrature(structure)
        density = density_on(points, basis, structure, result)
        assert weights @ density == pytest.approx(structure.n_electrons, abs=2e-4)
        dipole = structure.numbers @ structure.positions - (weights * density) @ points
        np.testing.assert_allclose(result.dipole, dipole, atol=1e-3)

    @pytest.mark.parametrize("metric", ["overlap", "coulomb"])
    @pytest.mark.parametrize("structure", [BENT, HYDROXYL], ids=["water", "hydroxyl"])
    def test_projection_against_quadrature(self, metric: Metric, structure: Structure) -> None:
        backend = self.make_backend(PBE_SVP)
        result = backend.compute(structure)
        projected = backend.project(structure, result.orbitals, result.occupations, UNORDERED, metric)
        points, weights = quadrature(structure, n_radial=90, degree=41)
        orbital_basis = MolecularBasis(backend.orbital_basis(structure.numbers), structure.numbers)
        density = density_on(points, orbital_basis, structure, result)
        functions = MolecularBasis(UNORDERED, structure.numbers)
        if metric == "overlap":
            values = functions.evaluate(tensor(structure.positions), tensor(points)).numpy()
        else:
            values = potentials_on(points, UNORDERED, structure)
        assert projected.shape == (functions.n_functions,)
        np.testing.assert_allclose(projected, (weights * density) @ values, atol=2e-5)

    def test_calculations_do_not_depend_on_earlier_ones(self) -> None:
        backend = self.make_backend(HF)
        first = backend.compute(BENT)
        backend.compute(HYDROXYL)
        again = backend.compute(BENT)
        assert again.energy == pytest.approx(first.energy, abs=1e-9)
        np.testing.assert_allclose(again.forces, first.forces, atol=1e-7)

    @pytest.mark.parametrize("number", [1, 6, 7, 8, 16])
    def test_atomic_density_holds_the_electrons_of_the_neutral_atom(self, number: int) -> None:
        density = self.make_backend(PBE_SVP).atomic_density(number)
        assert density.weights @ density.values == pytest.approx(number, rel=1e-7)
        assert (np.diff(density.radii) > 0).all()
        assert (density.values >= 0).all()
        assert density.weights @ np.exp(-density.radii) == pytest.approx(8.0 * np.pi, rel=1e-6)

    def test_no_label_without_convergence(self) -> None:
        if self.without_convergence is None:
            pytest.skip("the suite was not told which options keep the SCF from converging")
        with pytest.raises(ConvergenceError):
            self.make_backend(HF, **self.without_convergence).compute(HYDROXYL)

    @pytest.mark.parametrize(
        ("level", "named"),
        [("PBEE/STO-3G", "PBEE"), ("PBE/STO-33G", "STO-33G"), ("PBE/", "METHOD/BASIS"), ("CCSD/STO-3G", "CCSD")],
    )
    def test_unknown_levels_are_refused_by_name(self, level: str, named: str) -> None:
        with pytest.raises(InputError, match=named):
            self.compute(LevelOfTheory.parse(level), BENT)

    def test_element_without_functions_is_refused(self) -> None:
        with pytest.raises(InputError, match="Rn"):
            self.compute(HF, Structure(np.array([86]), np.zeros((1, 3))))
        with pytest.raises(InputError, match="Rn"):
            self.make_backend(HF).orbital_basis(np.array([1, 86]))

    def test_coincident_atoms_are_refused(self) -> None:
        with pytest.raises(InputError):
            self.compute(HF, BENT.with_positions(BENT.positions[[0, 0, 2]] + [[0, 0, 0], [0, 0, 1e-3], [0, 0, 0]]))

    def test_impossible_spins_are_refused(self) -> None:
        with pytest.raises(InputError, match="Multiplicity 2"):
            self.compute(HF, Structure(BENT.numbers, BENT.positions, multiplicity=2))
        with pytest.raises(InputError, match="no electrons"):
            self.compute(HF, Structure(np.array([1]), np.zeros((1, 3)), charge=1))

    def test_more_electrons_of_one_spin_than_functions_are_refused(self) -> None:
        with pytest.raises(InputError):
            self.compute(HF, Structure(np.array([2]), np.zeros((1, 3)), multiplicity=3))

    def test_orbitals_of_another_molecule_are_refused(self) -> None:
        backend = self.make_backend(HF)
        result = backend.compute(HYDROXYL)
        with pytest.raises(InputError):
            backend.project(BENT, result.orbitals, result.occupations, UNORDERED, "coulomb")

    def test_versions_name_the_program(self) -> None:
        versions = self.make_backend(HF).versions()
        assert versions
        assert all(isinstance(name, str) and isinstance(number, str) for name, number in versions.items())


def tensor(array: Array) -> Tensor:
    """Float64 tensor of an array."""
    return torch.as_tensor(array, dtype=torch.float64)


def density_on(points: Array, basis: MolecularBasis, structure: Structure, result: ReferenceResult) -> Array:
    """(n_points,) density of a result's orbitals, evaluated by the core."""
    values = basis.evaluate(tensor(structure.positions), tensor(points)).numpy()
    return np.asarray((values @ result.orbitals) ** 2 @ result.occupations)


def potentials_on(points: Array, basis: Basis, structure: Structure) -> Array:
    """(n_points, n_functions) electrostatic potentials of the functions of ``basis``.

    From the multipole expansion of 1/|r - r'| (Jackson, Classical Electrodynamics, section 4.1): the potential of
    R(r) Y_lm with R = r^l exp(-a r^2) is
    4 pi / (2l+1) Y_lm [int_0^r R s^(l+2) ds / r^(l+1) + r^l int_r^oo R s^(1-l) ds].
    """
    columns = []
    for number, centre in zip(structure.numbers.tolist(), structure.positions, strict=True):
        distance = np.linalg.norm(points - centre, axis=1)
        angular = solid_harmonics(tensor((points - centre) / distance[:, None]), basis.max_l())
        for shell in basis.shells(number):
            l, power = shell.l, shell.l + 1.5  # noqa: E741
            radial = np.zeros_like(distance)
            for a, c in zip(shell.exponents, shell.radial_coefficients(), strict=True):
                inner = gammainc(power, a * distance**2) * gamma(power) / (2.0 * a**power)
                radial += c * (inner / distance ** (l + 1) + np.exp(-a * distance**2) / (2.0 * a) * distance**l)
            columns.append(4.0 * np.pi / (2 * l + 1) * radial[:, None] * angular[l].numpy())
    return np.hstack(columns)
