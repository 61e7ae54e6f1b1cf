"""One changed byte anywhere in a store is found, whatever the file and whatever the byte means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.errors import DataError
from densnet_core.md.base import MDFrames, MDStage, MDState
from densnet_core.reference.base import LevelOfTheory, ReferenceResult
from densnet_core.stores.records import is_sealed, sealed
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure

FLIPS = 50
BASIS = GaussianBasis("b", {1: (Shell(0, (1.0,), (1.0,)), Shell(1, (1.0,), (1.0,)))})
HYDROGEN = np.array([1, 1])


def reference(path: Path) -> Path:
    values = np.random.default_rng(0)
    with ReferenceStore.create(path, LevelOfTheory("HF", "x"), "pyscf", {"p": "1"}) as store:
        store.set_orbital_basis(BASIS)
        for _ in range(4):
            structure = Structure(HYDROGEN, values.normal(size=(2, 3)))
            arrays = values.normal(size=(2, 3)), values.normal(size=3), values.normal(size=(8, 1))
            store.append([(structure, ReferenceResult(-1.0, *arrays, np.array([2.0]), 1.0, {"a": "b"}))])
        fit = store.create_fit("f", BASIS, "overlap", {}, False)
        fit.append(list(values.normal(size=(4, 8))))
        store.write_document("split", {"train": [], "test": [store.hashes[0].hex()]})
        store.append_failure(Structure(HYDROGEN, np.eye(2, 3)), ValueError("x"), 1.0)
    return path


def trajectory(path: Path) -> Path:
    values = np.random.default_rng(1)
    stage = MDStage("nve", 100, 20.0, 300.0, 0.0, 5, 1)
    with TrajectoryStore.create(path, Structure(HYDROGEN, np.eye(2, 3)), 2, stage, {"model": "test"}) as store:
        for start in (0, 20):
            positions = values.normal(size=(4, 2, 2, 3))
            steps = np.arange(start, start + 20, 5)
            end = MDState(int(steps[-1]), positions[-1], positions[-1])
            store.append(MDFrames(steps, positions, positions[:, 0, 0, 0], positions[:, 0, 0, 1], end))
        store.set_array("dipole", values.normal(size=(8, 2, 3)), "e bohr")
    return path


@pytest.mark.parametrize("make", [reference, trajectory])
def test_fifty_changed_bytes_are_found_each_by_itself(make, tmp_path: Path) -> None:
    path = make(tmp_path / "path.zarr")
    assert verify(path) == []
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)
    sizes = np.array([file.stat().st_size for file in files])
    kinds = {file.name for file in files}
    assert {"zarr.json", ".zarr.json.twin", "0"} <= kinds
    random = np.random.default_rng(2)
    missed = []
    for flip in range(FLIPS):
        # By turns any byte of the store, and any byte of any file: most bytes lie in a few large chunks.
        chosen = random.choice(len(files), p=sizes / sizes.sum()) if flip % 2 else random.integers(len(files))
        file = files[chosen]
        kept = file.read_bytes()
        data = bytearray(kept)
        at = int(random.integers(len(data)))
        data[at] ^= 1 << int(random.integers(8))
        file.write_bytes(data)
        if not verify(path):
            missed.append(f"{file.relative_to(path)}, byte {at}")
        file.write_bytes(kept)
    assert verify(path) == []
    assert not missed


def test_every_byte_of_a_metadata_file_counts() -> None:
    text = sealed({"zarr_format": 3, "node_type": "group", "attributes": {"b": [1.5, None], "a": {"c": "d"}}})
    assert is_sealed(text)
    for at in range(len(text)):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        try:
            assert not is_sealed(changed), at
        except DataError as error:
            assert "differ from its seal" in str(error)
