"""The progress of a run, drawn with rich: one line per stage, bars for the work inside."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from densnet_core.workflow.reporter import Advance, Reporter

PLAIN_INTERVAL = 15.0
"""Seconds between lines where there is no terminal to draw a bar in."""


class RichReporter(Reporter):
    """Draws on stderr, so that stdout stays free for results. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
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
        bar = self.progress.add_task(description, total=total or None, note="")
        return lambda done, note: self.progress.update(bar, completed=done, note=note)

    def _clear(self) -> None:
        for task in list(self.progress.task_ids):
            self.progress.remove_task(task)

    def _plain(self, description: str, total: int) -> Advance:
        started = last = time.monotonic()

        def advance(done: int, note: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= PLAIN_INTERVAL or done == total:
                last = now
                of = f"/{total}" if total else ""
                self.console.print(
                    f"  {description}: {done}{of} {note}, {now - started:.0f} s", markup=False, soft_wrap=True
                )

        return advance
