"""Diversity and near-duplicates of geometries."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from densnet_core.errors import InputError
from densnet_core.sampling.select import farthest_points, fingerprint, without_near_duplicates
from densnet_core.structures import Structure

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))


def shaken(count: int, scale: float, seed: int = 0, start: Structure = WATER) -> list[Structure]:
    generator = np.random.default_rng(seed)
    return [
        start.with_positions(start.positions + generator.normal(scale=scale, size=(start.n_atoms, 3)))
        for _ in range(count)
    ]


def difference(a: Structure, b: Structure) -> float:
    return float(np.sqrt(np.mean((fingerprint(a) - fingerprint(b)) ** 2)))


def test_moving_turning_mirroring_and_exchanging_equal_atoms_change_nothing():
    (frame,) = shaken(1, 0.1)
    turned = frame.positions @ Rotation.from_rotvec([0.3, 1.2, -0.7]).as_matrix().T + [3.0, -1.0, 2.0]
    for positions in (turned, -turned, turned[[0, 2, 1]]):
        assert difference(frame.with_positions(positions), frame) < 1e-6
    swapped = Structure(frame.numbers[[1, 0, 2]], frame.positions[[1, 0, 2]])
    assert difference(swapped, frame) < 1e-6


def test_the_difference_is_the_relative_change_of_the_distances():
    assert difference(WATER.with_positions(1.01 * WATER.positions), WATER) == pytest.approx(np.log(1.01), rel=1e-4)


def test_near_duplicates_are_dropped_and_the_first_is_kept():
    frames = shaken(30, 0.1)
    copies = [frame.with_positions(frame.positions * 1.0005) for frame in frames]
    kept = without_near_duplicates([*frames, *copies], 1e-3)
    assert kept == frames
    assert without_near_duplicates([*frames, *copies], 1e-4) == [*frames, *copies]
    assert without_near_duplicates([*frames, *copies], 0.0) == [*frames, *copies]


def test_the_shortcut_finds_what_comparing_all_pairs_finds():
    frames = shaken(300, 0.02)
    tolerance = 5e-3
    expected: list[Structure] = []
    for frame in frames:
        if all(difference(frame, other) >= tolerance for other in expected):
            expected.append(frame)
    assert 10 < len(expected) < 290
    assert without_near_duplicates(frames, tolerance) == expected


def test_farthest_points_are_farther_apart_than_random_ones():
    frames = shaken(400, 0.1)
    chosen = farthest_points(frames, 20)
    assert chosen[0] is frames[0]
    assert len({id(frame) for frame in chosen}) == 20

    def nearest(part: list[Structure]) -> float:
        return min(difference(a, b) for i, a in enumerate(part) for b in part[:i])

    assert nearest(chosen) > 3 * nearest(frames[:20])
    assert farthest_points(frames, 7) == chosen[:7]


def test_each_choice_is_the_farthest_from_those_before():
    frames = shaken(60, 0.1, seed=4)
    chosen = farthest_points(frames, 6)
    for number in range(1, 6):
        before = chosen[:number]
        reach = {id(f): min(difference(f, other) for other in before) for f in frames}
        assert reach[id(chosen[number])] == pytest.approx(max(reach.values()), rel=1e-5)


def test_every_composition_is_represented():
    cation = Structure(WATER.numbers, WATER.positions, charge=1, multiplicity=2)
    atom = Structure(np.array([2]), np.zeros((1, 3)))
    pool = [*shaken(50, 0.1), cation, atom, atom]
    chosen = farthest_points(pool, 3)
    assert {(s.formula, s.charge) for s in chosen} == {("H2O", 0), ("H2O", 1), ("He", 0)}
    assert len(without_near_duplicates(pool, 1e-3)) == 52  # one of the two atoms goes
    assert len(farthest_points(pool, 53)) == 53
    with pytest.raises(InputError, match="54 geometries are to be selected out of 53"):
        farthest_points(pool, 54)


def test_memory_grows_with_the_frames_and_not_with_their_pairs():
    frames = shaken(3000, 0.1)
    tracemalloc.start()
    farthest_points(frames, 5)
    without_near_duplicates(frames, 1e-4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # a table of pairs in single precision would take 36 MB
