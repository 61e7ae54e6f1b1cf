"""Conformance suite for energy models: invariance, size consistency, forces through both models, statistics, export.

A plugin's test subclasses ``EnergyModelTests``; densities come from the plain model of the suites, or one it names::

    class TestMyModel(EnergyModelTests):
        def make_model(self, specification: DensitySpecification) -> EnergyModel:
            return MyModel(specification, MyOptions(), NeighbourBackbone)

The tests take no fixtures: ``densnet plugins check`` runs them on an installed component.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import NEUTRAL_SINGLET, DensitySpecification
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.statistics import energy_unit
from densnet_core.potentials.choice import invariants_for
from densnet_core.potentials.outputs import common_cutoff, energy_outputs
from densnet_core.structures import Structure
from densnet_core.testing.comparisons import (
    TOLERANCE,
    assert_close,
    assert_exportable,
    assert_learnable,
    assert_slope,
    assert_smooth_at_cutoff,
    assert_that,
    slope,
)
from densnet_core.testing.distant import assert_coulomb_interaction, assert_fragments_add_up
from densnet_core.testing.neighbours import NeighbourBackbone, NeighbourDensityModel
from densnet_core.testing.network_data import (
    FORMALDEHYDE,
    HYDROGEN_CYANIDE,
    MOLECULES,
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
    assert_states_declared,
    assert_statistics,
    densities_of,
    energies_and_forces,
    far_shift,
    frozen,
    in_state,
    on_a_grid,
    reach_of,
    reloaded,
    total_energy,
)
from densnet_core.testing.suites import ConformanceSuite, MakeOptions

Models = tuple[DensityModel, EnergyModel]
CARBON = Structure(np.array([6]), np.array([[0.3, -0.2, 0.9]]))


class EnergyModelTests(ConformanceSuite):
    """What every energy model must do. Subclasses give ``make_model``; pytest finds the rest."""

    maker = "make_model"

    @classmethod
    def of_component(cls, target: type[Any], make_options: MakeOptions) -> type[ConformanceSuite]:
        def make(self: ConformanceSuite, specification: DensitySpecification) -> Any:
            more = invariants_for(target, NeighbourDensityModel(specification))
            return target(specification, make_options(), NeighbourBackbone, **more)

        return type(cls.__name__, (cls,), {cls.maker: make, "__module__": cls.__module__})

    tolerance: ClassVar[float] = TOLERANCE
    """Hartree and hartree/bohr, in float64; raise it only for coupling tables that are less precise."""
    vanishing_derivatives: ClassVar[int] = 1
    """Derivatives that vanish at the cutoff. Forces need one, and two make their errors in dynamics small."""
    parts: ClassVar[Sequence[str]] = ()
    """Outputs that add up to the energy, if there are any; those of atoms are summed over each molecule."""

    @abstractmethod
    def make_model(self, specification: DensitySpecification) -> EnergyModel:
        """A new model whose parameters torch's random numbers decide."""

    def make_density_model(self, specification: DensitySpecification) -> DensityModel:
        """What predicts the densities that the model reads; another one where "density" is not enough."""
        return NeighbourDensityModel(specification)

    def specification(self) -> DensitySpecification:
        """For all states that the model's inputs allow."""
        return example_specification(states_for(self.make_model(example_specification()).inputs))

    def untrained(self, seed: int = 0) -> tuple[DensityModel, EnergyModel, Dataset]:
        """Models as training makes them, and their training data."""
        specification = self.specification()
        data = example_data(specification)
        torch.manual_seed(0)
        density = self.make_density_model(specification)
        density.fit_statistics(data)
        as_after_training(density)
        torch.manual_seed(seed)
        energy = self.make_model(specification)
        energy.fit_statistics(data, density)
        return density, energy, data

    def models(self, dtype: torch.dtype = torch.float64) -> Models:
        """Models that might have been trained."""
        density, energy, _ = self.untrained()
        cast_parameters(density, dtype)
        as_after_training(energy, dtype)
        return density, energy

    def molecules(self, energy: EnergyModel) -> list[Structure]:
        """One of every state that the model knows, and an atom without any pair."""
        return [*(MOLECULES[state][0] for state in energy.specification.states), FORMALDEHYDE, CARBON]

    def test_it_returns_the_outputs_that_it_declares(self) -> None:
        """In float64 whatever the precision of the parameters: total energies are large and their differences small."""
        for dtype in (torch.float32, torch.float64):
            density, energy = self.models(dtype)
            declared = energy.outputs
            assert_that("energy" in declared, f"outputs is {set(declared)}; every model gives 'energy'.")
            assert_that(energy.densities <= density.densities, f"{set(energy.densities)} are read; give "
                        f"make_density_model, which predicts {set(density.densities)}.")  # fmt: skip
            graph = graph_of(self.molecules(energy))
            found, _ = energy_outputs(density, energy, graph, forces=False)
            assert_that(set(found) == declared, f"forward returns {set(found)}, but outputs is {set(declared)}.")
            for name, value in found.items():
                sizes = (graph.n_molecules,) if name == "energy" else (graph.n_molecules, graph.n_atoms)
                assert_that(
                    value.shape[0] in sizes and (name != "energy" or value.ndim == 1) and value.dtype == torch.float64,
                    f"{name} is {value.dtype} {tuple(value.shape)}; expected float64 ({sizes[0]},).",
                )
                assert_that(bool(torch.isfinite(value).all()), f"{name} is not finite: {value}.")
            if self.parts:
                total = sum(
                    graph.sum_over_molecules(found[p]) if found[p].shape[0] == graph.n_atoms else found[p]
                    for p in self.parts
                )
                what = f"The sum of {', '.join(self.parts)} against the energy"
                assert_close(torch.as_tensor(total), found["energy"], self.tolerance, what, relative=False)

    def test_single_and_double_precision_agree(self) -> None:
        graph = graph_of([FORMALDEHYDE])
        single, double = (energies_and_forces(*self.models(dtype), graph) for dtype in (torch.float32, torch.float64))
        largest = float(double[1].abs().max())
        assert_close(single[0], double[0], SINGLE * largest, "The energy in float32", relative=False)
        assert_close(single[1], double[1], SINGLE, "Forces in float32")

    def test_energies_stay_and_forces_turn(self) -> None:
        density, energy = self.models()
        molecules = self.molecules(energy)
        before, forces = energies_and_forces(density, energy, graph_of(molecules))
        assert_that(float(forces.abs().max()) > 1e-6, "All forces are zero.")
        for name, matrix in TRANSFORMATIONS.items():
            graph = graph_of([turned(one, matrix) for one in molecules])
            after, turned_forces = energies_and_forces(density, energy, graph)
            assert_close(after, before, self.tolerance, f"Energies of molecules {name}", relative=False)
            assert_close(turned_forces, forces @ torch.tensor(matrix.T), self.tolerance, f"Forces on molecules {name}")

    def test_the_numbering_of_atoms_does_not_matter(self) -> None:
        models, order = self.models(), [2, 0, 3, 1]
        energy, forces = energies_and_forces(*models, graph_of([FORMALDEHYDE]))
        again, shuffled = energies_and_forces(*models, graph_of([renumbered(FORMALDEHYDE, order)]))
        assert_close(again, energy, self.tolerance, "The energy of renumbered atoms", relative=False)
        assert_close(shuffled, forces[order], self.tolerance, "Forces on renumbered atoms")

    def test_nothing_depends_on_where_a_molecule_stands(self) -> None:
        """In float32, too: pair vectors are rounded, positions are not."""
        structure = FORMALDEHYDE.with_positions(on_a_grid(FORMALDEHYDE.positions))
        for dtype, tolerance in ((torch.float64, self.tolerance), (torch.float32, SINGLE)):
            models = self.models(dtype)
            energy, forces = energies_and_forces(*models, graph_of([structure]))
            again, same = energies_and_forces(*models, graph_of([moved(structure, far_shift())]))
            where = f"in {dtype} {far_shift().max():.0f} bohr away"
            assert_close(again, energy, tolerance * float(forces.abs().max()), f"The energy {where}", relative=False)
            assert_close(same, forces, tolerance, f"Forces {where}")

    def test_a_batch_equals_its_molecules(self) -> None:
        density, energy = self.models()
        molecules = self.molecules(energy)
        energies, forces = energies_and_forces(density, energy, graph_of(molecules))
        alone = [energies_and_forces(density, energy, graph_of([one])) for one in molecules]
        assert_close(energies, torch.cat([e for e, _ in alone]), self.tolerance, "Energies in a batch", relative=False)
        assert_close(forces, torch.cat([f for _, f in alone]), self.tolerance, "Forces in a batch")

    def test_distant_fragments_add_up_or_interact_as_their_densities_do(self) -> None:
        density, energy = self.models()
        if density.long_range:
            return  # its densities change with what is far away, as they should
        if energy.long_range:
            assert_coulomb_interaction(density, energy)
        else:
            assert_fragments_add_up(density, energy, self.tolerance)

    def test_pairs_part_smoothly_at_the_cutoff(self) -> None:
        """Of the energy alone, at densities that do not change, and of both models."""
        density, energy = self.models()
        if density.long_range or energy.long_range:
            return
        graph = graph_of([Structure(np.array([8, 6]), np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]))])
        held = densities_of(density, graph.with_positions(2.3 * graph.positions))

        def of_both(distance: Tensor) -> Tensor:
            moved_graph = graph.with_positions(graph.positions * distance)
            return total_energy(energy, moved_graph, density(moved_graph))[None]

        def of_one(distance: Tensor) -> Tensor:
            return total_energy(energy, graph.with_positions(graph.positions * distance), held)[None]

        derivatives = self.vanishing_derivatives
        assert_smooth_at_cutoff(of_both, reach_of(common_cutoff(density, energy)), derivatives, "the energy")
        what = "the energy at a given density"
        if energy.cutoff == 0.0:  # no pairs of its own
            near, far = (of_one(torch.tensor(distance)) for distance in (2.0, 4.0))
            assert_close(far, near, 0.0, f"{what}, whose cutoff is zero, at another distance")
        elif energy.cutoff is not None:
            assert_smooth_at_cutoff(of_one, energy.cutoff, derivatives, what)

    def test_forces_are_the_slope_of_the_energy(self) -> None:
        """Central differences of fourth order, through both models."""
        density, energy = self.models()
        for structure in (FORMALDEHYDE, self.molecules(energy)[0]):
            graph = graph_of([structure])
            _, forces = energies_and_forces(density, energy, graph)

            def function(positions: Tensor, graph: Graph = graph) -> Tensor:
                moved_graph = graph.with_positions(positions)
                return total_energy(energy, moved_graph, density(moved_graph))

            random = torch.Generator().manual_seed(3)
            for _ in range(3):
                direction = torch.randn(forces.shape, generator=random, dtype=torch.float64)
                found, expected = -(forces * direction).sum(), slope(function, graph.positions, direction)
                scale = float(forces.norm() * direction.norm())
                assert_close(found, expected, 1e-6 * scale, "Minus the force, a slope of the energy,", relative=False)

    def test_the_energy_depends_on_the_density_and_is_differentiable_in_it(self) -> None:
        (density, energy), graph = self.models(), graph_of([FORMALDEHYDE])
        held = densities_of(density, graph)  # the steps: spreads of amplitudes are as small as 1e-4
        read = [(name, "coefficients", 1e-5) for name in sorted(energy.densities) if energy.l_max != -1]
        read += [("density", "invariants", 1e-3)] if energy.reads_invariants else []
        assert_that(bool(read), "The energy reads neither coefficients nor invariants.")
        for name, entry, step in read:

            def function(values: Tensor, name: str = name, entry: str = entry) -> Tensor:
                changed = replace(held[name], **{entry: values})
                return total_energy(energy, graph, {**held, name: changed})

            what = f"The gradient of the energy in the {entry} of the {name}"
            assert_slope(function, getattr(held[name], entry), what, step)

    def test_forces_can_be_learned(self) -> None:
        """The gradient in the parameters of a loss of forces, against differences."""
        density, energy = self.models()
        graph = graph_of([WATER])

        def loss() -> Tensor:
            found, _ = energy_outputs(density, energy, graph, training=True)
            return (found["forces"] ** 2).sum()

        assert_learnable(loss, list(energy.parameters()), "The gradient of a loss of forces in the parameters")

    def test_a_lone_atom_feels_no_force(self) -> None:
        energies, forces = energies_and_forces(*self.models(), graph_of([CARBON]))
        assert_that(bool(torch.isfinite(energies).all()), f"The energy of an atom is {energies.item()}.")
        assert_that(not bool(forces.any()), f"A lone atom feels a force: {forces.tolist()}.")

    def test_training_starts_at_the_energies_of_free_atoms(self) -> None:
        """A model whose atomic energies nobody set starts tens of hartree away and never gets there."""
        density, energy, data = self.untrained()
        graph = data.graph(range(len(data)), common_cutoff(density, energy))
        with torch.no_grad():
            found = energy(graph, density(graph))["energy"]
        wanted = data.tensor("energy", range(len(data)))
        largest = float(((found - wanted).abs() / graph.sizes).max())
        assert_that(
            largest < 1.0,
            f"After fit_statistics the first energies are wrong by up to {largest:.3g} hartree per atom; take the "
            "energies of the elements from the training data (densnet_core.models.statistics.reference_energies).",
        )

    def test_charge_and_multiplicity_are_used_if_declared(self) -> None:
        """At the same density."""
        density, energy = self.models()
        plain = graph_of([WATER])
        held = densities_of(density, plain)
        for name in ("charge", "multiplicity"):
            if name not in energy.inputs:
                continue
            states = energy.specification.states
            other = next(s for s in states if (s[0] != 0) == (name == "charge") and s != NEUTRAL_SINGLET)
            one, two = (float(total_energy(energy, g, held).detach()) for g in (plain, in_state(plain, other)))
            assert_that(
                abs(one - two) > 1e-8,
                f"{type(energy).__name__} declares {name!r}, but the energy of water stays the same when (charge, "
                f"multiplicity) change from {NEUTRAL_SINGLET} to {other}.",
            )

    def test_states_that_are_not_declared_are_refused(self) -> None:
        """By the core, from ``inputs``: what varies within the training data must be used."""
        assert_states_declared(self.models()[1].inputs)

    def test_optional_parts_of_a_graph_are_declared(self) -> None:
        density, energy = self.models()
        held = densities_of(density, graph_of([WATER]))
        assert_optional_inputs(energy, lambda graph: total_energy(energy, graph, held).detach())

    def test_statistics_do_not_depend_on_how_the_data_are_given(self) -> None:
        density, energy, data = self.untrained()
        fit = partial(energy.fit_statistics, density_model=density)
        assert_statistics(energy, fit, data, energy.specification, 100 * self.tolerance)

    def test_statistics_need_no_reference_densities(self) -> None:
        """A data set of energies and forces alone is enough: predicted densities are at hand."""
        density, energy, data = self.untrained()
        labels = {name: data.labels[name] for name in ("energy", "forces")}
        energy.fit_statistics(Dataset(data.structures, labels), density)
        energies, forces = energies_and_forces(density, energy, graph_of([FORMALDEHYDE]))
        finite = torch.isfinite(energies).all() & torch.isfinite(forces).all()
        assert_that(bool(finite), "After statistics without reference densities energies or forces are not finite.")

    def test_it_can_be_exported(self) -> None:
        """Energies and forces through both; at the other geometry other pairs are within the cutoff."""
        density, energy = self.models()
        reach = common_cutoff(density, energy) or 10.0
        near, far = (together(WATER, HYDROGEN_CYANIDE, max(reach - gap, 2.0)) for gap in (3.5, -0.5))
        graph = graph_of([near])

        def function(positions: Tensor) -> tuple[Tensor, ...]:
            return energies_and_forces(density, energy, graph.with_positions(positions))

        elsewhere = [torch.tensor(one.positions) for one in (far, near.with_positions(0.97 * near.positions))]
        with frozen(density, energy):
            assert_exportable(function, graph.positions, elsewhere, f"energy model {type(energy).__name__}")

    def test_torchs_seed_decides_everything(self) -> None:
        graph = graph_of([FORMALDEHYDE])
        models = self.models()
        first, _ = energies_and_forces(*models, graph)
        assert_close(energies_and_forces(*models, graph)[0], first, 0.0, "The energy, computed again")
        assert_close(energies_and_forces(*self.models(), graph)[0], first, 0.0, "The energy with the same seed")
        density, other, _ = self.untrained(seed=1)
        as_after_training(other)
        changed, _ = energies_and_forces(density, other, graph)
        assert_that(bool((changed != first).all()), "Another seed gives the same energy.")

    def test_saved_tensors_are_all_it_needs(self) -> None:
        density, energy = self.models()
        other = reloaded(self.make_model, energy, energy.specification)
        graph = graph_of(self.molecules(energy))
        found, expected = (energies_and_forces(density, one, graph)[0] for one in (other, energy))
        assert_close(found, expected, 1e-13, "The energy of a model loaded from its tensors")

    def test_training_lowers_the_loss(self) -> None:
        density, energy, data = self.untrained()
        indices, unit = range(len(data)), energy_unit(data)
        graph = data.graph(indices, common_cutoff(density, energy))
        energies, forces = data.tensor("energy", indices), data.tensor("forces", indices, concatenated=True)

        def loss() -> Tensor:
            found, _ = energy_outputs(density, energy, graph, training=True)
            per_atom = (found["energy"] - energies) / graph.sizes
            return ((per_atom / unit) ** 2).mean() + (((found["forces"] - forces) / unit) ** 2).mean()

        with frozen(density):
            assert_loss_falls(energy, loss)
