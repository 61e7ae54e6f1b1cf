"""What is there is gone on with: longer dynamics, more frames, other test frames; verbs on models and trajectories."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import CONFIG, FinishedRun, densnet, prepare

from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.stores.verify import verify


@pytest.fixture
def folder(finished_run: FinishedRun, tmp_path: Path) -> Path:
    shutil.copytree(finished_run.folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def redone(folder: Path, config: str, *arguments: str) -> set[str]:
    """Stages that a run with this configuration made, after a dry run that promised no others."""
    prepare(folder, config)
    planned = densnet("run", "water.toml", "--dry-run", "--json", *arguments, cwd=folder)
    assert planned.returncode == 0, planned.stderr
    possible = {row["stage"] for row in json.loads(planned.stdout) if row["state"] != "current"}
    certain = {row["stage"] for row in json.loads(planned.stdout) if row["state"] == "to do"}
    done = densnet("run", "water.toml", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    made = {line.split()[1] for line in done.stderr.splitlines() if " done in " in line}
    assert certain <= made <= possible
    return made


def test_longer_dynamics_extend_the_trajectory(folder: Path) -> None:
    path = folder / "out" / "md" / "nve.zarr"
    with TrajectoryStore.open(path) as store:
        before, dipoles = store.positions(), store.array(DIPOLES)
    assert redone(folder, CONFIG.replace("nve_ps = 0.6", "nve_ps = 0.7")) == {"md", "spectrum"}
    with TrajectoryStore.open(path) as store:
        assert (len(before), len(store), store.stage["n_steps"]) == (1201, 1401, 1400)
        np.testing.assert_array_equal(store.positions(slice(0, len(before))), before)
        np.testing.assert_array_equal(store.array(DIPOLES)[: len(before)], dipoles)
        assert len(store.array(DIPOLES)) == 1401
        np.testing.assert_array_equal(np.diff(store.steps), 1)
        total = store.potential_energy + store.kinetic_energy
    assert np.ptp(total[-200:]) < 3 * np.ptp(total[:1201])  # no jump where it was gone on with
    assert verify(path) == []
    assert [one.name for one in path.parent.iterdir()].count("nve.zarr") == len(list(path.parent.glob("nve*"))) == 1
    # A shorter one is not a piece of it: what a result holds does not depend on what was computed before.
    assert redone(folder, CONFIG) == {"md", "spectrum"}
    with TrajectoryStore.open(path) as store:
        assert len(store) == 1201
        np.testing.assert_allclose(store.positions(), before, atol=1e-6)
    with TrajectoryStore.open(path.with_name("nve-1400-steps.zarr")) as store:
        assert len(store) == 1401


def test_an_output_that_the_model_lacks_is_refused_before_anything_is_set_aside(folder: Path) -> None:
    before = sorted(one.name for one in (folder / "out" / "md").iterdir())
    prepare(folder, CONFIG.replace("nve_ps = 0.6", 'nve_ps = 0.6\nrecord = ["magnetisation"]'))
    done = densnet("run", "water.toml", cwd=folder)
    assert done.returncode == 2
    assert "the model gives no magnetisation" in done.stderr
    assert sorted(one.name for one in (folder / "out" / "md").iterdir()) == before
    assert redone(folder, CONFIG) == set()


def test_other_test_frames_are_evaluated_and_train_nothing(folder: Path) -> None:
    weights = folder / "out" / "model" / "weights.safetensors"
    before = weights.read_bytes()
    assert redone(folder, CONFIG.replace("test = 6", "test = 4")) == {"evaluate"}
    assert json.loads((folder / "out" / "evaluation.json").read_text())["frames"] == 4
    more = CONFIG.replace("count = 24", "count = 27").replace("test = 6", "test = 9")
    assert redone(folder, more) == {"sample", "reference", "evaluate"}
    assert json.loads((folder / "out" / "evaluation.json").read_text())["frames"] == 9
    with ReferenceStore.open(folder / "out" / "reference" / "pyscf-HF-6-31G.zarr") as store:
        assert len(store) == 27  # the 24 that were there, and three
    assert weights.read_bytes() == before
    document = json.loads((folder / "out" / "model" / "model.json").read_text())
    assert document["metrics"]["held_out"]["frames"] == 9


def test_a_model_and_a_trajectory_are_all_that_dynamics_and_spectrum_need(folder: Path) -> None:
    arguments = ("--heating-ps", "0.05", "--replicas", "1", "--record-every", "1", "--temperature", "200", "--json")

    def dynamics(ps: str) -> Path:
        done = densnet("md", "out/model", "water.xyz", "--ps", ps, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        return folder / json.loads(done.stdout)["path"]

    path = dynamics("0.1")
    with TrajectoryStore.open(path) as store:
        before = store.positions()
        assert len(before) == 201
    assert dynamics("0.2") == path
    with TrajectoryStore.open(path) as store:
        assert len(store) == 401
        np.testing.assert_array_equal(store.positions(slice(0, 201)), before)
    done = densnet("spectrum", path, "--resolution", "600", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["dynamics"]["length_ps"] == pytest.approx(0.2)
    assert record["bands"]
    assert (path.parent / "nve-spectrum.png").read_bytes().startswith(b"\x89PNG")
    assert "wavenumbers_per_cm" in json.loads((path.parent / "nve-spectrum.json").read_text())


def test_a_store_is_all_that_a_training_needs(folder: Path) -> None:
    store = folder / "out" / "reference" / "pyscf-HF-6-31G.zarr"
    done = densnet("train", "--data", store, "--basis", "densnet-s", "--steps", "3", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["path"]) == folder / "trained" / "model"
    evaluated = json.loads((folder / "trained" / "evaluation.json").read_text())
    assert evaluated["frames"] == 6  # the split of the store
    assert densnet("train", cwd=folder).returncode == 2
