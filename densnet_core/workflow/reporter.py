"""What a run tells about itself while it works; the command line draws it, a script may ignore it."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[int, str], None]
"""Called with the number of steps done so far and a short note."""


class Reporter:
    """Receives the progress of a run. This one keeps silent; subclass it to show or log what happens."""

    def stage_current(self, stage: str) -> None:
        """A stage needs nothing: its results are there and belong to this configuration."""

    def stage_started(self, stage: str, summary: str) -> None:
        """A stage begins or goes on; ``summary`` says with what."""

    def stage_finished(self, stage: str, seconds: float) -> None:
        """A stage is done."""

    def note(self, text: str) -> None:
        """Something the user should know, one sentence."""

    def task(self, description: str, total: int) -> Advance:
        """A piece of work of ``total`` steps begins; the result reports its progress."""
        return lambda done, note: None
