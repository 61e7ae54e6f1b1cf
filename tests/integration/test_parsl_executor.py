"""Parsl's HighThroughputExecutor on this machine: the same outcomes, limits and failures as the executor local."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from densnet_parsl.cluster import provider
from densnet_parsl.config import ParslOptions
from densnet_parsl.executor import ParslExecutor
from pydantic import ValidationError

from densnet_core.errors import DenSNetError, InputError, ResourceError, TransientError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory, label
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.workflow.labels import label_into, open_store

UNIT = Path(__file__).parents[1] / "unit"
sys.path.insert(0, str(UNIT))
import executor_tasks as work  # noqa: E402

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))


@pytest.fixture(scope="module")
def executor() -> Iterator[ParslExecutor]:
    made = ParslExecutor(ParslOptions(workers=2, memory_limit_mb=900))
    yield made
    made.close()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def frames(count: int) -> list[Structure]:
    generator = np.random.default_rng(0)
    return [WATER.with_positions(WATER.positions + generator.normal(scale=0.03, size=(3, 3))) for _ in range(count)]


def test_values_come_back_under_their_index(executor):
    outcomes = list(executor.map(work.square, [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert {o.index: o.value for o in outcomes} == {0: 1.0, 1: 4.0, 2: 9.0, 3: 16.0, 4: 25.0}
    assert all(o.error is None and o.seconds >= 0 for o in outcomes)
    assert list(executor.map(work.square, [])) == []


def test_failures_are_those_of_the_local_executor(executor):
    local = LocalExecutor(LocalExecutorOptions(workers=2))
    for function in (work.fail_on_three, work.kill_itself, work.raise_unpicklable):
        expected, found = ({o.index: o for o in one.map(function, range(5))} for one in (local, executor))
        assert {i: o.value for i, o in found.items()} == {i: o.value for i, o in expected.items()}
        assert {i: type(o.error) for i, o in found.items()} == {i: type(o.error) for i, o in expected.items()}
        assert {i: str(o.error)[:60] for i, o in found.items()} == {i: str(o.error)[:60] for i, o in expected.items()}


def test_memory_limit(executor):
    outcomes = {o.index: o for o in executor.map(work.allocate, [10, 4000, 10])}
    assert isinstance(outcomes[1].error, ResourceError)
    assert outcomes[0].value == outcomes[2].value == 10 * 2**17


def test_transient_failures_are_tried_once_more(executor, tmp_path):
    (outcome,) = executor.map(work.fail_the_first_time, [tmp_path / "first"])
    assert outcome.value == "done"
    (outcome,) = executor.map(work.always_transient, [tmp_path / "always"])
    assert isinstance(outcome.error, TransientError)
    assert (tmp_path / "always").read_text() == "xx"


def test_what_cannot_be_sent_or_loaded_is_explained(executor, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="importable modules"):
        executor.map(lambda value: value, [1])
    first, second = sorted(executor.map(work.square, [lambda: 0, 3.0]), key=lambda outcome: outcome.index)
    assert isinstance(first.error, InputError)
    assert second.value == 9.0
    (tmp_path / "vanishing.py").write_text("def work(value):\n    return value\n")
    monkeypatch.syspath_prepend(tmp_path)
    import vanishing  # type: ignore[import-not-found]

    (tmp_path / "vanishing.py").unlink()
    with pytest.raises(InputError, match="vanishing"):
        list(executor.map(vanishing.work, [1]))


def test_tasks_are_read_as_workers_become_free(executor):
    read: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            read.append(number)
            yield number

    with closing(executor.map(work.process_id, tasks())) as outcomes:
        next(outcomes)
        assert len(read) <= 2 * 2 + 1
        pids = {outcome.value for outcome in outcomes}
    assert len(read) == 40
    assert len(pids) <= 2  # the processes stay


def test_the_same_store_as_the_local_executor_makes(executor, tmp_path):
    factory = BackendFactory("densnet_pyscf.backend:PySCFBackend", LevelOfTheory("HF", "6-31G"))
    structures = [*frames(3), WATER.with_positions(0.01 * WATER.positions)]  # the last one fails
    for name, one in (("local", LocalExecutor(LocalExecutorOptions(workers=2))), ("parsl", executor)):
        with open_store(tmp_path / f"{name}.zarr", factory, "pyscf") as store:
            told: dict[int, str] = {}
            failures = label_into(store, factory, structures, one, told.__setitem__)
            assert list(told) == [1, 2, 3, 4]
            assert told[4] == "frames, 1 failed"
            assert len(failures) == 1
            assert isinstance(failures[0][1], DenSNetError)
    with ReferenceStore.open(tmp_path / "local.zarr") as local, ReferenceStore.open(tmp_path / "parsl.zarr") as parsl:
        assert len(local) == len(parsl) == 3
        for structure in structures[:3]:
            first, second = (s.result(s.index_of(structure.content_hash())) for s in (local, parsl))
            assert second.energy == first.energy
            np.testing.assert_array_equal(second.forces, first.forces)
            np.testing.assert_array_equal(second.orbitals, first.orbitals)


def test_a_backend_that_cannot_be_made_ends_the_run(executor):
    factory = BackendFactory("densnet_pyscf.backend:PySCFBackend", LevelOfTheory("no-such-functional", "6-31G"))
    with pytest.raises(InputError, match="no-such-functional"):
        label(factory, frames(2), executor, lambda *_: None, lambda *_: None)


def test_closing_the_iterator_ends_what_is_under_way_and_workers_start_again(executor, tmp_path):
    tasks = [None, tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    with closing(executor.map(work.return_or_start_a_program, tasks)) as outcomes:
        assert next(outcomes).value == "free"
        assert wait_until((tmp_path / "a").exists, 30.0)
    pids = [int(word) for task in tasks[1:] if task.exists() for word in task.read_text().split()]
    assert wait_until(lambda: not any(map(psutil.pid_exists, pids)), 30.0)
    assert not (tmp_path / "c").exists()  # it had not started
    assert [outcome.value for outcome in executor.map(work.square, [4.0])] == [16.0]


def test_nothing_survives_a_killed_driver(tmp_path):
    file = tmp_path / "pids"
    script = (
        f"import sys; sys.path.insert(0, {str(UNIT)!r}); import executor_tasks as work; from pathlib import Path\n"
        "from densnet_parsl.config import ParslOptions\nfrom densnet_parsl.executor import ParslExecutor\n"
        f"list(ParslExecutor(ParslOptions(workers=1)).map(work.start_a_program_and_wait, [Path({str(file)!r})]))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(file.exists, 60.0)
        pids = [int(word) for word in file.read_text().split()]
        above = psutil.Process(pids[0]).parents()
        parsls = [process.pid for process in above if "parsl" in " ".join(process.cmdline())]
        family = [driver.pid, *pids, *parsls]
        assert len(family) >= 5  # driver, worker process, its program, Parsl's worker and its pool
        driver.send_signal(signal.SIGKILL)
        driver.wait(10.0)
        # The interchange ends within a second, and the workers when they miss its heartbeat for 15 s.
        assert wait_until(lambda: not any(psutil.pid_exists(pid) for pid in family), 60.0)
    finally:
        driver.kill()
        driver.wait()


def test_batch_systems_get_what_the_options_say(tmp_path):
    common = {"workers": 16, "nodes": 2, "jobs": 3, "walltime": "12:00:00", "partition": "short", "account": "chem"}
    common |= {"folder": tmp_path, "worker_init": "module load python", "scheduler_options": "#SBATCH --mem=60G"}
    slurm = provider(ParslOptions(provider="slurm", **common))
    assert (slurm.label, slurm.partition, slurm.account, slurm.walltime) == ("slurm", "short", "chem", "12:00:00")
    assert (slurm.nodes_per_block, slurm.max_blocks, slurm.cores_per_node) == (2, 3, 16)
    pbs = provider(ParslOptions(provider="pbs", **common))
    assert (pbs.label, pbs.queue, pbs.account, pbs.walltime) == ("pbspro", "short", "chem", "12:00:00")
    assert (pbs.nodes_per_block, pbs.max_blocks, pbs.cpus_per_node) == (2, 3, 16)
    for made in (slurm, pbs):
        assert made.worker_init.strip() == "module load python"
        assert "#SBATCH --mem=60G" in made.scheduler_options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": "short"}, 'provider = "local" has no use for partition'),
        ({"provider": "slurm"}, 'provider = "slurm" needs workers and folder'),
        ({"provider": "pbs", "workers": 4}, 'provider = "pbs" needs folder'),
        ({"walltime": "2 hours"}, "walltime"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        ParslOptions(**options)
