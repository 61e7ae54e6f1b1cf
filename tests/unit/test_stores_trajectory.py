"""The trajectory store: round trips, the restart state, continuity, derived arrays."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densnet_core.errors import DataError, InputError
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.stores.repair import repair
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.stores.verify import open_store, verify
from densnet_core.structures import Structure

WATER = Structure(np.array([8, 1, 1]), np.eye(3))
STAGE = MDStage("nvt", 100, 20.67, 300.0, 1e-4, 5, 7)
REPLICAS = 2


def block(first: int, count: int) -> MDFrames:
    values = np.random.default_rng(first)
    steps = 5 * np.arange(first, first + count)
    positions = values.normal(size=(count, REPLICAS, 3, 3))
    end = MDState(int(steps[-1]), positions[-1], values.normal(size=(REPLICAS, 3, 3)))
    return MDFrames(steps, positions, values.normal(size=count), values.normal(size=count), end)


@pytest.fixture
def store(tmp_path: Path):
    with TrajectoryStore.create(tmp_path / "t.zarr", WATER, REPLICAS, STAGE, {"model": "abc"}) as created:
        yield created


def test_frames_and_restart_state_come_back_bit_for_bit(store: TrajectoryStore) -> None:
    assert store.restart() is None
    assert store.positions().shape == (0, REPLICAS, 3, 3)
    blocks = [block(0, 3), block(3, 1), block(4, 2)]
    for sent in blocks:
        store.append(sent)
        state = store.restart()
        assert state is not None
        assert state.step == sent.end.step
        assert state.positions.tobytes() == sent.end.positions.tobytes()
        assert state.velocities.tobytes() == sent.end.velocities.tobytes()
    with TrajectoryStore.open(store.path) as read:
        assert len(read) == 6
        assert read.steps.tolist() == [0, 5, 10, 15, 20, 25]
        assert read.positions().tobytes() == b"".join(sent.positions.tobytes() for sent in blocks)
        assert np.array_equal(read.positions(slice(1, 5, 2)), read.positions()[1:5:2])
        assert read.positions(slice(4, 2)).shape == (0, REPLICAS, 3, 3)
        assert read.potential_energy.tolist() == [e for sent in blocks for e in sent.potential_energy]
        assert read.kinetic_energy.tolist() == [e for sent in blocks for e in sent.kinetic_energy]
        assert (read.n_replicas, read.structure.content_hash()) == (REPLICAS, WATER.content_hash())
        assert MDStage(**read.stage) == STAGE
        assert read.provenance == {"model": "abc"}
        assert "6 frames of 2 x H2O, nvt, reading" in repr(read)
        assert json.loads(json.dumps(read.info()))["last_step"] == 25
    assert verify(store.path) == []


def test_frames_that_do_not_follow_are_refused(store: TrajectoryStore) -> None:
    store.append(block(0, 3))
    with pytest.raises(InputError, match="the store is at step 10"):
        store.append(block(2, 2))  # a block written twice after a wrong restart
    nonsense = block(3, 2)
    with pytest.raises(InputError, match="before the last frame"):
        store.append(replace(nonsense, end=replace(nonsense.end, step=11)))
    with pytest.raises(InputError, match=r"positions of the frames must have shape \(2, 2, 3, 3\)"):
        store.append(replace(nonsense, positions=nonsense.positions[:, :1]))
    with pytest.raises(InputError, match=r"end\.velocities of the frames is not finite"):
        store.append(replace(nonsense, end=replace(nonsense.end, velocities=np.full((2, 3, 3), np.nan))))
    assert len(store) == 3
    store.append(nonsense)
    assert store.steps.tolist() == [0, 5, 10, 15, 20]


def test_a_writer_continues_after_reopening(store: TrajectoryStore) -> None:
    store.append(block(0, 3))
    store.close()
    with TrajectoryStore.open(store.path, writable=True) as again:
        again.append(block(3, 3))
    assert len(TrajectoryStore.open(store.path)) == 6
    with pytest.raises(DataError, match="closed"):
        store.append(block(6, 1))


def test_observables_are_kept_with_the_frames_that_have_them(store: TrajectoryStore) -> None:
    values = np.random.default_rng(5)
    store.append(block(0, 3))
    assert (store.observable_names(), store.dipoles().shape) == ([], (3, REPLICAS, 3))
    dipole, charges = values.normal(size=(4, REPLICAS, 3)), values.normal(size=(4, REPLICAS * 3))
    store.append(replace(block(3, 2), observables={"dipole": dipole[:2]}))
    store.append(replace(block(5, 2), observables={"charges": charges[2:], "dipole": dipole[2:]}))
    with TrajectoryStore.open(store.path) as read:
        assert read.observable_names() == ["charges", "dipole"]
        assert read.observable("dipole")[3:].tobytes() == dipole.tobytes()
        assert np.isnan(read.observable("dipole")[:3]).all()
        assert np.isnan(read.observable("charges")[:5]).all()
        assert read.observable("charges")[5:].tobytes() == charges[2:].tobytes()
        assert (read.observable_unit("dipole"), read.observable_unit("charges")) == ("e bohr", "e")
        assert json.loads(json.dumps(read.info()))["observables"] == {"charges": "e", "dipole": "e bohr"}
        with pytest.raises(DataError, match="no observable 'energy'; it has: charges, dipole"):
            read.observable("energy")
    assert verify(store.path) == []


def test_dipoles_are_those_recorded_and_those_computed_afterwards(store: TrajectoryStore) -> None:
    recorded, computed = np.random.default_rng(6).normal(size=(2, 5, REPLICAS, 3))
    store.append(block(0, 2))
    store.append(replace(block(2, 3), observables={"dipole": recorded[2:]}))
    assert np.isnan(store.dipoles()[:2]).all()
    store.set_array(DIPOLES, computed, "e bohr")
    assert store.dipoles().tobytes() == np.concatenate([computed[:2], recorded[2:]]).tobytes()
    store.append(block(5, 1))
    assert np.isnan(store.dipoles()[5]).all()


def test_observables_that_do_not_fit_are_refused(store: TrajectoryStore) -> None:
    store.append(replace(block(0, 2), observables={"dipole": np.ones((2, REPLICAS, 3))}))
    for name, values, message in (
        ("dipole", np.ones((2, REPLICAS, 2)), r"observable dipole of the frames must have shape \(2, 2, 3\)"),
        ("dipole", np.ones((1, REPLICAS, 3)), r"must have shape \(2, 2, 3\)"),
        ("dipole", np.full((2, REPLICAS, 3), np.nan), "observable dipole of the frames is not finite"),
        ("a/b", np.ones(2), "letters, digits and _, not 'a/b'"),
    ):
        with pytest.raises(InputError, match=message):
            store.append(replace(block(2, 2), observables={name: values}))
    assert (len(store), store.observable_names()) == (2, ["dipole"])
    assert verify(store.path) == []


def test_a_repair_keeps_observables(store: TrajectoryStore) -> None:
    dipole = np.random.default_rng(7).normal(size=(4, REPLICAS, 3))
    store.append(block(0, 2))
    store.append(replace(block(2, 4), observables={"dipole": dipole}))
    store.close()
    column = store.path / "frames" / "observable_dipole" / "c" / "0" / "0" / "0"
    data = bytearray(column.read_bytes())
    data[8 * REPLICAS * 3] ^= 1  # the second row: frame 3
    column.write_bytes(data)
    assert [problem.split(":")[0] for problem in verify(store.path)] == ["frame 3 (step 15)"]
    repair(store.path)
    assert verify(store.path) == []
    with TrajectoryStore.open(store.path) as read:
        assert read.steps.tolist() == [0, 5, 10, 20, 25]
        assert read.observable("dipole")[2:].tobytes() == dipole[[0, 2, 3]].tobytes()


def test_derived_arrays_are_replaced_whole(store: TrajectoryStore) -> None:
    store.append(block(0, 4))
    values = np.random.default_rng(0)
    first, second = values.normal(size=(2, 4, REPLICAS, 3))
    store.set_array("dipole", first, "e bohr")
    with pytest.raises(InputError, match="each of the 4 frames"):
        store.set_array("dipole", second[:3], "e bohr")
    with pytest.raises(InputError, match="finite"):
        store.set_array("dipole", np.full((4,), np.nan), "e bohr")
    assert np.array_equal(store.array("dipole"), first)
    store.set_array("dipole", second, "e bohr")
    store.set_array("count", np.arange(4, dtype=np.int32), "1")
    read = TrajectoryStore.open(store.path)
    assert read.array("dipole").tobytes() == second.tobytes()
    assert read.array("count").dtype == np.int32
    assert read.array_unit("dipole") == "e bohr"
    assert read.array_names() == ["count", "dipole"]
    with pytest.raises(DataError, match="no array 'dipoles'; it has: count, dipole"):
        read.array("dipoles")
    assert len(list((store.path / "derived" / "dipole").glob("v*"))) == 1
    assert verify(store.path) == []


def test_damage_is_found(store: TrajectoryStore, tmp_path: Path) -> None:
    store.append(block(0, 4))
    store.append(block(4, 4))
    store.set_array("dipole", np.ones((8, 3)), "e bohr")
    store.close()
    slot = json.loads((store.path / "frames" / "zarr.json").read_text())["attributes"]["restart"]["slot"]
    for name, expected in {
        "frames/positions/c/0/0/0/0": "frame 0 (step 0): its bytes differ",
        "frames/kinetic_energy/c/0": "frame 0 (step 0): its bytes differ",
        f"restart_velocities/c/{slot}/0/0/0": "restart state",
        "derived/dipole/v0/c/0/0": "'dipole'",
    }.items():
        copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
        data = bytearray((copy / name).read_bytes())
        data[0] ^= 1
        (copy / name).write_bytes(data)
        problems = verify(copy)
        assert len(problems) == 1
        assert expected in problems[0]
        shutil.rmtree(copy)
    with pytest.raises(DataError, match="not a trajectory store"):
        TrajectoryStore.open(store.path / "frames")
    assert isinstance(open_store(store.path), TrajectoryStore)
