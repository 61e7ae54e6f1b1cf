"""The progress of a run, drawn with rich: one line per stage, bars for the work inside."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from densnet_core.workflow.reporter import Advance, Reporter

PLAIN_INTERVAL = 15.0
"""Seconds between lines where there is no terminal to draw a bar in."""
AT_ONCE = 0.2
"""Steps told within so many seconds of the start were done before."""


class RichReporter(Reporter):
    """Draws on stderr, so that stdout stays free for results. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TextColumn("{task.fields[pace]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def stage_current(self, stage: str) -> None:
        self.console.print(f"[green]\u2713[/green] {stage:<10} current")

    def stage_started(self, stage: str, summary: str) -> None:
        self.console.print(f"[blue]\u2022[/blue] {stage:<10} {escape(summary)}")

    def stage_finished(self, stage: str, seconds: float) -> None:
        self._clear()
        self.console.print(f"[green]\u2713[/green] {stage:<10} done in {seconds:.1f} s")

    def note(self, text: str) -> None:
        self.console.print(f"  note: {text}", markup=False, soft_wrap=True)

    def task(self, description: str, total: int) -> Advance:
        self._clear()
        if self.progress.disable:
            return self._plain(description, total)
        bar = self.progress.add_task(description, total=total or None, note="", pace="")
        pace = Pace(total, time.monotonic())

        def advance(done: int, note: str) -> None:
            self.progress.update(bar, completed=done, note=note, pace=pace.told(done, time.monotonic()))

        return advance

    def _clear(self) -> None:
        for task in list(self.progress.task_ids):
            self.progress.remove_task(task)

    def _plain(self, description: str, total: int) -> Advance:
        started = last = time.monotonic()
        pace = Pace(total, started)

        def advance(done: int, note: str) -> None:
            nonlocal last
            now = time.monotonic()
            words = pace.told(done, now)
            if now - last >= PLAIN_INTERVAL or done == total:
                last = now
                of = f"/{total}" if total else ""
                parts = [f"{done}{of} {note}", f"{now - started:.0f} s", *([words] if words else [])]
                self.console.print(f"  {description}: {', '.join(parts)}", markup=False, soft_wrap=True)

        return advance


class Pace:
    """Rate and remaining time of a piece of work.

    What is there at once, because an earlier run did it, does not count as done at this rate.

    Parameters
    ----------
    total : int
        Steps in all; 0 if that is not known.
    started : float
        Clock in seconds.
    """

    def __init__(self, total: int, started: float) -> None:
        self._total = total
        self._since, self._from = started, 0

    def told(self, done: int, now: float) -> str:
        """For example ``0.42/s, 3 min left``; empty while there is nothing to tell."""
        if now - self._since < AT_ONCE and self._from < done:
            self._from = done
        made, seconds = done - self._from, now - self._since
        if made <= 0 or seconds <= 0:
            return ""
        rate = made / seconds
        speed = f"{rate:.3g}/s" if rate >= 0.1 else f"{1 / rate:.3g} s each"
        left = (self._total - done) / rate
        return speed if left <= 0 else f"{speed}, {_spoken(left)} left"


def _spoken(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
