"""Conformance suite for density models: exact charge, symmetry, locality, declared inputs, statistics and export.

A plugin's test subclasses ``DensityModelTests`` and says how to make the model; one that stands on a backbone may take
the plain one of the suites::

    class TestMyModel(DensityModelTests):
        def make_model(self, specification: DensitySpecification) -> DensityModel:
            return MyModel(specification, MyOptions(), NeighbourBackbone)

The tests take no fixtures: ``densnet plugins check`` runs them on an installed component.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import NEUTRAL_SINGLET, DensitySpecification, State
from densnet_core.graphs.graph import graph_of
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.density import DENSITIES, DensityModel
from densnet_core.models.observables import polarizability
from densnet_core.structures import Array, Structure
from densnet_core.testing.comparisons import (
    TOLERANCE,
    assert_close,
    assert_exportable,
    assert_slope,
    assert_smooth_at_cutoff,
    assert_that,
    at_distance,
    total,
)
from densnet_core.testing.neighbours import NeighbourBackbone
from densnet_core.testing.network_data import (
    ANION,
    CATION,
    FORMALDEHYDE,
    HYDROGEN_CYANIDE,
    HYDRONIUM,
    MOLECULES,
    RADICAL,
    WATER,
    example_data,
    example_specification,
    moved,
    renumbered,
    states_for,
    together,
    turned,
)
from densnet_core.testing.networks import (
    SINGLE,
    TRANSFORMATIONS,
    as_after_training,
    assert_loss_falls,
    assert_optional_inputs,
    assert_same,
    assert_states_declared,
    assert_statistics,
    atoms_of_functions,
    coefficient_rotation,
    degrees_of,
    densities_of,
    density_values,
    electron_counts,
    far_shift,
    frozen,
    in_state,
    joined,
    on_a_grid,
    projections,
    reach_of,
    reloaded,
)
from densnet_core.testing.suites import ConformanceSuite, MakeOptions


class DensityModelTests(ConformanceSuite):
    """What every density model must do. Subclasses give ``make_model``; pytest finds the rest."""

    maker = "make_model"

    @classmethod
    def of_component(cls, target: type[Any], make_options: MakeOptions) -> type[ConformanceSuite]:
        def make(self: ConformanceSuite, specification: DensitySpecification) -> Any:
            return target(specification, make_options(), NeighbourBackbone)

        return type(cls.__name__, (cls,), {cls.maker: make, "__module__": cls.__module__})

    tolerance: ClassVar[float] = TOLERANCE
    """Relative, in float64; raise it only for coupling tables that are less precise. Charges are exact all the same."""
    vanishing_derivatives: ClassVar[int] = 1
    """Derivatives that vanish at the cutoff. Forces need one, and two make their errors in dynamics small."""
    largest_factor: ClassVar[float] = 1.0
    """Above one: exponents move, in a model that can."""
    symmetric_response: ClassVar[bool] = False
    """Whether the model claims that its polarizability is symmetric, as the exact one is."""

    @abstractmethod
    def make_model(self, specification: DensitySpecification) -> DensityModel:
        """A new model whose parameters torch's random numbers decide."""

    def specification(self, states: tuple[State, ...] | None = None) -> DensitySpecification:
        """For some states; by default all that the model's inputs allow."""
        if states is None:
            plain = example_specification((NEUTRAL_SINGLET,), self.largest_factor)
            states = states_for(self.make_model(plain).inputs)
        return example_specification(states, self.largest_factor)

    def untrained(self, states: tuple[State, ...] | None = None, seed: int = 0) -> tuple[DensityModel, Dataset]:
        """A model as training makes it, and its training data."""
        specification = self.specification(states)
        data = example_data(specification)
        torch.manual_seed(seed)
        model = self.make_model(specification)
        model.fit_statistics(data)
        return model, data

    def model(self, states: tuple[State, ...] | None = None, dtype: torch.dtype = torch.float64) -> DensityModel:
        """A model that might have been trained."""
        model, _ = self.untrained(states)
        as_after_training(model, dtype)
        return model

    def molecules(self, model: DensityModel) -> list[Structure]:
        """One of every state that the model knows, and an atom without any pair."""
        carbon = Structure(np.array([6]), np.array([[0.3, -0.2, 0.9]]))
        return [*(MOLECULES[state][0] for state in model.specification.states), FORMALDEHYDE, carbon]

    def test_it_returns_the_densities_that_it_declares(self) -> None:
        model = self.model()
        declared = model.densities
        assert_that("density" in declared, f"densities is {set(declared)}; every model predicts 'density'.")
        assert_that(declared <= set(DENSITIES), f"densities is {set(declared)}; known are {', '.join(DENSITIES)}.")
        for dtype in (torch.float32, torch.float64):
            cast_parameters(model, dtype)
            graph = graph_of(self.molecules(model))
            found = densities_of(model, graph)
            assert_that(set(found) == declared, f"forward returns {set(found)}, but densities is {set(declared)}.")
            n = model.specification.basis.n_functions(graph.numbers.tolist())
            for name, one in found.items():
                expected = (3, n) if name == "density_response" else (n,)
                assert_that(
                    tuple(one.coefficients.shape) == expected and one.coefficients.dtype == torch.float64,
                    f"{name} has {one.coefficients.dtype} coefficients {tuple(one.coefficients.shape)}; expected "
                    f"float64 {expected} whatever the precision of the parameters.",
                )
                assert_that(bool(torch.isfinite(one.coefficients).all()), f"{name} is not finite.")
                moving = model.specification.adapts_exponents
                assert_that((one.scales is None) != moving, f"{name} has scales: {one.scales is not None}.")

    def test_the_electron_count_is_exact(self) -> None:
        """Of neutral molecules, cations and anions; a spin density holds the unpaired electrons, a response none."""
        for states in self.state_sets():
            for dtype in (torch.float32, torch.float64):
                model = self.model(states, dtype)
                molecules = [one for state in states for one in MOLECULES[state]]
                graph = graph_of(molecules)
                found = densities_of(model, graph)
                expected = {
                    "density": -graph.molecule_charge,
                    "spin_density": torch.tensor([float(one.multiplicity - 1) for one in molecules]).double(),
                    "density_response": torch.zeros(3, len(molecules), dtype=torch.float64),
                }
                for name, one in found.items():
                    counts = electron_counts(model.specification, graph, one)
                    what = f"Electrons in {name} of molecules with (charge, multiplicity) {states} and {dtype}"
                    assert_close(counts, expected[name], 1e-9, what, relative=False)

    def state_sets(self) -> list[tuple[State, ...]]:
        """Training data of one state each, and those with all states that the model can tell apart."""
        return [(NEUTRAL_SINGLET,), (CATION,), (ANION,), (RADICAL,), self.specification().states]

    def test_coefficients_turn_with_the_molecule(self) -> None:
        model = self.model()
        basis = model.specification.basis
        for structure in self.molecules(model):
            before = densities_of(model, graph_of([structure]))
            for name, matrix in TRANSFORMATIONS.items():
                after = densities_of(model, graph_of([turned(structure, matrix)]))
                rotation = coefficient_rotation(basis, structure.numbers.tolist(), matrix)
                degrees = degrees_of(basis, structure.numbers.tolist())
                for kind, one in before.items():
                    expected = one.coefficients @ rotation.T
                    if kind == "density_response":
                        expected = torch.tensor(matrix) @ expected
                    largest = float(expected.abs().max())
                    for l_ in range(int(degrees.max()) + 1):
                        found = after[kind].coefficients[..., degrees == l_]
                        what = f"Functions of l = {l_} in the {kind} of {structure.formula} {name}"
                        limit = self.tolerance * 10 * max(largest, 1e-3)
                        assert_close(found, expected[..., degrees == l_], limit, what, relative=False)

    def test_the_density_turns_with_the_molecule(self) -> None:
        """Independent of any order of functions: values at turned points."""
        model = self.model()
        points = np.random.default_rng(2).normal(scale=2.0, size=(60, 3))
        before = self.values(model, FORMALDEHYDE, points)
        for name, matrix in TRANSFORMATIONS.items():
            after = self.values(model, turned(FORMALDEHYDE, matrix), points @ matrix.T)
            assert_close(after, before, self.tolerance * 10, f"The density of formaldehyde {name}")

    def values(self, model: DensityModel, structure: Structure, points: Array) -> Tensor:
        """(n_points,) difference density of a molecule."""
        graph = graph_of([structure])
        density = densities_of(model, graph)["density"]
        return density_values(model.specification, graph, density, torch.tensor(points))

    def test_atoms_of_all_molecules_have_functions_of_all_l(self) -> None:
        model = self.model()
        found = densities_of(model, graph_of([FORMALDEHYDE]))["density"].coefficients
        degrees = degrees_of(model.specification.basis, FORMALDEHYDE.numbers.tolist())
        for l_ in range(int(degrees.max()) + 1):
            largest = float(found[degrees == l_].abs().max())
            assert_that(largest > 1e-8, f"All coefficients of l = {l_} are zero ({largest:.0e}).")

    def test_the_numbering_of_atoms_does_not_matter(self) -> None:
        model, order = self.model(), [2, 0, 3, 1]
        before = densities_of(model, graph_of([FORMALDEHYDE]))
        after = densities_of(model, graph_of([renumbered(FORMALDEHYDE, order)]))
        atom_of = atoms_of_functions(model.specification.basis, FORMALDEHYDE.numbers.tolist())
        for name, one in before.items():
            expected = torch.cat([one.coefficients[..., atom_of == atom] for atom in order], dim=-1)
            assert_close(after[name].coefficients, expected, self.tolerance, f"{name} of renumbered atoms")

    def test_nothing_depends_on_where_a_molecule_stands(self) -> None:
        """In float32, too: pair vectors are rounded, positions are not."""
        structure = FORMALDEHYDE.with_positions(on_a_grid(FORMALDEHYDE.positions))
        for dtype, tolerance in ((torch.float64, self.tolerance), (torch.float32, SINGLE)):
            model = self.model(dtype=dtype)
            before = densities_of(model, graph_of([structure]))
            after = densities_of(model, graph_of([moved(structure, far_shift())]))
            what = f"with {dtype} of a molecule {far_shift().max():.0f} bohr away"
            assert_same(after, before, tolerance, what)

    def test_a_batch_equals_its_molecules(self) -> None:
        model = self.model()
        molecules = self.molecules(model)
        whole = densities_of(model, graph_of(molecules))
        alone = joined([densities_of(model, graph_of([one])) for one in molecules])
        assert_same(whole, alone, self.tolerance, "of molecules in a batch")

    def test_fragments_beyond_the_cutoff_change_nothing(self) -> None:
        """Neutral ones, and a neutral one beside an ion; with all pairs and with near ones."""
        model = self.model()
        if model.long_range:
            return  # what is left of distant molecules is the interaction that the model is made for
        cutoff = reach_of(model.cutoff)
        cases = [(together(WATER, HYDROGEN_CYANIDE, cutoff + 0.5, fragments=False), WATER, HYDROGEN_CYANIDE)]
        if CATION in model.specification.states:
            cases.append((together(WATER, HYDRONIUM, cutoff + 0.5), WATER, HYDRONIUM))
        for both, one, other in cases:
            apart = joined([densities_of(model, graph_of([part])) for part in (one, other)])
            for pairs in (None, cutoff):
                found = densities_of(model, graph_of([both], pairs))
                what = f"of {one.formula} and {other.formula} with charge {other.charge} beyond the cutoff"
                assert_same(found, apart, self.tolerance, what)

    def test_pairs_part_smoothly_at_the_cutoff(self) -> None:
        model = self.model()
        if model.long_range:
            return
        graph = graph_of([Structure(np.array([8, 6]), np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]))])
        for name in sorted(model.densities):
            function = projections(model, graph, name)
            derivatives, cutoff = self.vanishing_derivatives, reach_of(model.cutoff)
            assert_smooth_at_cutoff(partial(at_distance, function, graph.positions), cutoff, derivatives, name)

    def test_charge_and_multiplicity_are_used_if_declared(self) -> None:
        """Beyond the electron count: functions that hold no electrons change, too."""
        model = self.model()
        states = model.specification.states
        plain = graph_of([WATER])
        for name in ("charge", "multiplicity"):
            if name not in model.inputs:
                continue
            other = next(s for s in states if (s[0] != 0) == (name == "charge") and s != NEUTRAL_SINGLET)
            changed = in_state(plain, other)
            degrees = degrees_of(model.specification.basis, WATER.numbers.tolist())
            one, two = (densities_of(model, g)["density"].coefficients[degrees > 0] for g in (plain, changed))
            assert_that(
                float((one - two).abs().max()) > 1e-8,
                f"{type(model).__name__} declares {name!r}, but functions of l > 0 on water stay the same when "
                f"(charge, multiplicity) change from {NEUTRAL_SINGLET} to {other}.",
            )

    def test_states_that_are_not_declared_are_refused(self) -> None:
        """By the core, from ``inputs``: what varies within the training data must be used."""
        assert_states_declared(self.model().inputs)

    def test_optional_parts_of_a_graph_are_declared(self) -> None:
        model = self.model()
        assert_optional_inputs(model, lambda graph: densities_of(model, graph)["density"].coefficients)

    def test_statistics_do_not_depend_on_how_the_data_are_given(self) -> None:
        model, data = self.untrained()
        assert_statistics(model, model.fit_statistics, data, model.specification, 100 * self.tolerance)

    def test_gradients_are_right(self) -> None:
        model, graph = self.model(), graph_of([FORMALDEHYDE])
        for name in sorted(model.densities):
            function = projections(model, graph, name)
            assert_slope(partial(total, function), graph.positions, f"The gradient of {name}")

    def test_it_can_be_exported(self) -> None:
        """Coefficients and a gradient; at the other geometry other pairs are within the cutoff."""
        model = self.model()
        reach = model.cutoff or 10.0
        near, far = (together(WATER, HYDROGEN_CYANIDE, max(reach - gap, 2.0)) for gap in (3.5, -0.5))
        graph = graph_of([near])
        functions = [projections(model, graph, name) for name in sorted(model.densities)]

        def function(x: Tensor) -> tuple[Tensor, ...]:
            positions = x.detach().requires_grad_()
            values = torch.cat([one(positions) for one in functions])
            return values.detach(), torch.autograd.grad(values.sum(), positions)[0]

        elsewhere = [torch.tensor(one.positions) for one in (far, near.with_positions(0.97 * near.positions))]
        with frozen(model):
            assert_exportable(function, graph.positions, elsewhere, f"density model {type(model).__name__}")

    def test_torchs_seed_decides_everything(self) -> None:
        graph = graph_of([FORMALDEHYDE])
        model = self.model()
        first = densities_of(model, graph)
        assert_same(densities_of(model, graph), first, 0.0, "of the same graph, computed again")
        assert_same(densities_of(self.model(), graph), first, 0.0, "of a model made with the same seed")
        other, _ = self.untrained(seed=1)
        as_after_training(other)
        changed = densities_of(other, graph)["density"].coefficients
        assert_that(not bool((changed == first["density"].coefficients).all()), "Another seed gives the same density.")

    def test_saved_tensors_are_all_it_needs(self) -> None:
        model = self.model()
        other = reloaded(self.make_model, model, model.specification)
        graph = graph_of(self.molecules(model))
        assert_same(densities_of(other, graph), densities_of(model, graph), 1e-14, "of a model loaded from its tensors")

    def test_training_starts_near_the_data(self) -> None:
        """New parameters after fit_statistics: an error of a hundred densities takes most of a training to undo."""
        model, data = self.untrained()
        indices = list(range(len(data)))
        references = data.references(model.specification)
        found = densities_of(model, data.graph(indices, model.cutoff))["density"]
        nothing = replace(found, coefficients=torch.zeros_like(found.coefficients))
        first, whole = (float(references.squared_errors(indices, one).mean().sqrt()) for one in (found, nothing))
        assert_that(
            first < 100.0 * whole,
            f"After fit_statistics the first densities are wrong by {first / whole:.0f} times the densities of the "
            "training data; give the output the size that those have (densnet_core.models.statistics).",
        )

    def test_training_lowers_the_loss(self) -> None:
        model, data = self.untrained()
        indices = range(len(data))
        graph = data.graph(indices, model.cutoff)
        atoms = torch.tensor([one.n_atoms for one in data.structures])
        references = data.references(model.specification)

        def loss() -> Tensor:
            predicted: dict[str, Expansion] = model(graph)
            errors = references.squared_errors(list(indices), predicted["density"]) / atoms
            # No labels of others are at hand; they shrink a little, so that their parameters take part.
            others = [one.coefficients.square().mean() for name, one in predicted.items() if name != "density"]
            return 1e2 * errors.mean() + 1e-3 * torch.stack([errors.sum() * 0.0, *others]).sum()

        assert_loss_falls(model, loss)

    def test_a_response_turns_as_a_vector_and_may_be_symmetric(self) -> None:
        model = self.model()
        if "density_response" not in model.densities:
            return
        graph = graph_of([FORMALDEHYDE])
        before = polarizability(graph, densities_of(model, graph), model.specification)[0]
        for name, matrix in TRANSFORMATIONS.items():
            other = graph_of([turned(FORMALDEHYDE, matrix)])
            after = polarizability(other, densities_of(model, other), model.specification)[0]
            rotation = torch.tensor(matrix)
            assert_close(after, rotation @ before @ rotation.T, self.tolerance * 10, f"The polarizability {name}")
        if self.symmetric_response:
            assert_close(before.T, before, self.tolerance * 10, "The transposed polarizability")
