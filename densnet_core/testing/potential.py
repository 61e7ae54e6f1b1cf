"""Conformance suite for potentials.

A test subclasses ``PotentialTests`` and says how to make the potential, and for which molecules it was made::

    class TestMyPotential(PotentialTests):
        def make_potential(self) -> Potential:
            return MyPotential()

        def structures(self) -> list[Structure]:
            return [water, methanol, hydroxide]

The molecules should be of several kinds and sizes, distorted (no forces are zero), and an ion be among them if the
potential takes ions. What a potential computes in single precision it says by ``tolerance`` and ``gradient_tolerance``.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from densnet_core.errors import InputError
from densnet_core.graphs.graph import OPTIONAL, Graph, graph_of
from densnet_core.plugins.manager import get_manager
from densnet_core.plugins.quantity import Quantity
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.structures import Array, Structure
from densnet_core.testing.geometry import (
    at_distance,
    join,
    moved,
    permuted,
    rotation,
    stranger,
    transformed,
)
from densnet_core.testing.suites import ConformanceSuite
from densnet_core.units import BOHR_TO_NANOMETER, HARTREE_TO_KJ_PER_MOL, KJ_PER_MOL_NANOMETER

FIELD = np.array([0.004, -0.007, 0.005])
"""On every molecule where the potential takes a field, hartree/(e bohr)."""


class PotentialTests(ConformanceSuite):
    """What every potential must do. Subclasses give ``make_potential`` and ``structures``; pytest finds the rest."""

    maker = "make_potential"
    tolerance: ClassVar[float] = 1e-9
    """Largest difference between results that should be equal, atomic units: rounding errors only."""
    gradient_tolerance: ClassVar[float] = 1e-8
    """The same between derivatives and central differences, relative to the largest that is above one."""
    step: ClassVar[float] = 1e-3
    """Of the central differences of the energy, bohr; single precision needs a longer one."""
    inputs: ClassVar[frozenset[str]] = frozenset()
    """Optional parts of a graph that it uses: "cell", "field", "level". It refuses any other."""
    any_order: ClassVar[bool] = True
    """Whether it takes the atoms of a molecule in any order; if not, only equal elements are exchanged."""
    long_range: ClassVar[bool] = False
    """Whether molecules beyond the cutoff feel each other."""

    @abstractmethod
    def make_potential(self) -> Potential:
        """The potential under test."""

    @abstractmethod
    def structures(self) -> Sequence[Structure]:
        """Molecules that it takes."""

    # What the tests use

    @cached_property
    def potential(self) -> Potential:
        return self.make_potential()

    @cached_property
    def names(self) -> list[str]:
        """All that it gives, in a fixed order."""
        return sorted(self.potential.outputs)

    @cached_property
    def known(self) -> dict[str, Quantity]:
        """Outputs whose behaviour is known, because they are announced: all but those of basis functions."""
        announced = get_manager().quantities()
        return {name: announced[name] for name in self.names if name in announced and announced[name].per != "function"}

    def graph(self, structures: Sequence[Structure], cutoff: float | None = None, field: Array = FIELD) -> Graph:
        """Graph of molecules, in a field (3,) and at the first level if the potential takes those."""
        fields = [field.tolist()] * len(structures) if "field" in self.inputs else None
        levels = [0] * len(structures) if "level" in self.inputs else None
        return graph_of(structures, cutoff, field=fields, level=levels)

    def found(self, *structures: Structure, field: Array = FIELD) -> dict[str, Array]:
        """All outputs, with the pairs within the cutoff."""
        return self.of_graph(self.graph(structures, self.potential.cutoff, field))

    def of_graph(self, graph: Graph, names: Sequence[str] | None = None) -> dict[str, Array]:
        outputs = self.potential.evaluate(graph, self.names if names is None else names)
        return {name: value.numpy() for name, value in outputs.items()}

    def energy(self, graph: Graph) -> float:
        return float(self.potential.evaluate(graph, ["energy"])["energy"].sum())

    def close(self, found: Array, expected: Array, what: str) -> None:
        np.testing.assert_allclose(found, expected, rtol=0, atol=self.tolerance, err_msg=what)

    def close_to_differences(self, found: Array, expected: Array, what: str) -> None:
        allowed = self.gradient_tolerance * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found, expected, rtol=0, atol=allowed, err_msg=what)

    # What is given

    def test_outputs_have_their_names_shapes_and_types(self) -> None:
        assert {"energy", "forces"} <= self.potential.outputs
        structures = list(self.structures())
        graph = self.graph(structures)
        outputs = self.potential.evaluate(graph, self.names)
        assert set(outputs) == set(self.names)
        count = {"molecule": len(structures), "atom": graph.n_atoms}
        for name, value in outputs.items():
            assert isinstance(value, Tensor), name
            assert value.dtype == torch.float64, f"{name} is {value.dtype}; outputs are float64"
            assert not value.requires_grad, f"{name} carries a gradient"
            assert bool(torch.isfinite(value).all()), name
            if name in self.known:
                assert tuple(value.shape) == (count[self.known[name].per], *[3] * self.known[name].rank), name

    def test_fewer_outputs_have_the_same_numbers(self) -> None:
        graph = self.graph(self.structures())
        everything = self.of_graph(graph)
        assert self.potential.evaluate(graph, []) == {}
        for name in self.names:
            alone = self.of_graph(graph, [name])
            assert list(alone) == [name]
            self.close(alone[name], everything[name], f"{name}, asked for alone and with the others")

    def test_unknown_outputs_are_refused(self) -> None:
        graph = self.graph(self.structures())
        for asked in (["no_such_output"], ["energy", "no_such_output"]):
            with pytest.raises(InputError, match="no_such_output"):
                self.potential.evaluate(graph, asked)

    def test_unknown_elements_are_refused(self) -> None:
        known = list(self.structures())
        self.potential.check(known)
        unknown = stranger(self.potential.elements)
        for structures in ([unknown], [*known, unknown]):
            with pytest.raises(InputError):
                self.potential.check(structures)

    def test_optional_inputs_that_are_not_used_are_refused(self) -> None:
        structures = list(self.structures())
        n = len(structures)
        values: dict[str, Any] = {
            "field": torch.zeros(n, 3, dtype=torch.float64) + 0.01,
            "cell": (torch.eye(3, dtype=torch.float64) * 100.0).repeat(n, 1, 1),
            "level": torch.zeros(n, dtype=torch.int64),
        }
        for name in sorted(set(OPTIONAL) - self.inputs):
            with pytest.raises(InputError, match=name):
                self.potential.evaluate(replace(self.graph(structures), **{name: values[name]}), ["energy", "forces"])

    # Derivatives

    def test_forces_are_minus_the_gradient_of_the_energy(self) -> None:
        for structure in self.structures():
            graph = self.graph([structure])
            forces = self.of_graph(graph, ["forces"])["forces"]

            def energy(displacement: Array, graph: Graph = graph) -> float:
                return self.energy(graph.with_positions(graph.positions + torch.tensor(displacement).reshape(-1, 3)))

            gradient = central_differences(energy, 3 * structure.n_atoms, self.step)
            self.close_to_differences(forces.ravel(), -gradient, f"forces on {structure.formula}")

    def test_the_derivative_with_the_field_is_minus_the_dipole(self) -> None:
        if "field" not in self.inputs:
            return
        assert "dipole" in self.names, "a potential that takes a field gives the dipole"
        for structure in self.structures():

            def at(field: Array, structure: Structure = structure) -> dict[str, Array]:
                return self.found(structure, field=FIELD + field)

            found = at(np.zeros(3))
            slope = central_differences(lambda field: at(field)["energy"][0], 3, 1e-3)
            self.close_to_differences(found["dipole"][0], -slope, f"dipole of {structure.formula}")
            if "polarizability" in found:
                slopes = central_differences(lambda field: at(field)["dipole"][0], 3, 1e-3)
                self.close_to_differences(found["polarizability"][0], slopes, structure.formula)

    # Symmetry

    def test_a_turned_or_mirrored_molecule_has_turned_outputs(self) -> None:
        for structure in self.structures():
            before = self.found(structure)
            for matrix in (rotation(1), rotation(2), -np.eye(3), -rotation(3)):
                after = self.found(transformed(structure, matrix), field=matrix @ FIELD)
                for name, quantity in self.known.items():
                    expected = before[name]
                    for axis in range(1, quantity.rank + 1):
                        expected = np.moveaxis(np.tensordot(matrix, expected, (1, axis)), 0, axis)
                    self.close(after[name], expected, f"{name} of {structure.formula}")

    def test_a_moved_molecule_is_the_same_also_far_from_the_origin(self) -> None:
        for structure, shift in itertools.product(self.structures(), ((0.3, -1.7, 2.9), (1e4, -7e3, 4e3))):
            before, after = self.found(structure), self.found(moved(structure, np.array(shift)))
            # In a field an ion has the energy of its charge there.
            pull = structure.charge * (FIELD @ shift) if "field" in self.inputs else 0.0
            before["energy"] = before["energy"] - pull
            if "dipole" in before:
                before["dipole"] = before["dipole"] + structure.charge * np.array(shift)
            for name, quantity in self.known.items():
                if name == "dipole" or not quantity.depends_on_origin:
                    self.close(after[name], before[name], f"{name} of {structure.formula}, moved by {shift}")

    def test_the_order_of_atoms_does_not_matter(self) -> None:
        for structure in self.structures():
            order = np.random.default_rng(0).permutation(structure.n_atoms)[::-1]
            if not self.any_order:
                order = np.arange(structure.n_atoms)
                for number in set(structure.numbers.tolist()):
                    same = np.flatnonzero(structure.numbers == number)
                    order[same] = np.roll(same, 1)
            before, after = self.found(structure), self.found(permuted(structure, order))
            for name, quantity in self.known.items():
                expected = before[name][order] if quantity.per == "atom" else before[name]
                self.close(after[name], expected, f"{name} of {structure.formula}")

    def test_polarizabilities_are_symmetric(self) -> None:
        if "polarizability" in self.names:
            value = self.found(*self.structures())["polarizability"]
            self.close(value, value.swapaxes(1, 2), "polarizability")

    # Molecules and pairs

    def test_a_batch_equals_single_molecules(self) -> None:
        structures = list(self.structures())
        batch = [structures[0], *structures[::-1], moved(structures[0], np.array([0.1, 0.2, 0.3]))]
        together = self.found(*batch)
        alone = [self.found(structure) for structure in batch]
        for name in self.names:
            self.close(together[name], np.concatenate([one[name] for one in alone]), name)

    def test_pairs_beyond_the_cutoff_do_not_matter(self) -> None:
        if self.potential.cutoff is None:
            return
        for structure in [*self.structures(), *(pair for _, _, pair in self.neighbours(0.7))]:
            every, near = self.of_graph(self.graph([structure])), self.found(structure)
            for name in self.names:
                self.close(every[name], near[name], f"{name} of {structure.formula}")

    def neighbours(self, distance: float) -> list[tuple[Structure, Structure, Structure]]:
        """Two molecules and both as fragments of one structure, the closest atoms at a fraction of the cutoff."""
        structures = list(self.structures())
        far = distance * (self.potential.cutoff or 0.0)
        result = []
        for one, other in zip(structures, [*structures[1:], structures[0]], strict=True):
            there = at_distance(one, other, far)
            result.append((one, there, join(one, there)))
        return result

    def test_molecules_beyond_the_cutoff_add_up(self) -> None:
        if self.long_range or self.potential.cutoff is None:
            return
        for one, other, both in self.neighbours(1.001):
            alone, apart = (self.found(molecule) for molecule in (one, other))
            for cutoff in (None, self.potential.cutoff):
                together = self.of_graph(self.graph([both], cutoff))
                for name, quantity in self.known.items():
                    what = f"{name} of {one.formula} and {other.formula}"
                    if quantity.per == "atom":
                        self.close(together[name], np.concatenate([alone[name], apart[name]]), what)
                    elif quantity.extensive:
                        self.close(together[name], alone[name] + apart[name], what)

    def test_energy_and_forces_are_smooth_at_the_cutoff(self) -> None:
        if self.potential.cutoff is None:
            return
        close = 1e-8 / self.potential.cutoff  # so near that only a jump is seen, and no slope
        for inside, outside in zip(self.neighbours(1.0 - close), self.neighbours(1.0 + close), strict=True):
            for near in (True, False):
                cutoff = self.potential.cutoff if near else None
                before, after = (self.of_graph(self.graph([pair[2]], cutoff)) for pair in (inside, outside))
                for name in ("energy", "forces"):
                    self.close(after[name], before[name], f"{name} of {inside[2].formula} across the cutoff")

    # Use

    def test_equal_calls_give_equal_numbers(self) -> None:
        graph = self.graph(self.structures())
        first = self.of_graph(graph)
        torch.manual_seed(12345)
        self.found(self.structures()[-1])
        with torch.no_grad():
            second = self.of_graph(graph)
        again = copy.copy(self)
        again.__dict__.pop("potential", None)  # made anew
        for name, value in first.items():
            np.testing.assert_array_equal(second[name], value, name)
            np.testing.assert_array_equal(again.of_graph(graph)[name], value, name)

    def test_the_graph_is_not_changed(self) -> None:
        graph = self.graph(self.structures())
        tensors = {entry.name: getattr(graph, entry.name) for entry in fields(graph)}
        before = {name: value.clone() for name, value in tensors.items() if value is not None}
        self.potential.evaluate(graph, self.names)
        for name, value in before.items():
            assert getattr(graph, name) is tensors[name], name
            assert torch.equal(value, tensors[name]), f"{name} was changed"
            assert not tensors[name].requires_grad, f"{name} was made to require a gradient"

    def test_traced_and_exported_energies_and_forces_are_the_same(self) -> None:
        if self.inputs - {"field"}:
            return  # engines give no levels and cells
        for structure in self.structures():
            random = np.random.default_rng(7)
            replicas = [structure, moved(structure, np.array([0.5, -1.0, 0.2]))]
            bound = BoundPotential(self.potential, replicas)
            bound.energy_and_forces(np.array([one.positions for one in replicas]))  # traced here, compared elsewhere
            positions = structure.positions + random.normal(scale=0.1, size=bound.shape)
            energies, forces = (value.detach().numpy() for value in bound.function(torch.tensor(positions)))
            traced = bound.energy_and_forces(positions)
            self.close(traced[0], energies, f"energies of {structure.formula}")
            self.close(traced[1], forces, f"forces on {structure.formula}")
            with tempfile.TemporaryDirectory(prefix="densnet-conformance-") as folder:
                bound.save_torchscript(Path(folder, "potential.pt"))
                script = torch.jit.load(str(Path(folder, "potential.pt")))  # type: ignore[no-untyped-call]
                total, found = script(torch.tensor(positions.reshape(-1, 3) * BOHR_TO_NANOMETER))
            what = f"exported, {structure.formula}"
            self.close(total.numpy() / HARTREE_TO_KJ_PER_MOL, energies.sum(), what)
            self.close(found.numpy() / KJ_PER_MOL_NANOMETER, forces.reshape(-1, 3), what)


def central_differences(function: Callable[[Array], Any], n: int, step: float) -> Array:
    """(n, ...) derivatives at zero of a function from (n,) to (...); the error is of fourth order in the step."""
    rows = []
    for shift in step * np.eye(n):
        near, far = (function(times * shift) - function(-times * shift) for times in (1.0, 2.0))
        rows.append((8.0 * near - far) / (12.0 * step))
    return np.array(rows)
