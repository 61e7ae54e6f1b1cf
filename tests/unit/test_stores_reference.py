"""The store of labelled frames: round trips, refusals, missing labels, fits, failures, documents."""

import json
import os
import pickle
import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.errors import ConvergenceError, DataError, InputError, ResourceError
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import labels_of, partial_result
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure

LEVEL = LevelOfTheory.parse("PBE-D4/def2-SVP")
WATER, METHANE = np.array([8, 1, 1]), np.array([6, 1, 1, 1, 1])
ORBITALS = GaussianBasis("orb", {z: (Shell(0, (1.5, 0.3), (0.6, 0.5)), Shell(1, (0.7,), (1.0,))) for z in (1, 8)})
CARBON = GaussianBasis("orb", {6: (Shell(0, (1.0,), (1.0,)), Shell(2, (0.2,), (1.0,)))})
DENSITY = GaussianBasis("den", {z: tuple(Shell(k, (1 / 3,), (1.0,)) for k in range(3)) for z in (1, 6, 8)})

Record = tuple[Structure, ReferenceResult]


def frame(seed: int, numbers: np.ndarray = WATER, charge: int = 0) -> Record:
    values = np.random.default_rng(seed)
    structure = Structure(numbers, values.normal(size=(len(numbers), 3)), charge)
    n_occupied = structure.n_electrons // 2
    known = {**{z: ORBITALS.shells(z) for z in (1, 8)}, 6: CARBON.shells(6)}
    n_basis = GaussianBasis("all", known).n_functions(numbers)
    return structure, ReferenceResult(
        energy=float(values.normal()),
        forces=values.normal(size=(len(numbers), 3)),
        dipole=np.array([-0.0, 0.0, values.normal()]),
        orbitals=values.normal(size=(n_basis, n_occupied)),
        occupations=np.full(n_occupied, 2.0),
        seconds=1.5,
        provenance={"pyscf": "2.14"},
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReferenceStore]:
    with ReferenceStore.create(tmp_path / "store.zarr", LEVEL, "pyscf", {"pyscf": "2.14"}) as created:
        created.set_orbital_basis(ORBITALS)
        yield created


def assert_equal(found: Record, sent: Record) -> None:
    assert found[0].positions.tobytes() == sent[0].positions.tobytes()
    assert found[0].numbers.tolist() == sent[0].numbers.tolist()
    assert (found[0].charge, found[0].multiplicity) == (sent[0].charge, sent[0].multiplicity)
    assert (found[1].energy, found[1].seconds) == (sent[1].energy, sent[1].seconds)
    assert found[1].provenance == sent[1].provenance
    for name in ("forces", "dipole", "orbitals", "occupations"):
        assert getattr(found[1], name).shape == getattr(sent[1], name).shape
        assert getattr(found[1], name).tobytes() == getattr(sent[1], name).tobytes()


def test_frames_of_different_molecules_come_back_bit_for_bit(store: ReferenceStore) -> None:
    sent = [frame(0), frame(1, charge=-2), frame(2, METHANE), frame(3)]
    store.append(sent[:2])
    store.set_orbital_basis(CARBON)
    store.append(sent[2:])
    store.append([])
    assert repr(store).endswith("4 frames, PBE-D4/def2-SVP, pyscf, writable)")
    with ReferenceStore.open(store.path) as reader:  # reading beside the writer
        assert (len(reader), reader.level, reader.backend) == (4, LEVEL, "pyscf")
        assert reader.versions == {"pyscf": "2.14"}
        for index, (structure, result) in enumerate(reader.frames([0, 1, 2, 3])):
            assert_equal((structure, result), sent[index])
            assert type(result) is ReferenceResult
        assert reader.hashes == [structure.content_hash() for structure, _ in sent]
        assert reader.index_of(sent[2][0].content_hash()) == 2
        assert reader.orbital_basis is not None
        assert reader.orbital_basis.elements == (1, 6, 8)
        assert reader.orbital_basis.shells(1) == ORBITALS.shells(1)
        with pytest.raises(DataError, match="reading only"):
            reader.append([frame(9)])
    assert verify(store.path) == []


def test_what_a_caller_does_to_a_frame_does_not_reach_the_store(store: ReferenceStore) -> None:
    store.append([frame(0)])
    structure, result = store.frames([0])[0]
    structure.positions[:] = result.forces[:] = 0.0
    assert_equal(store.frames([0])[0], frame(0))


def test_readers_see_only_what_was_committed_when_they_opened(store: ReferenceStore) -> None:
    store.append([frame(0)])
    reader = ReferenceStore.open(store.path)
    store.append([frame(1), frame(2)])
    assert len(reader) == 1
    assert frame(1)[0].content_hash() not in reader
    assert_equal(reader.frames([0])[0], frame(0))
    assert len(ReferenceStore.open(store.path)) == 3


def test_a_frame_is_stored_once(store: ReferenceStore) -> None:
    store.append([frame(0)])
    with pytest.raises(InputError, match="as frame 0"):
        store.append([frame(1), frame(0)])
    with pytest.raises(InputError, match="twice among"):
        store.append([frame(1), frame(1)])
    assert len(store) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": float("nan")}, "energy .* not finite"),
        ({"forces": np.full((3, 3), np.inf)}, "forces .* not finite"),
        ({"forces": np.zeros((2, 3))}, r"forces must have shape \(3, 3\)"),
        ({"dipole": np.zeros(2)}, r"dipole must have shape \(3,\)"),
        ({"dipole": None}, "dipole must hold real numbers"),
        ({"orbitals": np.zeros((12, 4))}, "orbitals must have shape"),
        ({"orbitals": np.zeros((11, 5))}, "11 rows"),
        ({"occupations": np.ones(5)}, "occupations add up to 5"),
    ],
)
def test_wrong_labels_are_refused_by_name(store: ReferenceStore, change: dict, message: str) -> None:
    structure, result = frame(0)
    with pytest.raises(InputError, match=message):
        store.append([frame(1), (structure, replace(result, **change))])
    assert len(store) == 0


def test_orbitals_need_a_consistent_basis(store: ReferenceStore) -> None:
    with pytest.raises(InputError, match=r"orbital basis of atomic numbers \[6\]"):
        store.append([frame(0, METHANE)])
    other = GaussianBasis("other", {8: (Shell(0, (1.0,), (1.0,)),)})
    with pytest.raises(InputError, match="of O differs"):
        store.set_orbital_basis(other)
    store.set_orbital_basis(ORBITALS)


def test_missing_labels_are_known_and_named(store: ReferenceStore) -> None:
    structure, result = frame(0)
    partial = partial_result({"energy": result.energy, "forces": result.forces})
    store.append([(structure, partial), frame(1)])
    read = ReferenceStore.open(store.path)
    assert read.labels(0) == ("energy", "forces")
    found = read.result(0)
    assert found.energy == result.energy
    assert not hasattr(found, "dipole")
    with pytest.raises(DataError, match="no dipole; its labels are: energy, forces"):
        found.dipole  # noqa: B018
    with pytest.raises(DataError, match=r"Frame 0 .* has no orbitals; it has: energy, forces"):
        read.result(0, labels=("energy", "orbitals"))
    assert labels_of(read.result(1, labels=("dipole",))) == ("dipole",)
    assert labels_of(pickle.loads(pickle.dumps(found))) == ("energy", "forces")  # noqa: S301 - how workers get it
    assert read.info()["labels"] == {"energy": 2, "forces": 2, "dipole": 1, "orbitals": 1, "occupations": 1}
    assert verify(store.path) == []
    with pytest.raises(InputError, match="without any label"):
        store.append([(frame(5)[0], partial_result({}))])


def test_an_append_that_fails_half_way_leaves_no_trace(store: ReferenceStore) -> None:
    store.append([frame(0)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The chunks of the small columns fit, that of the orbitals (512 KiB) does not: as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024, limits[1]))
    try:
        with pytest.raises(ResourceError, match=r"orbitals.* cannot be written"):
            store.append([frame(1), frame(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(store) == 1
    store.append([frame(3)])
    assert_equal(store.frames([1])[0], frame(3))
    store.close()
    assert verify(store.path) == []
    assert zarr.open_array(store.path / "frames" / "energy", mode="r").shape == (2,)


def test_a_failure_is_a_record_and_never_a_label(store: ReferenceStore) -> None:
    structure, result = frame(0)
    store.append_failure(structure, ConvergenceError("the SCF did not converge in 50 cycles"), 12.5)
    store.append_failure(frame(1)[0], ValueError("no"), 1.0)
    assert len(store) == 0
    assert structure.content_hash() not in store
    failures = {failure.hash: failure for failure in ReferenceStore.open(store.path).failures()}
    failure = failures[structure.content_hash()]
    assert (failure.error, failure.seconds) == ("ConvergenceError", 12.5)
    assert "50 cycles" in failure.message
    store.append([(structure, result)])  # a second try succeeded
    assert [failure.error for failure in store.failures()] == ["ValueError"]
    with pytest.raises(InputError, match="has labels already"):
        store.append_failure(structure, ValueError("late"), 0.0)


def test_fits_keep_coefficients_with_their_own_count(store: ReferenceStore) -> None:
    store.set_orbital_basis(CARBON)
    store.append([frame(0), frame(1, METHANE), frame(2)])
    fit = store.create_fit("den.coulomb", DENSITY, "coulomb", {"1": [0.1, 0.2]}, constraints=("charge", "dipole"))
    vectors = [np.random.default_rng(i).normal(size=DENSITY.n_functions(store.numbers(i))) for i in range(3)]
    fit.append(vectors[:1])
    fit.append(vectors[1:2])
    with pytest.raises(InputError, match=r"Frame 2: coefficients in 'den' must have shape \(27,\), not \(45,\)"):
        fit.append([vectors[1]])
    with pytest.raises(InputError, match="Frame 2: the coefficients are not finite"):
        fit.append([np.full(27, np.nan)])
    with pytest.raises(InputError, match="only 3 frames"):
        fit.append([vectors[2], vectors[2]])
    with pytest.raises(InputError, match="frame 2 is not fitted"):
        fit.coefficients(2)
    read = ReferenceStore.open(store.path).fit("den.coulomb")
    assert len(read) == 2
    assert [read.coefficients(i).tobytes() for i in range(2)] == [v.tobytes() for v in vectors[:2]]
    assert read.basis.to_dict() == DENSITY.to_dict()
    assert (read.metric, read.prior, read.constraints) == ("coulomb", {"1": [0.1, 0.2]}, ("charge", "dipole"))
    assert store.fit("den.coulomb") is fit
    with pytest.raises(InputError, match="already"):
        store.create_fit("den.coulomb", DENSITY, "overlap", {}, ())
    with pytest.raises(InputError, match="coulomb, overlap"):
        store.create_fit("other", DENSITY, "euclid", {}, ())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot name"):
        store.create_fit("../outside", DENSITY, "coulomb", {}, ())
    with pytest.raises(DataError, match=r"no fit 'x'; it has: den\.coulomb"):
        store.fit("x")
    assert verify(store.path) == []


def test_documents_are_replaced_whole(store: ReferenceStore) -> None:
    split = {"train": [frame(0)[0].content_hash().hex()], "test": []}
    store.write_document("split-1", {"train": []})
    store.write_document("split-1", split)
    read = ReferenceStore.open(store.path)
    assert read.read_document("split-1") == split
    with pytest.raises(DataError, match="no document 'split-2'; it has: split-1"):
        read.read_document("split-2")
    with pytest.raises(DataError, match="reading only"):
        read.write_document("split-1", {})


def test_creating_never_touches_what_is_there(store: ReferenceStore, tmp_path: Path) -> None:
    store.append([frame(0)])
    store.close()
    with pytest.raises(DataError, match="is a store already"):
        ReferenceStore.create(store.path, LEVEL, "pyscf", {})
    os.rename(store.path / "zarr.json", tmp_path / "root.json")  # a lost root does not make it an empty folder
    with pytest.raises(DataError, match="not empty"):
        ReferenceStore.create(store.path, LEVEL, "pyscf", {})
    os.rename(tmp_path / "root.json", store.path / "zarr.json")
    assert len(ReferenceStore.open(store.path)) == 1
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        ReferenceStore.create(notes, LEVEL, "pyscf", {})
    assert os.listdir(notes) == ["a.txt"]


def test_opening_something_else_says_what_it_is(store: ReferenceStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store at"):
        ReferenceStore.open(tmp_path / "nothing")
    root = json.loads((store.path / "zarr.json").read_text())
    root["attributes"]["format_version"] = 99
    (store.path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(DataError, match="format version 99"):
        ReferenceStore.open(store.path)
    root["attributes"]["densnet_store"] = "trajectory"
    (store.path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(DataError, match="not a reference store"):
        ReferenceStore.open(store.path)


def test_any_zarr_program_reads_frames_and_units(store: ReferenceStore) -> None:
    store.append([frame(0), frame(1)])
    store.close()
    group = zarr.open_group(store.path / "frames", mode="r")
    assert group["forces"].attrs["unit"] == "hartree/bohr"
    assert group["atom_offsets"][:].tolist() == [0, 3, 6]
    assert np.array_equal(group["forces"][3:6], frame(1)[1].forces)
    assert json.loads(json.dumps(store.info()))["formulas"] == {"H2O": 2}


def test_ten_thousand_frames_are_quick_to_open_and_to_draw_from(tmp_path: Path) -> None:
    path = tmp_path / "large.zarr"
    ethanol = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
    values = np.random.default_rng(0)
    basis = GaussianBasis("d", {z: tuple(Shell(k, (a,), (1.0,)) for k in range(4) for a in (1, 3)) for z in (1, 6, 8)})
    n_frames, n_functions = 10_000, basis.n_functions(ethanol)
    assert n_functions == 288
    with ReferenceStore.create(path, LEVEL, "pyscf", {}) as store:
        for _ in range(2):
            positions, forces = values.normal(size=(2, n_frames // 2, 9, 3))
            store.append(
                [
                    (Structure(ethanol, r), partial_result({"energy": 0.0, "forces": f}))
                    for r, f in zip(positions, forces, strict=True)
                ]
            )
        store.create_fit("fit", basis, "coulomb", {}, ("charge", "dipole")).append(
            list(values.normal(size=(n_frames, n_functions)))
        )
    begun = time.perf_counter()
    store = ReferenceStore.open(path)
    fit = store.fit("fit")
    assert (len(store), len(fit)) == (n_frames, n_frames)
    assert time.perf_counter() - begun < 0.2
    store.frames([0]), fit.coefficients(0)
    batches = values.integers(0, n_frames, size=(30, 32))
    begun = time.perf_counter()
    for batch in batches:
        store.frames(batch)
        assert all(fit.coefficients(int(index)).shape == (n_functions,) for index in batch)
    assert batches.size / (time.perf_counter() - begun) > 2000  # 15,000 measured on an idle core


def test_info_does_not_make_up_energies_that_are_gone(store: ReferenceStore) -> None:
    store.append([frame(0), frame(1)])
    expected = min(frame(0)[1].energy, frame(1)[1].energy)
    path = store.path
    store.close()
    with ReferenceStore.open(path) as opened:
        assert opened.info()["energy_min_hartree"] == expected
    shutil.rmtree(path / "frames" / "energy" / "c")
    with ReferenceStore.open(path) as opened, pytest.raises(DataError, match=r"Energies .* are missing; .* --repair"):
        opened.info()
