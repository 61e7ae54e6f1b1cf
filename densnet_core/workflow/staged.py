"""What is done in stages, each once: what is current is skipped, results of other configurations are set aside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from pathlib import Path
from typing import TypeVar

from densnet_core.workflow.folder import RunFolder
from densnet_core.workflow.reporter import Reporter

Owner = TypeVar("Owner", bound="Staged")
Result = TypeVar("Result")


def alone(stage: Callable[[Owner], Result]) -> Callable[[Owner], Result]:
    """A stage during which no other process works in the same directory."""

    @wraps(stage)
    def carry_out(run: Owner) -> Result:
        with run.folder.locked():
            return stage(run)

    return carry_out


class Staged:
    """The stages of one configuration in its folder.

    Parameters
    ----------
    folder : RunFolder
    reporter : Reporter
        Receives the progress.
    """

    def __init__(self, folder: RunFolder, reporter: Reporter) -> None:
        self.folder, self.reporter = folder, reporter
        self._told: set[str] = set()
        self._incomplete: dict[str, str] = {}

    @cached_property
    def _keys(self) -> dict[str, str]:
        """What the result of each stage depends on."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """What has to be in order before the first stage begins."""

    @contextmanager
    def _stage(self, name: str, summary: str) -> Iterator[None]:
        self._prepare()
        self._told.add(name)
        self.reporter.stage_started(name, summary)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.folder.finish(name, self._incomplete.get(name, self._keys[name]), seconds)
        self.reporter.stage_finished(name, seconds)

    def _is_current(self, name: str, *results: Path, key: str | None = None) -> bool:
        current = self.folder.is_current(name, key or self._keys[name], *results)
        if current and name not in self._told:
            self._told.add(name)
            self.reporter.stage_current(name)
        return current

    def _own(self, path: Path, stage: str) -> None:
        aside = self.folder.own(path, self._keys[stage])
        if aside is not None:
            self.reporter.note(f"{path.name} of another configuration is kept as {aside}.")
