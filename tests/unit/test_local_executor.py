"""LocalExecutor: real processes, really killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from densnet_core.errors import DenSNetError, InputError, ResourceError, TransientError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.pool import ResidentWorker
from densnet_core.reference.process import Limits, packed_function, packed_task

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import executor_tasks as work  # noqa: E402


def executor(**options: object) -> LocalExecutor:
    return LocalExecutor(LocalExecutorOptions(**({"workers": 2} | options)))


def is_alive(pid: int) -> bool:
    """False also for a zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def test_values_come_back_under_their_index() -> None:
    outcomes = list(executor().map(work.square, [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert {o.index: o.value for o in outcomes} == {0: 1.0, 1: 4.0, 2: 9.0, 3: 16.0, 4: 25.0}
    assert all(o.error is None and o.seconds >= 0 for o in outcomes)


def test_no_task_starts_no_process() -> None:
    assert list(executor().map(work.square, [])) == []


def test_one_failure_stops_no_other() -> None:
    outcomes = {o.index: o for o in executor().map(work.fail_on_three, range(6))}
    assert {i: o.value for i, o in outcomes.items() if o.error is None} == {0: 0, 1: 1, 2: 2, 5: 5}
    assert isinstance(outcomes[3].error, InputError)
    assert str(outcomes[3].error) == "three is refused"
    assert isinstance(outcomes[4].error, DenSNetError)
    assert "ZeroDivisionError: four is a bug" in str(outcomes[4].error)


def test_workers_persist_and_have_one_thread_each() -> None:
    pids = {o.value for o in executor().map(work.process_id, range(12))}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert [o.value for o in executor(workers=1).map(work.threads, [0])] == ["1"]


def test_what_a_task_leaves_in_cycles_is_freed() -> None:
    assert [o.value for o in executor(workers=1).map(work.objects_left, range(6))] == [0] * 6


def test_completion_order_and_lazy_reading_of_the_tasks(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    read = []

    def tasks() -> Iterator[Path | None]:
        for task in [gate, None, None, None]:
            read.append(task)
            yield task

    with closing(executor().map(work.wait_for_file, tasks())) as outcomes:
        assert next(outcomes).index == 1
        assert len(read) < 4
        assert [next(outcomes).index, next(outcomes).index] == [2, 3]
        gate.touch()
        assert [o.value for o in outcomes] == ["released"]


def test_time_limit_kills_one_task_only() -> None:
    outcomes = {o.index: o for o in executor(time_limit_s=0.5).map(work.sleep, [0.0, 60.0, 0.1, 0.0])}
    assert isinstance(outcomes[1].error, ResourceError)
    assert "time_limit_s" in str(outcomes[1].error)
    assert 0.5 <= outcomes[1].seconds < 5.0
    assert [outcomes[i].error for i in (0, 2, 3)] == [None, None, None]


def test_crashed_process_is_reported_and_replaced() -> None:
    outcomes = {o.index: o for o in executor(workers=1).map(work.kill_itself, range(4))}
    assert isinstance(outcomes[1].error, ResourceError)
    assert "SIGKILL" in str(outcomes[1].error)
    assert "about to die" in str(outcomes[1].error)
    assert [outcomes[i].value for i in (0, 2, 3)] == [0, 2, 3]


def test_memory_limit() -> None:
    outcomes = {o.index: o for o in executor(workers=1, memory_limit_mb=600).map(work.allocate, [10, 4000, 10])}
    assert isinstance(outcomes[1].error, ResourceError)
    assert outcomes[0].value == outcomes[2].value == 10 * 2**17


def test_memory_too_small_to_start_with_names_the_option() -> None:
    with pytest.raises(ResourceError, match="Raise memory_limit_mb"):
        list(executor(workers=1, memory_limit_mb=1).map(work.square, [2]))


def test_transient_failure_is_tried_once_more(tmp_path: Path) -> None:
    (outcome,) = executor().map(work.fail_the_first_time, [tmp_path / "first"])
    assert outcome.value == "done"
    (outcome,) = executor().map(work.always_transient, [tmp_path / "always"])
    assert isinstance(outcome.error, TransientError)
    assert (tmp_path / "always").read_text() == "xx"


def test_unloadable_function_and_tasks_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="importable modules"):
        executor().map(lambda value: value, [1])
    (outcome,) = executor().map(work.square, [lambda: 0])
    assert isinstance(outcome.error, InputError)
    (tmp_path / "vanishing.py").write_text("def work(value):\n    return value\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import vanishing  # type: ignore[import-not-found]

        (tmp_path / "vanishing.py").unlink()
        with pytest.raises(InputError, match="vanishing"):
            list(executor().map(vanishing.work, [1]))
    finally:
        sys.path.remove(str(tmp_path))


def test_error_that_cannot_be_pickled_is_still_reported() -> None:
    (outcome,) = executor().map(work.raise_unpicklable, [1])
    assert isinstance(outcome.error, DenSNetError)
    assert "trouble in paradise" in str(outcome.error)


def test_closing_the_iterator_ends_workers_and_their_programs(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    with closing(executor(time_limit_s=0.8).map(work.start_a_program_and_wait, [file])) as outcomes:
        (outcome,) = outcomes
    assert isinstance(outcome.error, ResourceError)
    pids = [int(word) for word in file.read_text().split()]
    assert wait_until(lambda: not any(map(is_alive, pids)))


def test_a_resident_worker_stays_between_tasks_and_is_replaced_when_it_dies() -> None:
    with closing(ResidentWorker(packed_function(work.process_id), Limits())) as worker:
        first, second = (worker.answer(packed_task(0, None)).value for _ in range(2))
        assert first == second != os.getpid()
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(first))
        assert isinstance(worker.answer(packed_task(0, None)).error, ResourceError)
        third = worker.answer(packed_task(0, None)).value
        assert third not in (None, first)
    assert wait_until(lambda: not is_alive(third))


def test_a_resident_worker_keeps_the_limits() -> None:
    with closing(ResidentWorker(packed_function(work.sleep), Limits(seconds=0.3))) as worker:
        assert worker.answer(packed_task(0, 0.0)).value == 0.0
        late = worker.answer(packed_task(0, 60.0))
        assert isinstance(late.error, ResourceError)
        assert late.seconds < 20.0
        assert worker.answer(packed_task(0, 0.0)).value == 0.0


@pytest.mark.parametrize("how", ["KILL", "INT"])
def test_nothing_survives_the_parent(tmp_path: Path, how: str) -> None:
    file = tmp_path / "pids"
    script = (
        # where the tests run in the background of a shell, Ctrl-C is ignored by all that they start
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import executor_tasks as work; from pathlib import Path\n"
        "from densnet_core.reference.local import LocalExecutor\n"
        f"list(LocalExecutor().map(work.start_a_program_and_wait, [Path({str(file)!r})]))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(file.exists, 30.0)
        pids = [int(word) for word in file.read_text().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        parent.send_signal(signal.Signals[f"SIG{how}"])
        parent.wait(10.0)
        assert wait_until(lambda: not any(map(is_alive, pids)))
    finally:
        parent.kill()
        parent.wait()
