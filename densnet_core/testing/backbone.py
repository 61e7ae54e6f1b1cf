"""Conformance suite for backbones: symmetry, smoothness, precision, statistics and export.

A plugin's test subclasses ``BackboneTests`` and says how to make the backbone, with the options that its users have or
with small ones::

    class TestMyBackbone(BackboneTests):
        def make_backbone(self, shape: BackboneShape) -> Backbone:
            return MyBackbone(shape, MyOptions())

The tests take no fixtures: ``densnet plugins check`` runs them on an installed component.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.backbone import Backbone, BackboneShape, cast_parameters
from densnet_core.structures import Array, Structure
from densnet_core.testing.comparisons import (
    TOLERANCE,
    assert_close,
    assert_exportable,
    assert_learnable,
    assert_slope,
    assert_smooth_at_cutoff,
    assert_that,
    gradient,
)
from densnet_core.testing.network_data import (
    AMMONIA,
    ELEMENTS,
    FORMALDEHYDE,
    HYDROXIDE,
    WATER,
    example_data,
    example_specification,
    moved,
    renumbered,
    together,
    turned,
)
from densnet_core.testing.networks import (
    SINGLE,
    TRANSFORMATIONS,
    as_after_training,
    assert_statistics,
    far_shift,
    feature_rotation,
    frozen,
    on_a_grid,
    tensors_of,
)
from densnet_core.testing.suites import ConformanceSuite

SHAPES: Final = (BackboneShape(ELEMENTS, -1, 0, 3), BackboneShape(ELEMENTS, 2, 5, 2), BackboneShape(ELEMENTS, 2, 5, 0))
"""As density models, later stages and energy models ask for: without and with input features."""
CARBON: Final = Structure(np.array([6]), np.array([[0.3, -0.2, 0.9]]))


class BackboneTests(ConformanceSuite):
    """What every backbone must do. Subclasses give ``make_backbone``; pytest finds the rest."""

    maker = "make_backbone"
    shapes: ClassVar[Sequence[BackboneShape]] = SHAPES
    tolerance: ClassVar[float] = TOLERANCE
    """Relative, in float64; raise it only for coupling tables that are less precise."""
    vanishing_derivatives: ClassVar[int] = 1
    """Derivatives that vanish at the cutoff. Forces need one, and two make their errors in dynamics small."""

    @abstractmethod
    def make_backbone(self, shape: BackboneShape) -> Backbone:
        """A new backbone whose parameters torch's random numbers decide."""

    def backbone(self, shape: BackboneShape, dtype: torch.dtype = torch.float64, seed: int = 0) -> Backbone:
        """One with statistics, as in training."""
        torch.manual_seed(seed)
        backbone = self.make_backbone(shape)
        backbone.check()
        backbone.fit_statistics(example_data(example_specification()))
        as_after_training(backbone, dtype)
        return backbone

    def test_features_have_the_shape_and_the_precision_of_the_parameters(self) -> None:
        graph = graph_of([WATER, FORMALDEHYDE])
        for shape in self.shapes:
            for dtype in (torch.float32, torch.float64):
                backbone = self.backbone(shape, dtype)
                found = features_of(backbone, graph)
                expected = ((shape.l_out + 1) ** 2, graph.n_atoms, backbone.channels)
                assert_that(
                    tuple(found.shape) == expected and found.dtype == dtype,
                    f"Features for {shape} are {found.dtype} {tuple(found.shape)}; expected {dtype} {expected}, the "
                    "components of all l, atoms and channels.",
                )
                assert_that(bool(torch.isfinite(found).all()), f"Features for {shape} are not finite.")
                assert_that(
                    backbone.cutoff > 0 and np.isfinite(backbone.cutoff), f"The cutoff is {backbone.cutoff} bohr."
                )

    def test_a_limit_of_degree_leaves_the_components_below_as_they_are(self) -> None:
        graph = graph_of([WATER, FORMALDEHYDE])
        for shape in self.shapes:
            backbone = self.backbone(shape)
            species, entry = species_of(graph), input_features(backbone, graph, 6)
            whole = backbone(graph, species, entry)
            for l_max in range(shape.l_out + 1):
                found = backbone.up_to(l_max, graph, species, entry)
                n_components = (l_max + 1) ** 2
                assert_that(len(found) == n_components, f"{len(found)} components up to l = {l_max} for {shape}.")
                what = f"Features of l <= {l_max} alone for {shape}"
                assert_close(found, whole[:n_components], self.tolerance, what)

    def test_single_and_double_precision_agree(self) -> None:
        for shape in self.shapes:
            single, double = (features_of(self.backbone(shape, dtype), graph_of([FORMALDEHYDE]))
                              for dtype in (torch.float32, torch.float64))  # fmt: skip
            assert_close(single.double(), double, SINGLE, f"Features in float32 for {shape}")

    def test_features_turn_with_the_molecule(self) -> None:
        """Natural parity: an inversion multiplies those of l by (-1)^l."""
        for shape in self.shapes:
            backbone = self.backbone(shape)
            before = features_of(backbone, graph_of([FORMALDEHYDE]))
            for l_ in range(shape.l_out + 1):
                assert_that(bool(before[l_**2 : (l_ + 1) ** 2].any()), f"Features of l = {l_} are zero for {shape}.")
            for name, matrix in TRANSFORMATIONS.items():
                after = features_of(backbone, graph_of([turned(FORMALDEHYDE, matrix)]), matrix)
                expected = torch.einsum("mn,nac->mac", feature_rotation(shape.l_out, matrix), before)
                for l_ in range(shape.l_out + 1):
                    rows = slice(l_**2, (l_ + 1) ** 2)
                    assert_close(
                        after[rows],
                        expected[rows],
                        self.tolerance * 10,
                        f"Features of l = {l_} of the molecule {name} (order m = -l..l, so y, z, x for l = 1)",
                    )

    def test_the_numbering_of_atoms_and_pairs_does_not_matter(self) -> None:
        order = [2, 0, 3, 1]
        for shape in self.shapes:
            backbone = self.backbone(shape)
            before = features_of(backbone, graph_of([FORMALDEHYDE]))
            entry = input_features(backbone, graph_of([FORMALDEHYDE]))
            graph = graph_of([renumbered(FORMALDEHYDE, order)])
            shuffled = torch.randperm(len(graph.senders), generator=torch.Generator().manual_seed(1))
            graph = pairs_of(graph, shuffled)
            after = call(backbone, graph, None if entry is None else entry[:, order])
            assert_close(after, before[:, order], self.tolerance, f"Features of renumbered atoms for {shape}")

    def test_nothing_depends_on_where_a_molecule_stands(self) -> None:
        """In float32, too: pair vectors are rounded, positions are not."""
        structure = FORMALDEHYDE.with_positions(on_a_grid(FORMALDEHYDE.positions))
        for dtype, tolerance in ((torch.float64, self.tolerance), (torch.float32, SINGLE)):
            for shape in self.shapes:
                backbone = self.backbone(shape, dtype)
                before = features_of(backbone, graph_of([structure]))
                after = features_of(backbone, graph_of([moved(structure, far_shift())]))
                what = f"Features in {dtype} of a molecule {far_shift().max():.0f} bohr away"
                assert_close(after, before, tolerance, what)

    def test_a_batch_equals_its_molecules(self) -> None:
        """Different sizes, and an atom without any pair."""
        molecules = [WATER, CARBON, FORMALDEHYDE, HYDROXIDE]
        for shape in self.shapes:
            backbone = self.backbone(shape)
            entry = input_features(backbone, graph_of(molecules))
            whole = call(backbone, graph_of(molecules), entry)
            start = 0
            for one in molecules:
                part = slice(start, start + one.n_atoms)
                alone = call(backbone, graph_of([one]), None if entry is None else entry[:, part])
                assert_close(whole[:, part], alone, self.tolerance, f"Features of {one.formula} in a batch")
                start += one.n_atoms

    def test_pairs_beyond_the_cutoff_do_not_matter(self) -> None:
        for shape in self.shapes:
            backbone = self.backbone(shape)
            far = together(WATER, FORMALDEHYDE, backbone.cutoff + 0.5)
            every, near = graph_of([far]), graph_of([far], cutoff=backbone.cutoff)
            entry = input_features(backbone, every)
            some = call(backbone, near, entry)
            assert_close(call(backbone, every, entry), some, self.tolerance, "Features with pairs beyond the cutoff")
            alone = call(backbone, graph_of([WATER]), None if entry is None else entry[:, : WATER.n_atoms])
            assert_close(some[:, : WATER.n_atoms], alone, self.tolerance, "Features of water with a far neighbour")

    def test_pairs_part_smoothly_at_the_cutoff(self) -> None:
        for shape in self.shapes:
            backbone = self.backbone(shape)
            function = of_distance(backbone)
            assert_smooth_at_cutoff(function, backbone.cutoff, self.vanishing_derivatives, f"features for {shape}")

    def test_gradients_are_right(self) -> None:
        """In positions and input features, against central differences."""
        for shape in self.shapes:
            backbone, graph = self.backbone(shape), graph_of([FORMALDEHYDE])
            entry, scalar = input_features(backbone, graph), scalar_of(backbone, graph)
            assert_slope(of_positions(scalar, entry), graph.positions, f"The gradient in positions for {shape}")
            if entry is not None:
                of_entry = partial(scalar, graph.positions)
                assert_slope(of_entry, entry, f"The gradient in input features for {shape}")

    def test_forces_can_be_learned(self) -> None:
        """The gradient in the parameters of a function of the gradient in the positions, against differences."""
        for shape in self.shapes:
            backbone, graph = self.backbone(shape), graph_of([AMMONIA])
            entry, scalar = input_features(backbone, graph), scalar_of(backbone, graph)

            def loss(scalar: Scalar = scalar, graph: Graph = graph, entry: Tensor | None = entry) -> Tensor:
                positions = graph.positions.clone().requires_grad_()
                (forces,) = torch.autograd.grad(scalar(positions, entry), positions, create_graph=True)
                return (forces**2).sum()

            what = f"The gradient of a loss of forces in the parameters for {shape}"
            assert_learnable(loss, list(backbone.parameters()), what)

    def test_statistics_do_not_depend_on_how_the_data_are_given(self) -> None:
        data = example_data(example_specification())
        for shape in self.shapes:
            torch.manual_seed(0)
            backbone = self.make_backbone(shape)
            assert_statistics(backbone, backbone.fit_statistics, data, example_specification(), self.tolerance)

    def test_features_have_a_sane_size(self) -> None:
        for shape in self.shapes:
            found = features_of(self.backbone(shape), graph_of(example_data(example_specification()).structures))
            size = float((found**2).mean().sqrt())
            assert_that(
                1e-2 < size < 1e2,
                f"After fit_statistics the root mean square of the features for {shape} is {size:.1e}; expected about "
                "one, or training starts far from where it can learn.",
            )

    def test_a_lone_atom_is_round(self) -> None:
        """No pairs at all: finite, and nothing but l = 0; no force."""
        graph = graph_of([CARBON])
        for shape in self.shapes:
            backbone = self.backbone(shape)
            found = features_of(backbone, graph, l_highest=0)
            assert_that(bool(torch.isfinite(found).all()), f"Features of a lone atom for {shape} are not finite.")
            round_ = bool((found[1:].abs() <= self.tolerance * found.abs().max()).all())
            assert_that(round_, f"A lone atom has features of l > 0 for {shape}.")
            entry, scalar = input_features(backbone, graph), scalar_of(backbone, graph)
            force = gradient(of_positions(scalar, entry), graph.positions)
            assert_that(not bool(force.any()), f"A lone atom feels a force: {force.tolist()}.")

    def test_elements_are_told_apart(self) -> None:
        other = Structure(np.array([7, 8, 1, 1]), FORMALDEHYDE.positions, 1)
        backbone = self.backbone(self.shapes[0])
        found, changed = (features_of(backbone, graph_of([one])) for one in (FORMALDEHYDE, other))
        assert_that(
            bool(((found - changed).abs().amax((0, 2)) > 1e-9).all()),
            "With nitrogen in place of carbon the features of some atoms are the same.",
        )

    def test_it_can_be_exported(self) -> None:
        """A scalar and its gradient; at the other geometry other pairs are within the cutoff."""
        for shape in (self.shapes[0], self.shapes[-1]):
            backbone = self.backbone(shape)
            near, far = (together(WATER, HYDROXIDE, backbone.cutoff - gap) for gap in (3.5, -0.5))
            graph = graph_of([near])
            entry, scalar = input_features(backbone, graph), scalar_of(backbone, graph)

            def function(x: Tensor, scalar: Scalar = scalar, entry: Tensor | None = entry) -> tuple[Tensor, ...]:
                positions = x.detach().requires_grad_()
                value = scalar(positions, entry)
                return value.detach(), torch.autograd.grad(value, positions)[0]

            with frozen(backbone):
                elsewhere = [torch.tensor(one.positions) for one in (far, near.with_positions(0.97 * near.positions))]
                assert_exportable(function, graph.positions, elsewhere, f"backbone {type(backbone).__name__}")

    def test_torchs_seed_decides_everything(self) -> None:
        graph = graph_of([FORMALDEHYDE])
        for shape in self.shapes:
            backbone, same, other = (self.backbone(shape, seed=seed) for seed in (0, 0, 1))
            first = features_of(backbone, graph)
            assert_close(features_of(backbone, graph), first, 0.0, "Features of the same graph, computed again")
            assert_close(features_of(same, graph), first, 0.0, "Features of a backbone made with the same seed")
            assert_that(not bool((features_of(other, graph) == first).all()), "Another seed gives the same features.")

    def test_saved_tensors_are_all_it_needs(self) -> None:
        for shape in self.shapes:
            backbone = self.backbone(shape)
            torch.manual_seed(1)
            other = self.make_backbone(shape)
            cast_parameters(other, torch.float64)
            other.load_state_dict(tensors_of(backbone))
            other.eval()
            graph = graph_of([FORMALDEHYDE])
            expected = features_of(backbone, graph)
            assert_close(features_of(other, graph), expected, 1e-14, "Features of a backbone loaded from its tensors")


Scalar = Callable[[Tensor, Tensor | None], Tensor]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def species_of(graph: Graph) -> Tensor:
    """(n_atoms,) index of each atom's element."""
    return torch.tensor([ELEMENTS.index(int(z)) for z in graph.numbers])


def input_features(backbone: Backbone, graph: Graph, l_highest: int = 6) -> Tensor | None:
    """Random input features, or None; zero beyond an l."""
    shape = backbone.shape
    if shape.l_in < 0:
        return None
    size = ((shape.l_in + 1) ** 2, graph.n_atoms, shape.channels_in)
    features = torch.randn(size, generator=generator(5), dtype=torch.float64)
    features[(l_highest + 1) ** 2 :] = 0.0
    return features


def call(backbone: Backbone, graph: Graph, entry: Tensor | None) -> Tensor:
    """Features of a graph without gradients."""
    dtype = next(backbone.parameters()).dtype
    with torch.no_grad():
        result: Tensor = backbone(graph, species_of(graph), None if entry is None else entry.to(dtype))
    return result


def features_of(backbone: Backbone, graph: Graph, matrix: Array | None = None, l_highest: int = 6) -> Tensor:
    """Features of a graph for input features that turn with the molecule."""
    entry = input_features(backbone, graph, l_highest)
    if entry is not None and matrix is not None:
        entry = torch.einsum("mn,nac->mac", feature_rotation(backbone.shape.l_in, matrix), entry)
    return call(backbone, graph, entry)


def scalar_of(backbone: Backbone, graph: Graph) -> Scalar:
    """An invariant function of positions and input features, as an energy is."""
    species = species_of(graph)

    def scalar(positions: Tensor, entry: Tensor | None) -> Tensor:
        features = backbone(graph.with_positions(positions), species, entry)
        weights = torch.linspace(0.5, 1.5, features.shape[2], dtype=features.dtype)
        result: Tensor = (features[0] * weights).sum() + 0.1 * ((features**2).sum(0) * weights).sum()
        return result

    return scalar


def of_positions(scalar: Scalar, entry: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The scalar as a function of the positions alone."""
    return lambda positions: scalar(positions, entry)


def of_distance(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    """From a distance to four projections of the features of a pair of atoms."""
    graph = graph_of([Structure(np.array([8, 6]), np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]))])
    entry, species = input_features(backbone, graph), species_of(graph)

    def function(distance: Tensor) -> Tensor:
        features = backbone(graph.with_positions(graph.positions * distance), species, entry).flatten()
        directions = torch.randn(4, len(features), generator=generator(6), dtype=features.dtype)
        result: Tensor = directions @ features / len(features) ** 0.5
        return result

    return function


def pairs_of(graph: Graph, order: Tensor) -> Graph:
    """The graph with its pairs in another order, or some of them only."""
    return replace(graph, senders=graph.senders[order], receivers=graph.receivers[order])
