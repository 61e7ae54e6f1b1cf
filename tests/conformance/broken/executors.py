"""Executors with one mistake each: what the suite for executors is tested on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import Any

from densnet_core.errors import DenSNetError, InputError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.executors import Executor, Outcome
from densnet_core.reference.local import LocalExecutor

Outcomes = Generator[Outcome[Any], None, None]


class Working(Executor):
    """The executor of this machine: as it should be."""

    def inner(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        return LocalExecutor(LocalExecutorOptions(workers=2)).map(function, tasks)

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        yield from self.inner(function, tasks)


class DropsATask(Working):
    """The fourth task is never heard of again."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        yield from (outcome for outcome in self.inner(function, tasks) if outcome.index != 3)


class TellsOneTwice(Working):
    """The outcome of the fourth task comes twice."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        for outcome in self.inner(function, tasks):
            yield outcome
            if outcome.index == 3:
                yield outcome


class StopsAtTheFirstFailure(Working):
    """An error ends everything."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        for outcome in self.inner(function, tasks):
            yield outcome
            if outcome.error is not None:
                return


class RaisesTheFirstFailure(Working):
    """An error is raised instead of reported."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        for outcome in self.inner(function, tasks):
            if outcome.error is not None:
                raise outcome.error
            yield outcome


class NumbersAsTheyCome(Working):
    """Indices in the order of completion."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        for index, outcome in enumerate(self.inner(function, tasks)):
            yield replace(outcome, index=index)


class RunsHere(Executor):
    """In this process."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        for index, task in enumerate(tasks):
            try:
                yield Outcome(index, function(task), None, 1.0)
            except Exception as error:
                yield Outcome(index, None, error if isinstance(error, DenSNetError) else InputError(repr(error)), 1.0)


class ForgetsTheTypeOfErrors(Working):
    """Every error is the same."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        for outcome in self.inner(function, tasks):
            yield outcome if outcome.error is None else replace(outcome, error=DenSNetError("something failed"))


class ReadsEverythingFirst(Working):
    """A list of all tasks before the first is begun."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        yield from self.inner(function, list(tasks))


class WaitsForTheLast(Working):
    """Hands over outcomes at the very end."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        # As if it had no more than what two workers hold.
        yield from list(self.inner(function, tasks))


class WorksOnce(Working):
    """Worn out after the first call."""

    used = False

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        if self.used:
            return
        self.used = True
        yield from self.inner(function, tasks)


class HidesWhatItCannotSend(Working):
    """No outcome instead of a refusal."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Outcomes:
        try:
            outcomes = self.inner(function, tasks)
        except InputError:
            return
        yield from outcomes


BROKEN = {
    DropsATask: "test_every_task_has_one_outcome_under_its_index",
    TellsOneTwice: "test_every_task_has_one_outcome_under_its_index",
    StopsAtTheFirstFailure: "test_an_error_stops_no_other_task",
    RaisesTheFirstFailure: "test_a_process_that_is_killed_costs_its_own_task_only",
    NumbersAsTheyCome: "test_indices_are_those_of_the_tasks_whatever_the_order_of_completion",
    RunsHere: "test_tasks_run_outside_this_process",
    ForgetsTheTypeOfErrors: "test_an_error_stops_no_other_task",
    ReadsEverythingFirst: "test_tasks_are_read_as_workers_become_free",
    WaitsForTheLast: "test_outcomes_come_before_the_last_task_is_done",
    WorksOnce: "test_it_can_be_used_again",
    HidesWhatItCannotSend: "test_a_function_that_workers_cannot_import_is_refused",
}
"""Each with the test that it fails."""
