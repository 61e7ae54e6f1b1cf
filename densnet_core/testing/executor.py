"""Conformance suite for executors.

A plugin's test subclasses ``ExecutorTests`` and says how to make the executor::

    class TestMyExecutor(ExecutorTests):
        def make_executor(self, **options: object) -> Executor:
            return MyExecutor(MyOptions(**options))
"""

from __future__ import annotations

import itertools
import os
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import DenSNetError, InputError, ResourceError
from densnet_core.reference.executors import Executor, Outcome
from densnet_core.testing.suites import ConformanceSuite
from densnet_core.testing.tasks import Task, carry_out

_READ_AHEAD = 1000
"""Tasks that an executor may read before the first outcome is taken from it; a run may have a million."""


class ExecutorTests(ConformanceSuite):
    """What every executor must do. Subclasses give ``make_executor``; pytest finds the rest."""

    maker = "make_executor"

    @abstractmethod
    def make_executor(self, **options: Any) -> Executor:
        """An executor with the options under test; it may be the same one each time."""

    def outcomes(self, tasks: Iterable[Task]) -> list[Outcome[Any]]:
        with closing(self.make_executor().map(carry_out, tasks)) as outcomes:
            return list(outcomes)

    def test_every_task_has_one_outcome_under_its_index(self) -> None:
        outcomes = self.outcomes([Task(f"value {i}") for i in range(23)])
        assert sorted(outcome.index for outcome in outcomes) == list(range(23))
        assert {outcome.index: value_of(outcome) for outcome in outcomes} == {i: f"value {i}" for i in range(23)}

    def test_indices_are_those_of_the_tasks_whatever_the_order_of_completion(self) -> None:
        seconds = [0.6, 0.0, 0.3, 0.0, 0.1, 0.0]
        outcomes = self.outcomes([Task(i, wait) for i, wait in enumerate(seconds)])
        assert sorted((outcome.index, value_of(outcome)) for outcome in outcomes) == [(i, i) for i in range(6)]
        for outcome in outcomes:
            assert outcome.seconds >= seconds[outcome.index]

    def test_tasks_run_outside_this_process(self) -> None:
        (outcome,) = self.outcomes([Task()])
        assert outcome.value is not None
        assert outcome.value[1] != os.getpid(), "a calculation that crashes would take the run with it"

    def test_an_error_stops_no_other_task(self) -> None:
        faults = ["", "refusal", "", "defect", "", "refusal", ""]
        outcomes = {one.index: one for one in self.outcomes([Task(i, fault=f) for i, f in enumerate(faults)])}
        assert sorted(outcomes) == list(range(len(faults)))
        for index, fault in enumerate(faults):
            outcome = outcomes[index]
            assert (outcome.value is None) == (outcome.error is not None) == bool(fault)
            if fault:
                assert isinstance(outcome.error, DenSNetError)
        assert isinstance(outcomes[1].error, InputError), "an error of ours keeps its type"
        assert "this task is refused" in str(outcomes[1].error)
        assert "ZeroDivisionError" in str(outcomes[3].error)

    def test_a_process_that_is_killed_costs_its_own_task_only(self) -> None:
        parent = os.getpid()
        faults = ["", "", "death", "", "", ""]
        tasks = [Task(i, seconds=0.05, fault=fault, parent=parent) for i, fault in enumerate(faults)]
        outcomes = {outcome.index: outcome for outcome in self.outcomes(tasks)}
        assert sorted(outcomes) == list(range(len(faults)))
        assert isinstance(outcomes[2].error, ResourceError)
        assert all(outcomes[i].error is None for i in range(len(faults)) if i != 2)

    def test_tasks_are_read_as_workers_become_free(self) -> None:
        read = 0

        def endless() -> Iterator[Task]:
            nonlocal read
            for read in itertools.count(1):
                if read > _READ_AHEAD:
                    raise AssertionError(f"{_READ_AHEAD} tasks were read before the first outcomes were given")
                yield Task(read)

        with closing(self.make_executor().map(carry_out, endless())) as outcomes:
            first = list(itertools.islice(outcomes, 3))
        assert len({outcome.index for outcome in first}) == 3
        after = read
        time.sleep(0.2)
        assert read == after, "tasks are read after the outcomes were closed"

    def test_outcomes_come_before_the_last_task_is_done(self, tmp_path: Path) -> None:
        file = tmp_path / "the first outcome is there"
        with closing(self.make_executor().map(carry_out, [Task(0), Task(1, file=str(file))])) as outcomes:
            first = next(outcomes)
            file.touch()
            assert [value_of(first), *map(value_of, outcomes)] == [0, 1]

    def test_values_come_back_as_they_were(self) -> None:
        values: list[Any] = [np.random.default_rng(0).normal(size=(40, 3)), -0.0, "ångström", None, {"a": (1, 2.5)}]
        back = {outcome.index: value_of(outcome) for outcome in self.outcomes([Task(value) for value in values])}
        np.testing.assert_array_equal(back[0], values[0])
        assert str(back[1]) == "-0.0"
        assert [back[i] for i in (2, 3, 4)] == values[2:]

    def test_no_task_has_no_outcome(self) -> None:
        assert self.outcomes([]) == []

    def test_it_can_be_used_again(self) -> None:
        executor = self.make_executor()
        for _ in range(2):
            with closing(executor.map(carry_out, [Task("again")])) as outcomes:
                assert [(outcome.index, value_of(outcome)) for outcome in outcomes] == [(0, "again")]

    def test_a_function_that_workers_cannot_import_is_refused(self) -> None:
        with pytest.raises(DenSNetError), closing(self.make_executor().map(lambda task: task, [1, 2])) as outcomes:
            list(outcomes)


def value_of(outcome: Outcome[Any]) -> Any:
    """The value that a task was to give back."""
    assert outcome.error is None, str(outcome.error)
    assert outcome.value is not None
    return outcome.value[0]
