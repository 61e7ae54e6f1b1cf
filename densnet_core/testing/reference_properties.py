"""The part of the suite for reference backends that is about properties, electric fields and cancellation.

A property that a backend does not announce must be refused, and then nothing more is asked of it.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch

from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.quadrature import quadrature
from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceBackend, ReferenceResult
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.properties import density_orbitals
from densnet_core.structures import Array, Structure

LEVEL = LevelOfTheory("HF", "STO-3G")
WATER = Structure(np.array([1, 8, 1]), np.array([[1.5, 0.3, -0.9], [0.1, -0.1, 0.2], [-1.2, 1.1, 0.9]]))
RADICAL = Structure(WATER.numbers, WATER.positions, charge=1, multiplicity=2)
"""Of one spin state: in a degenerate one, such as hydroxyl's, a field turns the orbitals by any amount."""
FIELD = np.array([0.004, -0.006, 0.005])


class PropertyTests(ABC):
    """Quadrupole, polarizability, response, spin density, uniform field, and what an aborted calculation leaves."""

    @abstractmethod
    def make_backend(self, level: LevelOfTheory, **options: Any) -> ReferenceBackend:
        """A new backend; ``electric_field`` is the option of the field."""

    def computed(self, structure: Structure, *names: str) -> ReferenceResult | None:
        """The result with these properties; None if the backend has not all of them and refuses by name."""
        backend = self.make_backend(LEVEL)
        missing = [name for name in names if name not in backend.properties]
        if not missing:
            return backend.compute(structure, names)
        with pytest.raises(InputError, match=missing[0]):
            backend.compute(structure, names)
        return None

    def density_on(self, points: Array, structure: Structure, orbitals: Array, occupations: Array) -> Array:
        basis = MolecularBasis(self.make_backend(LEVEL).orbital_basis(structure.numbers), structure.numbers)
        values = basis.evaluate(torch.tensor(structure.positions), torch.tensor(points)).numpy()
        return np.asarray((values @ orbitals) ** 2 @ np.asarray(occupations).T)

    def test_an_unknown_property_is_refused_by_name(self) -> None:
        with pytest.raises(InputError, match="hyperpolarisability"):
            self.make_backend(LEVEL).compute(WATER, ["hyperpolarisability"])

    def test_quadrupole_is_the_second_moment_of_nuclei_and_density(self) -> None:
        result = self.computed(WATER, "quadrupole")
        if result is None:
            return
        assert result.quadrupole is not None
        points, weights = quadrature(WATER)
        density = self.density_on(points, WATER, result.orbitals, result.occupations)
        nuclei = np.einsum("a,ax,ay->xy", WATER.numbers.astype(float), WATER.positions, WATER.positions)
        expected = nuclei - np.einsum("p,px,py->xy", weights * density, points, points)
        np.testing.assert_allclose(result.quadrupole, expected, atol=2e-3)

    def test_field_lowers_the_energy_by_the_dipole_and_the_polarizability(self) -> None:
        """E(F) = E - F . dipole - F . alpha . F / 2 + ..., odd and even part; the forces are those of E(F)."""
        result = self.computed(WATER, "polarizability")
        if result is None:
            return
        assert result.polarizability is not None
        plus, minus = (self.make_backend(LEVEL, electric_field=tuple(sign * FIELD)).compute(WATER) for sign in (1, -1))
        assert (plus.energy - minus.energy) / 2 == pytest.approx(-FIELD @ result.dipole, abs=2e-6)
        second = (plus.energy + minus.energy) / 2 - result.energy
        assert second == pytest.approx(-FIELD @ result.polarizability @ FIELD / 2, rel=3e-3)
        np.testing.assert_allclose((plus.dipole - minus.dipole) / 2, result.polarizability @ FIELD, atol=2e-5)
        np.testing.assert_allclose(result.polarizability, result.polarizability.T, atol=1e-6)
        assert (np.linalg.eigvalsh(result.polarizability) > 0).all()

    def test_forces_in_a_field_are_the_derivative_of_the_energy(self) -> None:
        if "polarizability" not in self.make_backend(LEVEL).properties:
            return
        backend = self.make_backend(LEVEL, electric_field=tuple(5.0 * FIELD))
        direction = np.random.default_rng(5).normal(size=(RADICAL.n_atoms, 3))
        energies = [
            backend.compute(RADICAL.with_positions(RADICAL.positions + sign * 2e-3 * direction)).energy
            for sign in (1.0, -1.0)
        ]
        slope = (energies[0] - energies[1]) / 4e-3
        assert -(backend.compute(RADICAL).forces * direction).sum() == pytest.approx(slope, abs=3e-5)

    @pytest.mark.parametrize("structure", [WATER, RADICAL], ids=["water", "cation"])
    def test_response_has_no_charge_and_the_dipole_of_the_polarizability(self, structure: Structure) -> None:
        result = self.computed(structure, "density_response", "polarizability")
        if result is None:
            return
        assert result.polarizability is not None
        assert result.response is not None
        assert result.response.shape == (3, *result.orbitals.shape)
        points, weights = quadrature(structure)
        orbitals, occupations = density_orbitals(structure, result, "density_response")
        response = self.density_on(points, structure, orbitals, occupations)
        np.testing.assert_allclose(weights @ response, 0.0, atol=2e-3)
        moments = -np.einsum("p,pf,px->xf", weights, response, points)
        np.testing.assert_allclose(moments, result.polarizability, atol=5e-3)

    def test_spin_density_holds_the_unpaired_electrons(self) -> None:
        result = self.computed(RADICAL, "spin_density")
        if result is None:
            return
        points, weights = quadrature(RADICAL)
        orbitals, occupations = density_orbitals(RADICAL, result, "spin_density")
        density = self.density_on(points, RADICAL, orbitals, occupations)
        assert weights @ density == pytest.approx(1.0, abs=1e-4)
        assert weights @ np.abs(density) < 1.5

    def test_several_densities_are_projected_as_one_by_one(self) -> None:
        backend = self.make_backend(LEVEL)
        basis = backend.orbital_basis(RADICAL.numbers)
        rng = np.random.default_rng(2)
        orbitals = rng.normal(size=(basis.n_functions(RADICAL.numbers), 3))
        occupations = rng.normal(size=(2, 3))
        together = backend.project(RADICAL, orbitals, occupations, basis, "coulomb")
        alone = [backend.project(RADICAL, orbitals, row, basis, "coulomb") for row in occupations]
        np.testing.assert_allclose(together, alone, atol=1e-10)

    def test_an_aborted_calculation_leaves_no_process_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mark = f"DENSNET_TEST_MARK={uuid4().hex}"
        monkeypatch.setenv(*mark.split("="))
        shifts = 6.0 * np.indices((2, 2, 3)).reshape(3, -1).T
        long = Structure(np.tile(WATER.numbers, len(shifts)), (WATER.positions[None] + shifts[:, None]).reshape(-1, 3))
        backend = self.make_backend(LevelOfTheory("PBE", "def2-SVP"))
        one = Structure(np.array([2]), np.zeros((1, 3)))
        outcomes = LocalExecutor(LocalExecutorOptions(workers=2)).map(backend.compute, [one, long])
        first = next(iter(outcomes))
        assert first.index == 0
        assert first.error is None
        assert processes_with(mark)
        outcomes.close()
        deadline = time.monotonic() + 20.0
        while processes_with(mark) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not processes_with(mark)


def processes_with(mark: str) -> list[int]:
    """Processes of this machine, but for this one, whose environment holds ``mark``, as ``/proc`` tells."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # it ended, or belongs to somebody else
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found
