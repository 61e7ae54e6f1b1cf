"""Products on the sphere against integrals of three harmonics, and sums over neighbours against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from densnet_gaunt.backbone import GauntBackbone
from densnet_gaunt.config import GauntOptions
from densnet_gaunt.layers import NeighbourSum, Surroundings
from densnet_gaunt.neighbours import neighbours_of
from densnet_gaunt.sphere import DEGREES, SphereProduct
from numpy.typing import NDArray
from scipy.integrate import lebedev_rule

from densnet_core.basis.conventions import to_magnetic_order
from densnet_core.basis.harmonics import gaunt
from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.models.adoption import adopt
from densnet_core.models.backbone import BackboneShape
from densnet_core.models.features import harmonics
from densnet_core.structures import Structure

Array = NDArray[np.float64]
SLOPES = torch.linspace(1.0, 2.0, 5, dtype=torch.float64)
MOLECULES = [
    Structure(np.array([8, 1, 1]), np.array([[0.0, 0.1, 0.2], [1.7, 0.2, 0.5], [-0.9, 1.5, 0.6]])),
    Structure(np.array([1]), np.array([[3.0, 0.0, 1.0]]), 1),
    Structure(np.array([6, 8]), np.array([[0.0, 0.3, 0.1], [0.2, 0.1, 2.3]])),
]


def coupled(one: Array, other: Array, l_out: int) -> Array:
    """Components of the product of two functions on the sphere, from Gaunt's coefficients: (n,), (m,) to (k,)."""
    result = np.zeros((l_out + 1) ** 2)
    for l1 in range(round(len(one) ** 0.5)):
        for l2 in range(round(len(other) ** 0.5)):
            for l3 in range(l_out + 1):
                order = [to_magnetic_order(l_) for l_ in (l1, l2, l3)]
                table = gaunt(l1, l2, l3)[np.ix_(*order)]
                found = np.einsum("a,b,abc", one[l1**2 : (l1 + 1) ** 2], other[l2**2 : (l2 + 1) ** 2], table)
                result[l3**2 : (l3 + 1) ** 2] += found
    return result


@pytest.mark.parametrize(("l_in", "l_out"), [(0, 0), (1, 3), (2, 4), (3, 6), (4, 0)])
def test_products_are_the_integrals_of_harmonics(l_in: int, l_out: int) -> None:
    """To a factor that belongs to l and the number of factors."""
    random = np.random.default_rng(0)
    first, second, third = random.normal(size=(3, (l_in + 1) ** 2))
    product = SphereProduct(l_in, l_out)
    given = [torch.tensor(one)[:, None, None] for one in (first, second, third)]
    found = product(*given, (l_out + 1) ** 2)[:, 0].numpy()
    np.testing.assert_allclose(product(*given, 1)[:, 0].numpy(), found[:1], atol=1e-14)  # the first of them alone
    two = coupled(first, second, 2 * l_in)
    expected = np.stack([np.pad(two, (0, (l_out + 1) ** 2))[: (l_out + 1) ** 2], coupled(two, third, l_out)], axis=1)
    for l_ in range(l_out + 1):
        for k in range(2):
            own, other = found[l_**2 : (l_ + 1) ** 2, k], expected[l_**2 : (l_ + 1) ** 2, k]
            if k == 0 and l_ > 2 * l_in:
                assert not own.any()
                assert not other.any()
                continue
            np.testing.assert_allclose(own * np.abs(other).max(), other * np.abs(own).max(), atol=1e-12)
            assert own @ other > 0


def test_products_have_unit_variance() -> None:
    product = SphereProduct(2, 5)
    factors = torch.randn(3, 9, 4000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    squares = product(*factors, 36).square().mean(1)
    two, three = squares[:, :5].mean(1), squares[:, 5:].mean(1)
    np.testing.assert_allclose(two[:25], 1.0, atol=0.1)  # the error of 20 000 samples, of heavy tails
    assert not two[25:].any()  # two functions of l = 2 have no part of l = 5
    np.testing.assert_allclose(three, 1.0, atol=0.15)


def test_the_rules_that_are_named_exist() -> None:
    for degree in DEGREES:
        assert np.isclose(lebedev_rule(degree)[1].sum(), 4 * np.pi)


def test_every_pair_is_in_the_table_once() -> None:
    graph = graph_of(MOLECULES)
    order = torch.randperm(len(graph.senders), generator=torch.Generator().manual_seed(0))
    shuffled = type(graph)(**{**graph.__dict__, "senders": graph.senders[order], "receivers": graph.receivers[order]})
    table = neighbours_of(shuffled, 9.0, torch.float64)
    n_atoms, width, _ = table.vectors.shape
    assert (n_atoms, width) == (6, 2)
    senders = table.senders.reshape(n_atoms, width)
    found = set()
    for atom in range(n_atoms):
        for sender, vector in zip(senders[atom].tolist(), table.vectors[atom], strict=True):
            if sender == atom:
                assert vector.tolist() == [9.0, 0.0, 0.0]  # at the cutoff, where everything is zero
                continue
            found.add((sender, atom))
            assert torch.equal(vector, graph.positions[sender] - graph.positions[atom])
    assert found == set(zip(graph.senders.tolist(), graph.receivers.tolist(), strict=True))


def test_sums_over_neighbours_equal_loops_over_pairs() -> None:
    torch.manual_seed(0)
    l_in, l_edge, channels, width = 2, 3, 4, len(SLOPES)
    layer = NeighbourSum(l_in, l_edge, channels, width).double()
    graph = graph_of(MOLECULES)
    table = neighbours_of(graph, 9.0, torch.float64)
    distances = table.vectors.norm(dim=-1)
    around = harmonics(table.vectors / distances[..., None], l_edge)
    hidden = torch.exp(-distances)[..., None] * SLOPES * (distances < 9.0)[..., None]
    features = torch.randn((l_in + 1) ** 2, graph.n_atoms, channels, dtype=torch.float64)
    directed, handed = layer(features, Surroundings(table.senders, around, hidden.flatten(0, 1)))
    assert handed is not None
    radial = layer.radial.reshape(width, l_edge + l_in + 2, channels)
    for atom in range(graph.n_atoms):
        expected = torch.zeros((l_edge + 1) ** 2, channels, dtype=torch.float64)
        expected_handed = torch.zeros((l_in + 1) ** 2, channels, dtype=torch.float64)
        for sender in graph.senders[graph.receivers == atom].tolist():
            vector = graph.positions[sender] - graph.positions[atom]
            distance = vector.norm()
            weights = torch.einsum("w,wlc->lc", torch.exp(-distance) * SLOPES, radial)
            y = harmonics(vector / distance, l_edge)
            axial = torch.zeros(channels, dtype=torch.float64)
            for l_ in range(l_in + 1):
                rows = slice(l_**2, (l_ + 1) ** 2)
                expected_handed[rows] += weights[l_edge + 1 + l_] * features[rows, sender]
                axial += weights[l_edge + 1 + l_] * (y[rows, None] * features[rows, sender]).sum(0)
            for l_ in range(l_edge + 1):
                rows = slice(l_**2, (l_ + 1) ** 2)
                expected[rows] += weights[l_] * axial / (l_in + 1) * y[rows, None]
        torch.testing.assert_close(directed[:, atom], expected)
        torch.testing.assert_close(handed[:, atom], expected_handed)


def test_an_l_out_of_reach_is_refused_before_training() -> None:
    options = GauntOptions(channels=2, l_max_edge=1)
    GauntBackbone(BackboneShape((1, 8), -1, 0, 3), options).check()
    with pytest.raises(InputError, match=r"reach l = 3 with l_max_edge = 1, but l = 4 .* Raise l_max_edge"):
        GauntBackbone(BackboneShape((1, 8), -1, 0, 4), options).check()


def test_a_backbone_adopts_what_one_of_other_elements_and_degrees_has_learned() -> None:
    options = GauntOptions(channels=2, layers=1, radial_width=3)
    old = GauntBackbone(BackboneShape((1, 6), -1, 0, 4), options)
    new = GauntBackbone(BackboneShape((1, 6, 16), -1, 0, 2), options)
    adopt(new, old)
    first, other = (backbone.state_dict() for backbone in (new, old))
    for name in ("layers.0.element", "embedding"):
        assert torch.equal(first[name][:2], other[name])
    width, kept = 2 * 2, 3  # channels squared; l = 0..2
    gates = [state["layers.0.gates.weight"].reshape(-1, width) for state in (first, other)]
    assert torch.equal(gates[0], gates[1][:kept])
    assert torch.equal(first["layers.0.after.weight"], other["layers.0.after.weight"][:kept])
    pairs = [state["pair"].reshape(n, n, 3) for state, n in ((first, 3), (other, 2))]
    assert torch.equal(pairs[0][:2, :2], pairs[1])
