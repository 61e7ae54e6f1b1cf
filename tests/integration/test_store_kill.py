"""Writers killed with SIGKILL at random moments: what was committed stays, and nothing is there twice.

A writer appends in a tight loop and reports every append that has returned; merges and repairs run to their end.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.stores.labels import labels_of
from densnet_core.stores.merge import merge_stores
from densnet_core.stores.models import load_model, save_model
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.repair import repair
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.upgrade import upgrade
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure

sys.path.insert(0, str(Path(__file__).parent))
from forked import Workers, serve

KILLS = 16
REPLICAS = 4
WATER = np.array([8, 1, 1])
METHANE = np.array([6, 1, 1, 1, 1])
ORBITAL_BASIS = GaussianBasis(
    "orbital", {z: (Shell(0, (3.0, 0.5), (0.4, 0.7)), Shell(1, (0.8,), (1.0,))) for z in (1, 6, 8)}
)
DENSITY_BASIS = GaussianBasis("density", {z: tuple(Shell(k, (0.9,), (1.0,)) for k in range(4)) for z in (1, 6, 8)})
OBSERVED_FROM = 11
"""The first frame with an observable: an engine that records it goes on where one that does not has ended."""
STAGE = MDStage("nve", 10**6, 20.0, 300.0, 0.0, 5, 1)


def labelled(index: int) -> tuple[Structure, ReferenceResult]:
    """Frame number ``index``; every call gives the same."""
    random_numbers = np.random.default_rng([1, index])
    numbers = WATER if index % 3 else METHANE
    structure = Structure(numbers, random_numbers.normal(size=(len(numbers), 3)))
    n_basis, n_occupied = ORBITAL_BASIS.n_functions(numbers), structure.n_electrons // 2
    return structure, ReferenceResult(
        energy=float(random_numbers.normal()),
        forces=random_numbers.normal(size=(len(numbers), 3)),
        dipole=random_numbers.normal(size=3),
        orbitals=random_numbers.normal(size=(n_basis, n_occupied)),
        occupations=np.full(n_occupied, 2.0),
        seconds=float(index),
        provenance={"program": "test", "version": str(index % 2)},
    )


def coefficients(index: int) -> np.ndarray:
    size = DENSITY_BASIS.n_functions(labelled(index)[0].numbers)
    return np.random.default_rng([2, index]).normal(size=size)


def dynamics(start: int, count: int) -> MDFrames:
    """Frames ``start`` to ``start + count - 1`` of a trajectory."""
    frames = [np.random.default_rng([3, i]).normal(size=(2, REPLICAS, 3, 3)) for i in range(start, start + count)]
    steps = np.arange(start, start + count) * STAGE.record_every
    positions = np.stack([frame[0] for frame in frames])
    end = MDState(int(steps[-1]), positions[-1], frames[-1][1])
    observables = {"dipole": positions[:, :, 1].copy()} if start >= OBSERVED_FROM else {}
    return MDFrames(steps, positions, positions[:, 0, 0, 0].copy(), positions[:, 0, 0, 1].copy(), end, observables)


def write_reference(path: Path, limit: int, report: int) -> None:
    if (path / "zarr.json").exists():
        store = ReferenceStore.open(path, writable=True)
    else:
        store = ReferenceStore.create(path, LevelOfTheory.parse("PBE/def2-SVP"), "test", {"test": "1"})
    with store:
        store.set_orbital_basis(ORBITAL_BASIS)
        if "fit" not in store.fit_names():
            store.create_fit("fit", DENSITY_BASIS, "coulomb", {"prior": "none"}, ("charge", "dipole"))
        fit = store.fit("fit")
        while len(store) < limit or len(fit) < limit:
            if len(store) < limit:
                block = range(len(store), min(len(store) + 1 + len(store) % 3, limit))
                store.append([labelled(index) for index in block])
            fit.append([coefficients(index) for index in range(len(fit), len(store))])
            os.write(report, f"{len(store)} {len(fit)}\n".encode())


def write_trajectory(path: Path, limit: int, report: int) -> None:
    if (path / "zarr.json").exists():
        store = TrajectoryStore.open(path, writable=True)
    else:
        store = TrajectoryStore.create(path, Structure(WATER, np.eye(3)), REPLICAS, STAGE, {"model": "test"})
    with store:
        while len(store) < limit:
            store.append(dynamics(len(store), min(1 + len(store) % 4, limit - len(store))))
            os.write(report, f"{len(store)} {len(store)}\n".encode())


def write_model(path: Path, limit: int, report: int) -> None:
    number = load_model(path)[0]["metrics"]["number"] if path.exists() else 0
    while number < limit:
        number += 1
        document = {"config": {}, "basis": {}, "units": "atomic", "provenance": {}, "metrics": {"number": number}}
        save_model(path, document, {"weight": torch.full((200, 300), float(number))})
        os.write(report, f"{number} {number}\n".encode())


def write_merge(path: Path, limit: int, report: int) -> None:
    merge_stores(path, [path.with_name("first.zarr"), path.with_name("second.zarr")])


def with_new_label(index: int) -> tuple[Structure, ReferenceResult, dict[str, Quantity]]:
    """Frame number ``index``, every second with a label that no frame had before."""
    structure, result = labelled(index)
    if index % 2:
        return structure, result, {}
    name = f"x{index}"
    more = {name: np.random.default_rng([5, index]).normal(size=(structure.n_atoms, 3))}
    return structure, replace(result, more=more), {name: Quantity(name, "1", "atom", 1, False, False)}


def write_columns(path: Path, limit: int, report: int) -> None:
    if (path / "zarr.json").exists():
        store = ReferenceStore.open(path, writable=True)
    else:
        store = ReferenceStore.create(path, LevelOfTheory.parse("PBE/def2-SVP"), "test", {"test": "1"})
    with store:
        store.set_orbital_basis(ORBITAL_BASIS)
        while len(store) < limit:
            structure, result, quantities = with_new_label(len(store))
            store.append([(structure, result)], quantities)
            os.write(report, f"{len(store)} {len(store)}\n".encode())


def write_upgrade(path: Path, limit: int, report: int) -> None:
    upgrade(path)


def write_repair(path: Path, limit: int, report: int) -> None:
    repair(path)


WRITERS = {
    "reference": write_reference,
    "trajectory": write_trajectory,
    "model": write_model,
    "columns": write_columns,
    "upgrade": write_upgrade,
    "merge": write_merge,
    "repair": write_repair,
}


def check_reference(path: Path) -> tuple[int, int]:
    """Compare every committed frame with what was sent; the numbers of frames and of fitted frames."""
    with ReferenceStore.open(path) as store:
        for index, (structure, result) in enumerate(store.frames(range(len(store)))):
            sent_structure, sent = labelled(index)
            assert structure.content_hash() == sent_structure.content_hash() == store.hashes[index]
            assert structure.positions.tobytes() == sent_structure.positions.tobytes()
            assert result.energy == sent.energy
            assert result.seconds == sent.seconds
            assert result.provenance == sent.provenance
            for name in ("forces", "dipole", "orbitals", "occupations"):
                assert getattr(result, name).tobytes() == getattr(sent, name).tobytes()
        n_fitted = 0
        if "fit" in store.fit_names():
            fit = store.fit("fit")
            n_fitted = len(fit)
            for index in range(n_fitted):
                assert fit.coefficients(index).tobytes() == coefficients(index).tobytes()
        return len(store), n_fitted


def check_columns(path: Path) -> tuple[int, int]:
    """Compare every label that came with a column of its own with what was sent; twice the number of frames."""
    check_reference(path)
    with ReferenceStore.open(path) as store:
        for index in range(len(store)):
            sent = with_new_label(index)[1].more
            found = store.result(index).more
            assert found.keys() == sent.keys()
            assert all(found[name].tobytes() == sent[name].tobytes() for name in sent)
        there = {entry.name for entry in (path / "frames").iterdir() if entry.name.startswith("label_")}
        columns = {f"label_x{index}{end}" for index in range(0, len(store), 2) for end in ("", "_offsets")}
        assert there >= columns
        assert there == columns or not store.frame_table.tidy  # the next writer removes what a killed one began
        return len(store), len(store)


def check_trajectory(path: Path) -> tuple[int, int]:
    """Compare frames and restart state with what was sent; twice the number of frames."""
    with TrajectoryStore.open(path) as store:
        state = store.restart()
        if not len(store):
            assert state is None
            return 0, 0
        sent = dynamics(0, len(store))
        assert store.steps.tolist() == sent.steps.tolist()
        assert store.positions().tobytes() == sent.positions.tobytes()
        assert store.potential_energy.tobytes() == sent.potential_energy.tobytes()
        assert store.kinetic_energy.tobytes() == sent.kinetic_energy.tobytes()
        dipoles = store.dipoles()
        assert np.isnan(dipoles[:OBSERVED_FROM]).all()
        assert dipoles[OBSERVED_FROM:].tobytes() == sent.positions[OBSERVED_FROM:, :, 1].tobytes()
        assert state is not None
        assert state.step == sent.end.step
        assert state.positions.tobytes() == sent.end.positions.tobytes()
        assert state.velocities.tobytes() == sent.end.velocities.tobytes()
        return len(store), len(store)


@pytest.fixture(scope="module")
def writers() -> Iterator[Workers]:
    program = Workers(__file__)
    yield program
    assert program.close() == 0


def reported(path: Path) -> tuple[int, int]:
    """The last numbers of frames that a writer reported as appended."""
    file = path.with_suffix(".report")
    lines = file.read_text().splitlines() if file.exists() else []
    first, second = lines[-1].split() if lines else ("0", "0")
    return int(first), int(second)


def is_torn(path: Path) -> bool:
    """True if anything was written after the last commit of the frames."""
    record = path / "frames" / "zarr.json"
    if not record.exists():
        return True
    return any(file.stat().st_mtime_ns > record.stat().st_mtime_ns for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("kind", "check"),
    [("reference", check_reference), ("trajectory", check_trajectory), ("columns", check_columns)],
    ids=["reference", "trajectory", "columns"],
)
def test_nothing_committed_is_lost_when_writers_are_killed(kind, check, writers: Workers, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.zarr"
    moments = random.Random(kind)
    torn = 0
    for _ in range(KILLS):
        writers.start(kind, path, 10**6)
        time.sleep(moments.uniform(0.01, 0.9))
        assert writers.kill() == -signal.SIGKILL
        if not (path / "zarr.json").exists():  # killed while creating the store: nothing was reported yet
            assert reported(path) == (0, 0)
            continue
        torn += is_torn(path)
        assert verify(path) == []
        found = check(path)
        assert all(there >= told for there, told in zip(found, reported(path), strict=True))
    assert torn, "no kill came between two commits; the test shows nothing"
    if kind == "trajectory":
        assert reported(path)[0] > OBSERVED_FROM + 1, "no writer was killed with observables; the test shows too little"

    limit = max(reported(path)) + 5
    writers.start(kind, path, limit)
    assert writers.wait() == 0
    assert check(path) == (limit, limit)
    assert verify(path) == []
    assert not list(path.rglob("*.partial"))


@pytest.mark.parametrize(("kind", "check"), [("reference", check_reference), ("trajectory", check_trajectory)])
def test_a_store_whose_creation_was_killed_can_be_created_again(
    kind: str, check: Callable[[Path], tuple[int, int]], writers: Workers, tmp_path: Path
) -> None:
    moments = random.Random(f"create {kind}")
    begun = time.monotonic()
    writers.start(kind, tmp_path / "whole.zarr", 1)
    assert writers.wait() == 0
    duration = time.monotonic() - begun
    unfinished = 0
    for attempt in range(100):
        path = tmp_path / f"{attempt}.zarr"
        writers.start(kind, path, 10**6)
        time.sleep(moments.uniform(0.0, duration))
        assert writers.kill() == -signal.SIGKILL
        if not path.exists() or (path / "zarr.json").exists():
            continue  # not begun yet, or finished already
        unfinished += 1
        writers.start(kind, path, 2)
        assert writers.wait() == 0
        assert check(path) == (2, 2)
        assert verify(path) == []
        if unfinished == 4:
            break
    assert unfinished, "no kill came during a creation; the test shows nothing"


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_killed_save_leaves_the_old_model_or_the_new_one(name: str, writers: Workers, tmp_path: Path) -> None:
    path = tmp_path / name
    moments = random.Random(name)
    last = 0
    for _ in range(KILLS // 2):
        writers.start("model", path, 10**6)
        time.sleep(moments.uniform(0.01, 0.3))
        assert writers.kill() == -signal.SIGKILL
        if not path.exists():
            assert reported(path) == (0, 0)
            continue
        document, tensors = load_model(path)
        number = document["metrics"]["number"]
        assert (tensors["weight"] == number).all()
        assert number >= max(last, reported(path)[0])
        last = number
    assert last > KILLS, "hardly any save was finished; the test shows nothing"
    writers.start("model", path, last + 2)
    assert writers.wait() == 0
    assert load_model(path)[0]["metrics"]["number"] == last + 2
    assert not list(tmp_path.glob(".*")), "temporary files of killed saves are left"


def fill(path: Path, indices: range) -> None:
    """A store of these frames and their coefficients, written in two commits."""
    with ReferenceStore.create(path, LevelOfTheory.parse("PBE/def2-SVP"), "test", {"test": "1"}) as store:
        store.set_orbital_basis(ORBITAL_BASIS)
        store.append([labelled(index) for index in indices])
        fit = store.create_fit("fit", DENSITY_BASIS, "coulomb", {"prior": "none"}, ("charge", "dipole"))
        fit.append([coefficients(index) for index in indices])


def sources(folder: Path) -> list[bytes]:
    """Two stores that have twenty frames in common, ``first.zarr`` and ``second.zarr``; the hashes of their union."""
    fill(folder / "first.zarr", range(400))
    fill(folder / "second.zarr", range(380, 600))
    return [labelled(index)[0].content_hash() for index in range(600)]


def timed(writers: Workers, kind: str, path: Path) -> float:
    begun = time.monotonic()
    writers.start(kind, path, 0)
    assert writers.wait() == 0
    return time.monotonic() - begun


def test_a_killed_merge_goes_on_and_has_every_frame_once(writers: Workers, tmp_path: Path) -> None:
    hashes = sources(tmp_path)
    duration = timed(writers, "merge", tmp_path / "whole.zarr")
    moments = random.Random("merge")
    path = tmp_path / "merged.zarr"
    counts = set()
    for attempt in range(3 * KILLS):
        if attempt >= KILLS // 2 and any(0 < count < len(hashes) for count in counts):
            break
        writers.start("merge", path, 0)
        time.sleep(moments.uniform(0.0, 0.6 * duration))
        assert writers.kill() in (-signal.SIGKILL, 0)
        if (path / "zarr.json").exists():
            assert verify(path) == []
            with ReferenceStore.open(path) as store:
                assert store.hashes == hashes[: len(store)]
                counts.add(len(store))
    assert any(0 < count < len(hashes) for count in counts), "no kill came between two commits; the test shows nothing"
    assert timed(writers, "merge", path) > 0.0
    assert check_reference(path) == (600, 600)
    assert verify(path) == []


def test_a_killed_repair_leaves_the_damaged_store_or_the_repaired_one(writers: Workers, tmp_path: Path) -> None:
    whole = tmp_path / "whole.zarr"
    fill(whole, range(100))
    chunk = whole / "frames" / "energy" / "c" / "0"
    data = bytearray(chunk.read_bytes())
    data[8] ^= 1
    chunk.write_bytes(data)
    duration = timed(writers, "repair", Path(shutil.copytree(whole, tmp_path / "first.zarr")))
    sound = [labelled(index)[0].content_hash() for index in range(100) if index != 1]
    moments = random.Random("repair")
    killed = 0
    for attempt in range(KILLS // 2):
        path = Path(shutil.copytree(whole, tmp_path / f"{attempt}.zarr"))
        writers.start("repair", path, 0)
        time.sleep(moments.uniform(0.0, 1.2 * duration))
        killed += writers.kill() == -signal.SIGKILL
        with ReferenceStore.open(path) as store:
            assert len(store) in (99, 100)
        report = repair(path)
        assert report.kept == 99
        assert verify(path) == []
        with ReferenceStore.open(path) as store:
            assert store.hashes == sound
            for index, content in enumerate(store.hashes):
                number = index + (index > 0)
                assert content == labelled(number)[0].content_hash()
                assert store.result(index).forces.tobytes() == labelled(number)[1].forces.tobytes()
                assert store.fit("fit").coefficients(index).tobytes() == coefficients(number).tobytes()
        assert not list(tmp_path.glob(".*.partial"))
    assert killed, "no kill came in time; the test shows nothing"


@pytest.mark.parametrize("version", [1, 2])
def test_a_killed_upgrade_leaves_the_old_store_or_the_new_one(version: int, writers: Workers, tmp_path: Path) -> None:
    old = tmp_path / "old.zarr"
    shutil.unpack_archive(Path(__file__).parents[1] / "data" / f"reference_store_v{version}.zip", old)

    def contents(path: Path) -> list[tuple[object, ...]]:
        with ReferenceStore.open(path) as store:
            frames = [(s.positions.tobytes(), r.energy, labels_of(r)) for s, r in store.frames(range(len(store)))]
            fits = [(n, i, store.fit(n).coefficients(i).tobytes()) for n in store.fit_names() for i in range(1)]
            return [*frames, *fits, *((name, str(store.read_document(name))) for name in store.document_names())]

    duration = timed(writers, "upgrade", Path(shutil.copytree(old, tmp_path / "first.zarr")))
    before, moments, seen = contents(old), random.Random("upgrade"), set()
    for attempt in range(KILLS):
        if attempt >= KILLS // 4 and (False, 3) in seen:
            break
        path = tmp_path / f"a{attempt}" / "s.zarr"
        shutil.copytree(old, path)
        writers.start("upgrade", path, 0)
        time.sleep(moments.uniform(0.0, 1.1 * duration))
        writers.kill()
        assert contents(path) == before
        seen.add((ReferenceStore.open(path).is_current, len(list(path.parent.iterdir()))))
        upgrade(path)
        assert contents(path) == before
        assert verify(path) == []
        assert [entry.name for entry in path.parent.iterdir() if entry.is_dir()] == ["s.zarr"]
    assert (False, 3) in seen, "no kill came while the new store was being made; the test shows nothing"


def task(write: Callable[[Path, int, int], None]) -> Callable[[str, str], None]:
    """A writer as a task: path and limit, its reports beside the path."""

    def run(path: str, limit: str) -> None:
        report = os.open(Path(path).with_suffix(".report"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        write(Path(path), int(limit), report)

    return run


if __name__ == "__main__":
    serve({name: task(write) for name, write in WRITERS.items()})
