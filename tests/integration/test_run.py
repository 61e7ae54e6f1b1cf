"""``densnet run``: everything is made, once; a killed run goes on; a changed word redoes what depends on it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import CONFIG, HEATING_STEPS, PRODUCTION_STEPS, FinishedRun, densnet, environment, prepare

from densnet_core.errors import DenSNetError
from densnet_core.stores.models import load_checkpoint
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import SPLIT
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.verify import verify

# A backend like any third party's, from its own distribution: it writes down every calculation that it finishes, and
# takes its time, so that a busy machine can be quick enough to kill it in between.
COUNTING = """
import os
import time
from densnet_core.plugins import Component, Kind, hookimpl
from densnet_pyscf.backend import PySCFBackend

def note(what, structure):
    with open(os.environ["COUNTING_LOG"], "a") as file:
        file.write(f"{what} {structure.content_hash().hex()}\\n")

class Counting(PySCFBackend):
    def compute(self, structure, properties=()):
        result = super().compute(structure, properties)
        time.sleep(0.2)
        note("compute", structure)
        return result

    def project(self, structure, *rest):
        result = super().project(structure, *rest)
        time.sleep(0.2)
        note("project", structure)
        return result

@hookimpl
def densnet_components():
    return [Component(kind=Kind.REFERENCE, name="counting", target="counting:Counting", summary="PySCF, counted",
                      config="densnet_pyscf.config:PySCFOptions", install="pip install counting", api="2.0")]
"""


def snapshot(folder: Path) -> dict[str, int]:
    """Modification times of all files, the lock aside."""
    return {str(f.relative_to(folder)): f.stat().st_mtime_ns for f in folder.rglob("*") if f.name != ".lock"}


def test_run_makes_every_result_and_ends_with_tables_and_paths(finished_run: FinishedRun) -> None:
    lines = finished_run.stdout.splitlines()
    assert any(line.startswith("errors on 6 frames") for line in lines)
    assert any(line.startswith("harmonic cm-1") for line in lines)
    paths = dict(line.split(maxsplit=1) for line in lines[-8:])
    assert set(paths) == {"picture", "page", "spectrum", "model", "potential", "trajectory", "data", "logs"}
    assert all(Path(path).exists() for path in paths.values())
    assert (finished_run.output / "spectrum.png").read_bytes().startswith(b"\x89PNG")
    with ReferenceStore.open(finished_run.store) as store:
        assert len(store) == len(set(store.hashes)) == 24
    for name, steps in (("nvt", HEATING_STEPS), ("nve", PRODUCTION_STEPS)):
        with TrajectoryStore.open(finished_run.output / "md" / f"{name}.zarr") as trajectory:
            assert trajectory.steps[-1] == steps


def test_second_run_computes_nothing(finished_run: FinishedRun) -> None:
    before = snapshot(finished_run.output)
    again = densnet("run", "water.toml", "--json", cwd=finished_run.folder)
    assert again.returncode == 0, again.stderr
    assert snapshot(finished_run.output) == before
    said = again.stderr.splitlines()
    assert len(said) == 8, again.stderr
    assert all(line.endswith("current") for line in said)
    record = json.loads(again.stdout)
    assert record["evaluation"]["frames"] == 6
    assert record["spectrum"]["dynamics"]["length_ps"] == pytest.approx(0.6)
    assert Path(record["files"]["model"]) == finished_run.model


def killed_when(condition: Callable[[], bool], folder: Path, more: dict[str, str]) -> None:
    """Start the run and end it with SIGKILL at the moment the condition holds."""
    command = [sys.executable, "-c", "from densnet_core.cli.app import main; main()", "run", "water.toml"]
    with (folder / "killed.err").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            deadline = time.monotonic() + 300.0
            while not condition():
                assert process.poll() is None, f"ended before it could be killed: {(folder / 'killed.err').read_text()}"
                assert time.monotonic() < deadline, (folder / "killed.err").read_text()
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def hashes_in(path: Path) -> set[str]:
    """Content hashes committed to a store so far; none if there is no store yet."""
    try:
        with ReferenceStore.open(path) as store:
            return {content.hex() for content in store.hashes}
    except DenSNetError:
        return set()


def fitted_in(path: Path) -> set[str]:
    try:
        with ReferenceStore.open(path) as store:
            names = store.fit_names()
            return {content.hex() for content in store.hashes[: len(store.fit(names[0]))]} if names else set()
    except DenSNetError:
        return set()


def steps_in(path: Path) -> int:
    try:
        with TrajectoryStore.open(path) as trajectory:
            return int(trajectory.steps[-1]) if len(trajectory) else 0
    except DenSNetError:
        return 0


def test_killed_in_every_stage_it_goes_on_and_computes_nothing_twice(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "counting-1.0.dist-info").mkdir(parents=True)
    (site / "counting.py").write_text(COUNTING)
    (site / "counting-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (site / "counting-1.0.dist-info" / "entry_points.txt").write_text("[densnet.plugins]\ncounting = counting\n")
    log = tmp_path / "log"
    more = {"PYTHONPATH": str(site), "COUNTING_LOG": str(log)}
    prepare(tmp_path, CONFIG.replace('"pyscf"', '"counting"'))
    out = tmp_path / "out"
    store, harmonic = (out / "reference" / f"counting-HF-6-31G{kind}.zarr" for kind in ("", ".harmonic"))
    heating, production = (out / "md" / f"{name}.zarr" for name in ("nvt", "nve"))
    checkpoints = {name: out / "training" / f"{name}.checkpoint" for name in ("density", "energy")}

    def seen() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    def kill(condition: Callable[[], bool]) -> None:
        """Kill, and check that this piece of the run did nothing that was safe before."""
        safe = {f"compute {h}" for h in hashes_in(harmonic) | hashes_in(store)}
        safe |= {f"project {h}" for h in fitted_in(store)}
        before = len(seen())
        killed_when(condition, tmp_path, more)
        assert not safe & set(seen()[before:])

    kill(lambda: len(hashes_in(harmonic)) >= 3)
    kill(lambda: len(hashes_in(store)) >= 5)
    assert len(hashes_in(store)) < 24
    kill(lambda: len(fitted_in(store)) >= 3)
    assert len(fitted_in(store)) < 24
    kill(checkpoints["density"].exists)
    assert len(fitted_in(store)) == 24
    density_step = int(load_checkpoint(checkpoints["density"])[1]["step"])
    assert 0 < density_step < 60
    kill(checkpoints["energy"].exists)
    assert f"Training of the density network goes on from step {density_step}." in (tmp_path / "killed.err").read_text()
    energy_step = int(load_checkpoint(checkpoints["energy"])[1]["step"])
    assert 0 < energy_step < 60
    calculations = len(seen())
    kill(lambda: steps_in(heating) > 0)
    assert f"Training of both networks goes on from step {energy_step}." in (tmp_path / "killed.err").read_text()
    assert 0 < steps_in(heating) < HEATING_STEPS
    with TrajectoryStore.open(heating) as trajectory:
        heated = trajectory.positions()
    kill(lambda: steps_in(production) > 0)
    assert 0 < steps_in(production) < PRODUCTION_STEPS

    finished = densnet("run", "water.toml", "--json", cwd=tmp_path, more=more)
    assert finished.returncode == 0, finished.stderr
    assert len(seen()) == calculations
    # A calculation that no store had at the time of a kill may be done again. A worker gets its next task before its
    # last result is committed, so that is two for each of the two workers at most, in each of the three kills.
    assert sum(count - 1 for count in Counter(seen()).values()) <= 3 * 2 * 2
    assert len(hashes_in(store)) == 24
    for path, steps in ((heating, HEATING_STEPS), (production, PRODUCTION_STEPS)):
        with TrajectoryStore.open(path) as trajectory:
            every = trajectory.stage["record_every"]
            np.testing.assert_array_equal(np.diff(trajectory.steps), every)
            assert trajectory.steps[-1] == steps
            if path == heating:
                np.testing.assert_array_equal(trajectory.positions(slice(0, len(heated))), heated)
    for path in (harmonic, store, heating, production):
        assert verify(path) == []
    assert densnet("data", "verify", store, cwd=tmp_path).returncode == 0
    drift = json.loads(finished.stdout)["spectrum"]["dynamics"]["energy_drift_mev_per_atom_per_ps"]
    assert abs(drift) < 5.0  # a restart from a wrong state would be a jump of many times this


def stages_redone(stderr: str) -> set[str]:
    return {line.split()[1] for line in stderr.splitlines() if " done in " in line}


def test_a_changed_word_redoes_only_what_depends_on_it(finished_run: FinishedRun, tmp_path: Path) -> None:
    shutil.copytree(finished_run.folder, tmp_path, dirs_exist_ok=True)
    out = tmp_path / "out"
    before = {name: (out / name).read_bytes() for name in ("spectrum.json", "evaluation.json")}
    with ReferenceStore.open(out / "reference" / "pyscf-HF-6-31G.zarr") as store:
        split = store.read_document(SPLIT)

    config = CONFIG.replace("resolution = 200.0", "resolution = 250.0")
    prepare(tmp_path, config)
    done = densnet("run", "water.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert stages_redone(done.stderr) == {"spectrum"}
    (aside,) = out.glob("spectrum-*.json")
    assert aside.read_bytes() == before["spectrum.json"]
    assert (out / "evaluation.json").read_bytes() == before["evaluation.json"]

    density_log = (out / "training" / "density.csv").read_bytes()
    prepare(tmp_path, config.replace("energy = { steps = 60", "energy = { steps = 30"))
    done = densnet("evaluate", out / "model", out / "reference" / "pyscf-HF-6-31G.zarr", "--json", cwd=tmp_path)
    old_errors = json.loads(done.stdout)
    done = densnet("train", "water.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert stages_redone(done.stderr) == {"train"}
    assert "training both networks: 30/30" in done.stderr
    assert "training the density network" not in done.stderr
    assert (out / "training" / "density.csv").read_bytes() == density_log
    (old_model,) = out.glob("model-*")
    done = densnet("evaluate", old_model, out / "reference" / "pyscf-HF-6-31G.zarr", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == old_errors  # set aside, and still a whole model
    assert list((out / "training").glob("energy-*.csv"))
    with ReferenceStore.open(out / "reference" / "pyscf-HF-6-31G.zarr") as store:
        assert store.read_document(SPLIT) == split


def test_failed_calculations_are_no_labels(tmp_path: Path) -> None:
    options = '[sampling]\nmethod = "file"\npath = "frames.xyz"\n'
    config = CONFIG.replace("[sampling]\ncount = 24\nseed = 1\n", options)
    config = config.replace('basis = "6-31G"\n', 'basis = "6-31G"\noptions = { max_cycle = 1 }\n')
    config = config.replace("train = 14\nvalidation = 4\ntest = 6", "train = 1\nvalidation = 1\ntest = 1")
    prepare(tmp_path, config)
    frames = [f"3\n\nO 0 0 {0.1 + 0.01 * i}\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n" for i in range(3)]
    (tmp_path / "frames.xyz").write_text("".join(frames))
    for _ in range(2):  # the second run must not take the first's failures for a finished stage
        done = densnet("reference", "water.toml", cwd=tmp_path)
        assert done.returncode == 2
        assert "Error: 3 of 3 calculations failed" in done.stderr
        assert "did not converge" in done.stderr
        assert "Traceback" not in done.stderr
    (path,) = (tmp_path / "out" / "reference").iterdir()
    with ReferenceStore.open(path) as store:
        assert len(store) == 0
        assert len(store.failures()) == 3


def test_frames_that_failed_are_tried_again_when_the_executor_has_changed(tmp_path: Path) -> None:
    """A stretched molecule does not converge in two cycles; three others do."""
    config = CONFIG.replace("[sampling]\ncount = 24\nseed = 1\n", '[sampling]\nmethod = "file"\npath = "frames.xyz"\n')
    config = config.replace('basis = "6-31G"\n', 'basis = "6-31G"\noptions = { max_cycle = 2 }\n')
    config = config.replace("train = 14\nvalidation = 4\ntest = 6", "train = 1\nvalidation = 1\ntest = 1")
    prepare(tmp_path, config)
    frame = "3\n\nO 0 0 0.1\nH 0 0.76 -0.47\nH 0 {} {}\n"
    frames = [frame.format(-0.76 * scale, -0.47 * scale) for scale in (1.0, 1.01, 1.02, 1.6)]
    (tmp_path / "frames.xyz").write_text("".join(frames))

    def reference(text: str) -> str:
        prepare(tmp_path, text)
        done = densnet("reference", "water.toml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "1 of 4 calculations failed and are left out" in reference(config)
    again = reference(config)
    assert "Some calculations failed" in again
    assert "calculations: " not in again
    assert "1 of 4 calculations failed and are left out" in reference(config + "[executor]\nworkers = 1\n")
    assert "tried again when [executor] changes" in reference(config + "[executor]\nworkers = 1\n")


def test_two_runs_in_one_directory(finished_run: FinishedRun, tmp_path: Path) -> None:
    shutil.copytree(finished_run.folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "out" / "reference")
    command = [sys.executable, "-c", "from densnet_core.cli.app import main; main()", "reference", "water.toml"]
    first = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        while not hashes_in(tmp_path / "out" / "reference" / "pyscf-HF-6-31G.zarr"):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        second = densnet("run", "water.toml", cwd=tmp_path)
    finally:
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate(timeout=120)
    assert second.returncode == 2
    assert f"is being written by process {first.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert first.returncode == 0, errors
