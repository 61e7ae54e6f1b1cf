"""What every stage of a run declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from densnet_core.workflow.project import Project


class Stage(ABC):
    """One stage of a run. The driver asks it for these things and does the rest: see ``densnet_core.workflow.run``.

    Parameters
    ----------
    options : object or None
        The validated table of the configuration, of a stage that brings one.
    """

    name: ClassVar[str]
    """The name under which the stage is announced."""

    def __init__(self, options: Any = None) -> None:
        self.options = options

    early: ClassVar[bool] = False
    """True if the other stages cannot be checked before this one is done."""

    def needs(self, run: Project) -> tuple[str, ...]:
        """The stages whose results it works on."""
        return ()

    def inherits(self, run: Project) -> tuple[str, ...]:
        """The stages among them with whose key its own changes: all of them, unless ``key`` says it more finely."""
        return self.needs(run)

    @abstractmethod
    def outputs(self, run: Project) -> tuple[Path, ...]:
        """The files, folders and stores that are there when it is done; the first is its result."""

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        """What is set aside if it belongs to another configuration, with the key that says to which it belongs.

        None stands for what serves any configuration and is set aside only where the stage is to be made again.
        """
        return dict.fromkeys(self.outputs(run), key)

    def key(self, run: Project) -> dict[str, Any]:
        """Everything else that its result depends on, as plain data; the code of the stage itself is added to it."""
        return {}

    def check(self, run: Project) -> None:  # noqa: B027  many have nothing to check
        """Find what would stop it before anything is computed: quickly, as for ``densnet config check``."""

    def prepare(self, run: Project) -> None:
        """The same, when it is going to be made: for this, seconds may be spent."""
        self.check(run)

    def ready(self, run: Project) -> None:  # noqa: B027  for most there is nothing left to check
        """The last check, with the results of its needs, before what belongs to another configuration is set aside."""

    def unfinished(self, run: Project, left: Any) -> str | None:
        """Why to go on although it was finished; ``left`` is what ``work`` returned then. None: there is no reason."""
        return None

    def remark(self, run: Project, left: Any) -> str | None:
        """What the user should know of it although it is current, from what ``work`` returned; None: nothing."""
        return None

    def summary(self, run: Project) -> str:
        """With what it begins or goes on, for people."""
        return self.name

    @abstractmethod
    def work(self, run: Project) -> Any:
        """Make the outputs, or go on where an earlier call was killed.

        Returns
        -------
        plain data or None
            What is left to be done, for ``unfinished``.
        """

    def result(self, run: Project) -> Any:
        """What a script gets: by default the path of the first output."""
        return self.outputs(run)[0]
