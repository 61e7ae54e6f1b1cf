"""Pairs of atoms within a cutoff, and portions of many molecules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densnet_core.graphs.graph import all_pairs, graph_of, near_pairs, portions
from densnet_core.structures import Structure

RANDOM = np.random.default_rng(3)


def test_pairs_within_a_cutoff_are_those_of_all_pairs_in_the_same_order() -> None:
    sizes, cutoff = [40, 1, 25], 4.0
    molecules = [RANDOM.uniform(0.0, 9.0, size=(size, 3)) for size in sizes]
    positions = np.concatenate(molecules)
    senders, receivers = all_pairs(sizes)
    near = np.linalg.norm(positions[senders] - positions[receivers], axis=-1) < cutoff
    assert 0.05 < near.mean() < 0.5
    order = np.lexsort((senders[near], receivers[near]))
    found = near_pairs(molecules, cutoff)
    np.testing.assert_array_equal(found[0], senders[near][order])
    np.testing.assert_array_equal(found[1], receivers[near][order])


def test_edges_of_a_chain_grow_with_its_length() -> None:
    def edges(length: int) -> int:
        chain = np.zeros((length, 3))
        chain[:, 0] = 2.0 * np.arange(length)
        return int(graph_of([Structure(np.full(length, 6), chain)], cutoff=5.0).senders.numel())

    assert [edges(length) for length in (200, 400)] == [2 * (199 + 198), 2 * (399 + 398)]


def test_an_atom_alone_has_no_pairs() -> None:
    graph = graph_of([Structure(np.array([2]), np.zeros((1, 3)))], cutoff=9.0)
    assert graph.senders.dtype == torch.int64
    assert graph.senders.numel() == graph.receivers.numel() == 0


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([], 10, []),
        ([3, 3, 3], 10, [range(3)]),
        ([3, 3, 3, 3], 10, [range(3), range(3, 4)]),
        ([20, 1, 20, 20], 10, [range(1), range(1, 2), range(2, 3), range(3, 4)]),
        ([5, 5, 1], 10, [range(2), range(2, 3)]),
    ],
)
def test_portions_hold_as_many_as_fit(sizes: list[int], limit: int, expected: list[range]) -> None:
    assert portions(sizes, limit) == expected
