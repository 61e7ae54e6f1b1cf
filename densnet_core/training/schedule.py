"""Length of a training and the learning rate of each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Any, Final, Literal

ScheduleName = Literal["cosine", "plateau", "constant"]
LOWEST: Final = 0.01
"""The part of the learning rate that cosine and plateau end at."""
PLATEAU: Final = 5
"""Validations without a better one after which ``plateau`` halves the learning rate."""


@dataclass(frozen=True)
class LoopOptions:
    """Length and schedule of a training run.

    Parameters
    ----------
    steps : int
    learning_rate : float
        The largest, reached after the warm-up.
    ema_decay : float
        Per step; the averaged parameters are what is validated and kept.
    checkpoint_every, validate_every : int
        Steps.
    gradient_clip : float
        Largest norm of the gradient.
    schedule : {"cosine", "plateau", "constant"}
        After the warm-up: half a cosine down to 1 % of the rate; halved whenever five validations in a row were no
        better than the best, down to 1 %; or as it is.
    warm_up : int or None
        Steps over which the rate rises linearly; None: 2 % of all.
    patience : int or None
        Validations in a row without a better one after which the training ends; None: never.
    """

    steps: int
    learning_rate: float
    ema_decay: float = 0.99
    checkpoint_every: int = 200
    validate_every: int = 200
    gradient_clip: float = 1.0
    schedule: ScheduleName = "cosine"
    warm_up: int | None = None
    patience: int | None = None


class Schedule:
    """The learning rate as a function of the step and of the validations so far.

    Parameters
    ----------
    options : LoopOptions
    """

    def __init__(self, options: LoopOptions) -> None:
        self.options = options
        self.factor = 1.0
        self.waited = 0
        self.waited_at_rate = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        options = self.options
        warm = max(1, options.steps // 50) if options.warm_up is None else options.warm_up
        if step < warm:
            return options.learning_rate * (step + 1) / warm
        if options.schedule == "cosine":
            done = (step - warm) / max(1, options.steps - warm)
            return options.learning_rate * (LOWEST + (1.0 - LOWEST) * 0.5 * (1.0 + cos(pi * done)))
        return options.learning_rate * self.factor

    def validated(self, better: bool) -> None:
        """A validation was the best so far, or not."""
        self.waited = 0 if better else self.waited + 1
        self.waited_at_rate = 0 if better else self.waited_at_rate + 1
        if self.options.schedule == "plateau" and self.waited_at_rate >= PLATEAU:
            self.factor, self.waited_at_rate = max(0.5 * self.factor, LOWEST), 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.options.patience is not None and self.waited >= self.options.patience

    def state_dict(self) -> dict[str, Any]:
        """What has to be remembered, as plain numbers."""
        return {"factor": self.factor, "waited": self.waited, "waited_at_rate": self.waited_at_rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.factor = float(state["factor"])
        self.waited, self.waited_at_rate = int(state["waited"]), int(state["waited_at_rate"])
