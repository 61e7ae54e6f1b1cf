"""Damage of any kind is found, and the frame it concerns is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.errors import DataError
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.records import sealed
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.table import Table
from densnet_core.stores.verify import open_store, verify
from densnet_core.structures import Structure

BASIS = GaussianBasis("b", {1: (Shell(0, (1.0,), (1.0,)), Shell(1, (1.0,), (1.0,)))})
N_FRAMES = 5


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = np.random.default_rng(0)
    with ReferenceStore.create(
        tmp_path_factory.mktemp("stores") / "s.zarr", LevelOfTheory("HF", "x"), "pyscf", {}
    ) as store:
        store.set_orbital_basis(BASIS)
        records = []
        for _ in range(N_FRAMES):
            structure = Structure(np.array([1, 1]), values.normal(size=(2, 3)))
            arrays = values.normal(size=(2, 3)), values.normal(size=3), values.normal(size=(8, 1))
            properties = values.normal(size=(3, 3)), values.normal(size=(3, 3)), values.normal(size=(3, 8, 1))
            records.append((structure, ReferenceResult(-1.0, *arrays, np.array([2.0]), 1.0, {"a": "b"}, *properties)))
        store.append(records)
        fit = store.create_fit("f", BASIS, "overlap", {}, ())
        fit.append(list(values.normal(size=(N_FRAMES, 8))))
        store.write_document("split", {"train": []})
        store.append_failure(Structure(np.array([1, 1]), np.eye(2, 3)), ValueError("x"), 1.0)
    return store.path


@pytest.fixture
def path(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "s.zarr"))


def columns(path: Path) -> list[tuple[str, Table]]:
    store = ReferenceStore.open(path)
    tables = (store.frame_table, store.fit("f").table)
    return [(name, table) for table in tables for name in table.data_columns]


def test_a_sound_store_has_no_problems(path: Path) -> None:
    assert verify(path) == []


def test_one_flipped_bit_in_any_array_is_found_and_its_frame_named(path: Path, pristine: Path) -> None:
    values = np.random.default_rng(1)
    tried = columns(path)
    assert len(tried) == 16
    for name, table in tried:
        index = int(values.integers(N_FRAMES))
        start, stop = table.span(table.columns[name].axis, index)
        size = table.columns[name].row_bytes
        chunk = table.folder / name / "c" / "/".join("0" * (1 + len(table.columns[name].shape)))
        data = bytearray(chunk.read_bytes())
        at = int(values.integers(start * size, stop * size))
        data[at] ^= 1 << int(values.integers(8))
        chunk.write_bytes(data)
        problems = verify(path)
        assert any(f"frame {index} (" in problem for problem in problems), name
        assert not any(f"frame {other} (" in p for p in problems for other in set(range(N_FRAMES)) - {index})
        shutil.copy(pristine / chunk.relative_to(path), chunk)
    assert verify(path) == []


def test_flipped_bits_in_offsets_are_found(path: Path) -> None:
    chunk = path / "frames" / "atom_offsets" / "c" / "0"
    data = bytearray(chunk.read_bytes())
    data[2 * 8] ^= 0x80
    chunk.write_bytes(data)
    assert any("atom_offsets must ascend from 0 to the committed 10" in problem for problem in verify(path))


@pytest.mark.parametrize("name", ["energy", "positions", "orbitals", "hash", "checksum", "atom_offsets"])
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_missing_and_truncated_chunks_are_found(path: Path, name: str, how: str) -> None:
    chunk = next(file for file in (path / "frames" / name / "c").rglob("*") if file.is_file())
    if how == "missing":
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[:-1])
    assert verify(path)


def test_missing_rows_and_damaged_records_are_found(path: Path) -> None:
    record = path / "frames" / "zarr.json"
    text = record.read_text()
    node = json.loads(text)
    node["attributes"]["committed"]["frame"] += 1
    record.write_text(json.dumps(node))
    assert any("its seal is missing" in problem for problem in verify(path))
    record.write_bytes(sealed(node))  # a wrong count that whoever wrote it sealed
    assert any("rows but 7 are committed" in problem for problem in verify(path))
    node["attributes"]["committed"]["frame"] -= 2
    record.write_bytes(sealed(node))
    assert any("has 5 rows, but 4 are committed" in problem for problem in verify(path))
    record.write_text(text[:-10])
    assert any("cannot be read" in problem for problem in verify(path))
    record.write_text(text)
    for other in ("documents/split", "fits/f"):
        file = path / other / "zarr.json"
        kept = file.read_text()
        file.write_text("[]")
        assert any(other.split("/")[1] in problem for problem in verify(path)), other
        file.write_text(kept)
    failure = next((path / "failures").glob("*/zarr.json"))
    failure.write_text(failure.read_text().replace('"message"', '"massage"'))
    assert any("failure" in problem for problem in verify(path))


def test_what_is_no_store_is_said_so(tmp_path: Path) -> None:
    assert len(verify(tmp_path)) == 1
    with pytest.raises(DataError, match="not a store"):
        open_store(tmp_path)
