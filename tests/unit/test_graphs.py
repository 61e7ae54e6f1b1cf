"""Pairs of atoms within a cutoff, and portions of many molecules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from densnet_core.errors import InputError
from densnet_core.fragments import Fragment
from densnet_core.graphs.graph import graph_of
from densnet_core.graphs.pairs import all_pairs, near_pairs, portions
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


def water(shift: float = 0.0, **more: object) -> Structure:
    positions = np.array([[0.0, 0.0, 0.2], [0.0, 1.4, -0.9], [0.0, -1.4, -0.9]]) + shift
    return Structure(np.array([8, 1, 1]), positions, **more)  # type: ignore[arg-type]


def test_a_graph_has_masses_charges_and_fragments_of_its_structures() -> None:
    heavy = water(isotope_masses=np.array([15.999, 2.014, 1.008]))
    parts = (Fragment((0, 1), -1), Fragment((2,), 1))
    graph = graph_of([heavy, water(charge=1, multiplicity=2), water(fragments=parts)])
    assert graph.masses[:3].tolist() == [15.999, 2.014, 1.008]
    assert graph.sizes.tolist() == [3, 3, 3]
    assert graph.molecule.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert graph.fragment.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert graph.charge.tolist() == [0.0, 1.0, -1.0, 1.0]
    assert graph.multiplicity.tolist() == [1, 2, 1, 1]
    assert graph.molecule_charge.tolist() == [0.0, 1.0, 0.0]
    assert graph.sum_over_fragments(torch.ones(9)).tolist() == [3.0, 3.0, 2.0, 1.0]
    assert graph.optional == frozenset()


def test_optional_parts_are_named_and_counted() -> None:
    graph = graph_of([water(), water()], field=[[0.0, 0.0, 1e-3]] * 2, level=[0, 1])
    assert graph.optional == {"field", "level"}
    with pytest.raises(InputError, match=r"A field is needed for each molecule: shape \(2, 3\), found \(1, 3\)"):
        graph_of([water(), water()], field=[[0.0, 0.0, 1e-3]])


def test_a_sender_in_another_cell_is_seen_from_there() -> None:
    graph = graph_of([water()])
    shifts = torch.zeros(len(graph.senders), 3, dtype=torch.int64)
    shifts[0] = torch.tensor([1, 0, -2])
    cell = torch.diag(torch.tensor([10.0, 11.0, 12.0], dtype=torch.float64))[None]
    periodic = replace(graph, shifts=shifts, cell=cell)
    moved = periodic.pair_vectors - graph.pair_vectors
    assert moved[0].tolist() == pytest.approx([10.0, 0.0, -24.0])
    assert not moved[1:].any()
    assert periodic.optional == {"cell"}
