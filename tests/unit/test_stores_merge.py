"""Several stores become one: every frame once, nothing damaged taken over, what differs told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.errors import DataError, InputError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import partial_result
from densnet_core.stores.merge import merge_stores
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.repair import repair
from densnet_core.stores.splits import read_split, split_store
from densnet_core.stores.verify import verify

sys.path.insert(0, str(Path(__file__).parent))
from store_examples import BASIS, LEVEL, coefficients, labelled, reference_store


def test_frames_fits_failures_and_splits_of_all_stores_are_there_once(tmp_path: Path) -> None:
    first = reference_store(tmp_path / "a.zarr", range(6))
    second = reference_store(tmp_path / "b.zarr", range(4, 9))
    third = reference_store(tmp_path / "c.zarr", range(8, 10))
    seen: list[tuple[int, int]] = []
    report = merge_stores(tmp_path / "m.zarr", [first, second, third], progress=lambda *done: seen.append(done))
    assert (report.frames, report.repeated, report.conflicts, report.fits, report.notes) == (10, 3, [], ["f", "r"], [])
    assert seen[-1] == (13, 13)
    assert verify(tmp_path / "m.zarr") == []
    with ReferenceStore.open(tmp_path / "m.zarr") as store:
        assert store.hashes == [labelled(index)[0].content_hash() for index in range(10)]
        for index in range(10):
            structure, sent = labelled(index)
            result = store.result(index)
            assert store.structure(index).positions.tobytes() == structure.positions.tobytes()
            assert result.energy == sent.energy
            assert result.orbitals.tobytes() == sent.orbitals.tobytes()
            assert result.provenance == sent.provenance
            assert store.fit("f").coefficients(index).tobytes() == coefficients(index).tobytes()
            assert np.array_equal(store.fit("r").coefficients(index)[2], 3 * coefficients(index))
            if index % 3 == 2:
                assert result.response.tobytes() == sent.response.tobytes()
                assert result.quadrupole.tobytes() == sent.quadrupole.tobytes()
        assert len(store.failures()) == 1
        split = read_split(store)
        assert split is not None
        # each store tested its first frame: 0, 4 and 8
        assert set(split["test"]) == {store.hashes[index].hex() for index in (0, 4, 8)}
        assert set(split["train"]) == {content.hex() for content in store.hashes} - set(split["test"])
    again = merge_stores(tmp_path / "m.zarr", [first, second, third])  # finished: nothing is added
    assert again.frames == 10


def test_labels_that_differ_are_refused_or_the_first_are_kept(tmp_path: Path) -> None:
    reference_store(tmp_path / "a.zarr", range(3))
    structure, result = labelled(1)
    with ReferenceStore.create(tmp_path / "b.zarr", LEVEL, "pyscf", {}) as store:
        labels = {"energy": result.energy + 2e-6, "forces": result.forces, "dipole": result.dipole + 1e-5}
        store.append([(structure, partial_result(labels))])
    name = structure.content_hash().hex()[:16]
    with pytest.raises(DataError, match=f"1 labels:\n  energy of the frame {name} differs by 2e-06") as error:
        merge_stores(tmp_path / "m.zarr", [tmp_path / "a.zarr", tmp_path / "b.zarr"])
    assert "--keep-first" in str(error.value)
    assert not (tmp_path / "m.zarr").exists()
    report = merge_stores(tmp_path / "m.zarr", [tmp_path / "a.zarr", tmp_path / "b.zarr"], keep_first=True)
    assert len(report.conflicts) == 1
    with ReferenceStore.open(tmp_path / "m.zarr") as store:
        assert len(store) == 3
        assert store.result(1).energy == result.energy
        assert store.read_document("merge")["conflicts"] == report.conflicts


def test_a_frame_gets_the_labels_of_all_stores(tmp_path: Path) -> None:
    structure, result = labelled(0)
    moments = np.arange(9.0).reshape(3, 3)
    parts = [
        {"energy": result.energy, "forces": result.forces},
        {"energy": result.energy, "orbitals": result.orbitals, "occupations": result.occupations},
        {"dipole": result.dipole, "quadrupole": moments},
    ]
    for name, labels in zip("abc", parts, strict=True):
        with ReferenceStore.create(tmp_path / f"{name}.zarr", LEVEL, "pyscf", {name: "1"}) as store:
            store.set_orbital_basis(BASIS)
            store.append([(structure, partial_result(labels))])
    merge_stores(tmp_path / "m.zarr", [tmp_path / f"{name}.zarr" for name in "abc"])
    with ReferenceStore.open(tmp_path / "m.zarr") as store:
        assert store.labels(0) == ("energy", "forces", "dipole", "orbitals", "occupations", "quadrupole")
        merged = store.result(0)
        assert np.array_equal(merged.dipole, result.dipole)
        assert np.array_equal(merged.orbitals, result.orbitals)
        assert np.array_equal(merged.quadrupole, moments)
    assert verify(tmp_path / "m.zarr") == []


def test_damage_is_not_taken_over(tmp_path: Path) -> None:
    first, second = reference_store(tmp_path / "a.zarr", range(3)), reference_store(tmp_path / "b.zarr", range(3, 6))
    chunk = second / "frames" / "forces" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[60] ^= 4
    chunk.write_bytes(data)
    with pytest.raises(DataError, match=r"Frame 1 of .*b.zarr is damaged.*--repair"):
        merge_stores(tmp_path / "m.zarr", [first, second])


def test_stores_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = reference_store(tmp_path / "a.zarr", range(2))
    other = reference_store(tmp_path / "other.zarr", range(2, 4), LevelOfTheory("PBE", "x"))
    with pytest.raises(InputError, match=r"a\.zarr holds level HF/x, .*other\.zarr PBE/x"):
        merge_stores(tmp_path / "m.zarr", [first, other])
    with ReferenceStore.create(tmp_path / "basis.zarr", LEVEL, "pyscf", {}) as store:
        store.set_orbital_basis(GaussianBasis("b", {1: (Shell(0, (2.0,), (1.0,)),)}))
    with pytest.raises(InputError, match="a store has one orbital basis"):
        merge_stores(tmp_path / "m.zarr", [first, tmp_path / "basis.zarr"])
    for sources in ([first], [first, first], [first, tmp_path / "m.zarr"]):
        with pytest.raises((InputError, DataError), match=r"at least two stores|merge of"):
            merge_stores(tmp_path / "m.zarr", sources)
    second = reference_store(tmp_path / "second.zarr", range(5, 7))
    with pytest.raises(DataError, match="was not made by a merge"):
        merge_stores(reference_store(tmp_path / "used.zarr", range(1)), [first, second])


def test_a_split_drawn_in_the_merged_store_is_kept_when_the_merge_runs_again(tmp_path: Path) -> None:
    sources = [reference_store(tmp_path / "a.zarr", range(6)), reference_store(tmp_path / "b.zarr", range(6, 12))]
    merge_stores(tmp_path / "m.zarr", sources)
    with ReferenceStore.open(tmp_path / "m.zarr", writable=True) as store:
        own = split_store(store, {"train": 5, "validation": 2, "test": 4}, 3)
        store.write_document("note", {"text": "of the merged store"})
    with ReferenceStore.open(sources[0], writable=True) as store:
        store.write_document("note", {"text": "of a source"})
    report = merge_stores(tmp_path / "m.zarr", sources)
    assert "document 'note' of" in report.notes[0]
    with ReferenceStore.open(tmp_path / "m.zarr") as store:
        assert read_split(store) == own
        assert store.read_document("note")["text"] == "of the merged store"
    assert not any("no part of its split" in note for note in report.notes)
    with ReferenceStore.open(sources[1], writable=True) as store:  # what the merged store learns from is tested now
        tested = split_store(store, {"train": 1, "validation": 0, "test": 5}, 0)["held_out"]
        store.append([labelled(12)])
    taken = set(tested) & {*own["train"], *own["validation"]}
    assert taken
    report = merge_stores(tmp_path / "m.zarr", sources)
    assert any("1 new frames" in note for note in report.notes)
    assert any(f"{len(taken)} frames" in note and "held out" in note for note in report.notes)
    with ReferenceStore.open(tmp_path / "m.zarr") as store:
        split = read_split(store)
    assert split is not None
    assert split["held_out"] == sorted({*own["held_out"], *tested})
    for part in ("train", "validation"):
        assert split[part] == [content for content in own[part] if content not in tested]
    assert set(split["test"]) == {*own["test"], *tested}


def test_a_store_whose_split_was_lost_is_not_merged(tmp_path: Path) -> None:
    sources = [reference_store(tmp_path / "a.zarr", range(3)), reference_store(tmp_path / "b.zarr", range(3, 6))]
    for name in ("zarr.json", ".zarr.json.twin"):
        (sources[1] / "documents" / "split" / name).write_text("{")
    repair(sources[1])
    with pytest.raises(DataError, match=r"b\.zarr .* was lost"):
        merge_stores(tmp_path / "m.zarr", sources)
    assert not (tmp_path / "m.zarr").exists()


def test_fits_that_cannot_be_joined_are_left_out_with_the_reason(tmp_path: Path) -> None:
    first, second = reference_store(tmp_path / "a.zarr", range(3)), reference_store(tmp_path / "b.zarr", range(3, 6))
    with ReferenceStore.open(second, writable=True) as store:
        store.create_fit("g", BASIS, "coulomb", {}, ("charge", "dipole")).append([coefficients(3)])
        store.append([labelled(20)])
    report = merge_stores(tmp_path / "m.zarr", [first, second])
    assert report.fits == []
    assert "covers only 3 of 4 frames" in report.notes[0]
    assert "a.zarr has none" in report.notes[-1]
    assert report.frames == 7
