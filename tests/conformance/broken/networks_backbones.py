"""Backbones with one mistake each, and the test of the suite that must fail for it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.conventions import from_magnetic_order
from densnet_core.datasets.dataset import Dataset
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.testing.backbone import BackboneTests
from densnet_core.testing.neighbours import NeighbourBackbone

Features = Tensor | None


class WrongOrder(NeighbourBackbone):
    """l = 1 as x, y, z."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        if found.shape[0] < 4:
            return found
        return torch.cat([found[:1], found[1:4][from_magnetic_order(1)], found[4:]])


class WrongParity(NeighbourBackbone):
    """A pseudoscalar mixed into the scalars: it turns as it should, but changes sign in a mirror."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        if found.shape[0] < 4:
            return found
        triple = (found[1:4, :, 0] * torch.linalg.cross(found[1:4, :, 1], found[1:4, :, 2], dim=0)).sum(0)
        return torch.cat([found[:1] + triple[:, None], found[1:]])


class JumpAtCutoff(NeighbourBackbone):
    """Neighbours are counted."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        near = (torch.linalg.vector_norm(graph.pair_vectors, dim=1) < self.cutoff).to(found.dtype)
        count = near.new_zeros(graph.n_atoms).index_add(0, graph.receivers, near)
        return torch.cat([found[:1] + 0.1 * count[:, None], found[1:]])


class KinkAtCutoff(NeighbourBackbone):
    """An envelope that goes to zero in a straight line."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        near = (1.0 - torch.linalg.vector_norm(graph.pair_vectors, dim=1) / self.cutoff).clamp(min=0.0)
        total = near.new_zeros(graph.n_atoms).index_add(0, graph.receivers, near).to(found.dtype)
        return torch.cat([found[:1] + total[:, None], found[1:]])


class Unlimited(NeighbourBackbone):
    """Pairs at any distance matter, whatever it says of its cutoff."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__(shape)
        self.cutoff = 5.0

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        self.cutoff = 40.0
        found = super().forward(graph, species, features)
        self.cutoff = 5.0
        return found


class LimitedOtherwise(NeighbourBackbone):
    """With a limit of degree the features are measured by the components that are left."""

    truncates = True

    def forward(self, graph: Graph, species: Tensor, features: Features, l_max: int | None = None) -> Tensor:
        found = super().forward(graph, species, features)
        found = found if l_max is None else found[: (l_max + 1) ** 2]
        return found / (1.0 + found.square().mean())


class NormalisedOverBatch(NeighbourBackbone):
    """The mean over all atoms of the batch is taken away."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        return torch.cat([found[:1] - found[:1].mean(1, keepdim=True), found[1:]])


class RoundedPositions(NeighbourBackbone):
    """Positions in the precision of the parameters."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return super().forward(graph.with_positions(graph.positions.to(self.embedding.dtype)), species, features)


class AbsolutePositions(NeighbourBackbone):
    """Distances from the origin."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        return torch.cat([found[:1] + 1e-3 * (graph.positions**2).sum(1)[:, None].to(found.dtype), found[1:]])


class Decision(NeighbourBackbone):
    """A branch that depends on a distance."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        if graph.senders.numel() and bool(torch.linalg.vector_norm(graph.pair_vectors, dim=1).min() < 0.5):
            found = 2.0 * found
        return found


class Frozen(NeighbourBackbone):
    """Harmonics computed in NumPy: no gradient goes through them."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return super().forward(graph.with_positions(graph.positions.detach()), species, features) + 0.0 * (
            graph.positions.sum().to(self.embedding.dtype)
        )


class Noise(NeighbourBackbone):
    """Random numbers in every call."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        found = super().forward(graph, species, features)
        return torch.cat([found[:1] * (1.0 + 1e-3 * torch.rand(1, dtype=found.dtype)), found[1:]])


class OwnSeed(NeighbourBackbone):
    """Parameters from NumPy's random numbers, which no seed of ours decides."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__(shape)
        random = np.random.default_rng().normal(size=tuple(self.embedding.shape))
        self.embedding.data = torch.tensor(random, dtype=self.embedding.dtype)


class IgnoredFeatures(NeighbourBackbone):
    """The input features are declared and ignored."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        zeros = None if features is None else 0.0 * features
        return super().forward(graph, species, zeros)


class OrientedStatistics(NeighbourBackbone):
    """Normalised by the extent of the molecules along x."""

    def fit_statistics(self, dataset: Dataset) -> None:
        super().fit_statistics(dataset)
        self.neighbours.fill_(float(np.mean([np.ptp(s.positions[:, 0]) for s in dataset.structures])))


class ForgottenStatistics(NeighbourBackbone):
    """The statistics are in an attribute and not in a buffer."""

    factor = 1.0

    def fit_statistics(self, dataset: Dataset) -> None:
        self.factor = 0.5

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return self.factor * super().forward(graph, species, features)


class Huge(NeighbourBackbone):
    """No normalisation at all."""

    def forward(self, graph: Graph, species: Tensor, features: Features) -> Tensor:
        return 1e3 * super().forward(graph, species, features)


BACKBONES: Final[dict[type[Backbone], str]] = {
    WrongOrder: "test_features_turn_with_the_molecule",
    WrongParity: "test_features_turn_with_the_molecule",
    JumpAtCutoff: "test_pairs_part_smoothly_at_the_cutoff",
    KinkAtCutoff: "test_pairs_part_smoothly_at_the_cutoff",
    Unlimited: "test_pairs_beyond_the_cutoff_do_not_matter",
    LimitedOtherwise: "test_a_limit_of_degree_leaves_the_components_below_as_they_are",
    NormalisedOverBatch: "test_a_batch_equals_its_molecules",
    RoundedPositions: "test_nothing_depends_on_where_a_molecule_stands",
    AbsolutePositions: "test_nothing_depends_on_where_a_molecule_stands",
    Decision: "test_it_can_be_exported",
    Frozen: "test_gradients_are_right",
    Noise: "test_torchs_seed_decides_everything",
    OwnSeed: "test_torchs_seed_decides_everything",
    IgnoredFeatures: "test_gradients_are_right",
    OrientedStatistics: "test_statistics_do_not_depend_on_how_the_data_are_given",
    ForgottenStatistics: "test_saved_tensors_are_all_it_needs",
    Huge: "test_features_have_a_sane_size",
}


def backbone_suite(kind: type[Backbone]) -> BackboneTests:
    class Suite(BackboneTests):
        def make_backbone(self, shape: BackboneShape) -> Backbone:
            return kind(shape)

    return Suite()
