"""One changed byte anywhere in a store is found, whatever the file and whatever the byte means."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from densnet_core.errors import DataError
from densnet_core.stores.records import is_sealed, sealed
from densnet_core.stores.verify import verify

sys.path.insert(0, str(Path(__file__).parent))
from store_examples import reference_store, trajectory_store

FLIPS = 50


@pytest.mark.parametrize("make", [reference_store, trajectory_store])
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
        except DataError:
            continue
