"""Frames that are one geometry turned, mirrored or with like atoms exchanged, and splits that keep them together."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
import store_examples as examples

from densnet_core.errors import InputError
from densnet_core.stores.merge import merge_stores
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import read_split, split_frames, split_store
from densnet_core.stores.twins import TOLERANCE, are_twins, twin_groups
from densnet_core.structures import Structure

RING = [[np.cos(a) * r, np.sin(a) * r, 0.0] for r in (2.6, 4.7) for a in np.arange(6) * np.pi / 3]
MOLECULES = {
    "benzene": ([6] * 6 + [1] * 6, RING),
    "methane": ([6, 1, 1, 1, 1], [[0, 0, 0], [1.2, 1.2, 1.2], [1.2, -1.2, -1.2], [-1.2, 1.2, -1.2], [-1.2, -1.2, 1.2]]),
    "carbon dioxide": ([8, 6, 8], [[0, 0, -2.2], [0, 0, 0], [0, 0, 2.2]]),
    "nearly linear": ([6, 7, 1], [[0, 0, 0], [0, 0, 2.2], [0.01, 0, -2.0]]),
    "chiral": ([6, 1, 9, 17, 35], [[0, 0, 0], [0, 0, 2.05], [2.4, 0, -0.8], [-1.6, 2.9, -1.1], [-1.7, -3.0, -1.2]]),
    "hydrogen": ([1, 1], [[0, 0, 0], [0, 0, 1.4]]),
}


def moved(structure: Structure, random: np.random.Generator, mirror: bool, noise: float) -> Structure:
    """Turned, shifted, perhaps mirrored, like atoms exchanged and all in another order, every atom off by ``noise``."""
    order = random.permutation(structure.n_atoms)
    turn = Rotation.from_rotvec(random.normal(size=3) * 2.0).as_matrix() * (-1.0 if mirror else 1.0)
    off = random.normal(size=(structure.n_atoms, 3))
    off *= noise / np.linalg.norm(off, axis=1)[:, None]
    positions = structure.positions[order] @ turn + random.normal(size=3) * 5.0 + off
    return Structure(structure.numbers[order], positions, structure.charge, structure.multiplicity)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("name", MOLECULES)
def test_twins_are_known_however_they_are_turned_and_numbered(name: str, mirror: bool) -> None:
    numbers, positions = MOLECULES[name]
    structure = Structure(np.array(numbers), np.array(positions, dtype=float))
    random = np.random.default_rng(3)
    for _ in range(8):
        assert are_twins(structure, moved(structure, random, mirror, 0.3 * TOLERANCE))
        if name != "hydrogen":  # whose one distance may happen to be kept
            assert not are_twins(structure, moved(structure, random, mirror, 12.0 * TOLERANCE))


def test_equal_sorted_distances_do_not_make_twins() -> None:
    """Two sets of four points on a line with the same six distances (Golomb rulers, Bloom 1977): not one geometry."""
    one, other = ([0.0, 1.0, 4.0, 10.0, 12.0, 17.0], [0.0, 1.0, 8.0, 11.0, 13.0, 17.0])
    structures = [
        Structure(np.full(6, 2), np.array([[x, 0.0, 0.0] for x in points]) * 0.8 + [[1.0, 2.0, 3.0]])
        for points in (one, other)
    ]
    distances = [sorted(abs(a - b) for i, a in enumerate(points) for b in points[:i]) for points in (one, other)]
    assert distances[0] == distances[1]
    assert not are_twins(*structures)
    assert twin_groups(structures) == []


def test_groups_keep_charges_and_elements_apart() -> None:
    numbers, positions = np.array([8, 1, 1]), np.array([[0.0, 0, 0], [1.4, 1.1, 0], [-1.4, 1.1, 0]])
    water = Structure(numbers, positions)
    random = np.random.default_rng(0)
    frames = [
        water,
        Structure(numbers, positions * 1.05),
        moved(water, random, True, 0.0),
        Structure(numbers, positions, 2),
        Structure(np.array([16, 1, 1]), positions),
        moved(water, random, False, 0.0),
    ]
    assert twin_groups(frames) == [[0, 2, 5]]


HASHES = [f"{i:02d}" for i in range(20)]
TWINS = {h: frozenset(group) for group in (HASHES[:5], HASHES[5:7]) for h in group}


@pytest.mark.parametrize("seed", range(12))
def test_a_split_never_has_twins_on_two_sides(seed: int) -> None:
    split = split_frames(HASHES, {"train": 6, "validation": 3, "test": 4}, seed, None, TWINS)
    assert [len(split[part]) for part in ("train", "validation", "test")] == [6, 3, 4]
    for one, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
        assert not {twin for h in split[one] for twin in TWINS.get(h, ())} & set(split[other])


def test_what_twins_take_from_a_split_is_told() -> None:
    every = {h: frozenset(HASHES) for h in HASHES}
    with pytest.raises(InputError, match="16 are left out because they are test frames turned"):
        split_frames(HASHES, {"train": 6, "validation": 3, "test": 4}, 0, None, every)


def test_stores_know_their_twins_when_they_are_split_and_merged(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    own = [examples.labelled(i) for i in range(8)]
    turned = [(moved(structure, random, i % 2 == 0, 0.0), result) for i, (structure, result) in enumerate(own)]
    paths = [tmp_path / "own.zarr", tmp_path / "turned.zarr", tmp_path / "both.zarr"]
    for path, frames in zip(paths, (own, turned, own + turned), strict=True):
        with ReferenceStore.create(path, examples.LEVEL, "pyscf", {"p": "1"}) as store:
            store.set_orbital_basis(examples.BASIS)
            store.append(frames)
    names = {s.content_hash().hex(): i for frames in (own, turned) for i, (s, _) in enumerate(frames)}
    with ReferenceStore.open(paths[2], writable=True) as store:
        split = split_store(store, {"train": 3, "validation": 1, "test": 4}, 1)
        assert not {names[h] for h in split["test"]} & {names[h] for h in (*split["train"], *split["validation"])}
    for path, counts in zip(paths, ((5, 1, 2), (6, 1, 1)), strict=False):
        with ReferenceStore.open(path, writable=True) as store:
            split_store(store, dict(zip(("train", "validation", "test"), counts, strict=True)), 2)
    report = merge_stores(tmp_path / "merged.zarr", paths[:2])
    assert any("turned, mirrored or with like atoms exchanged" in note for note in report.notes)
    with ReferenceStore.open(tmp_path / "merged.zarr") as store:
        merged = read_split(store)
    assert merged is not None
    assert merged["train"]
    assert not {names[h] for h in merged["test"]} & {names[h] for h in (*merged["train"], *merged["validation"])}
