"""The driver of a run: does what is missing, goes on where it was killed, sets aside what is of another configuration.

What there is to do says each stage itself, in a file of its own under ``workflow/stages``; see ``Stage``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from densnet_core.config import Config
from densnet_core.errors import ConfigError, InputError, PluginError, nearest
from densnet_core.plugins.manager import Manager
from densnet_core.workflow.folder import key_of
from densnet_core.workflow.keys import CODE, NEEDS, code_of, differences
from densnet_core.workflow.project import Project
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.stages.base import Stage


@dataclass(frozen=True)
class Verdict:
    """Whether a stage has to be made.

    Parameters
    ----------
    stage : str
    todo : bool or None
        None: that is known when the stages it needs are done.
    reason : str
        For people; empty where it is current.
    another : bool
        What it makes will be another result than the one that is there, so that what inherits from it is made anew.
    """

    stage: str
    todo: bool | None
    reason: str = ""
    another: bool = False


class Run(Project):
    """All stages of one configuration, each done once and never twice.

    >>> run = Run(load_config("water.toml"))
    >>> run.do("spectrum")

    Parameters
    ----------
    config : Config
    reporter : Reporter or None
        Receives the progress.
    manager : Manager or None
        Where components are looked up.
    again : iterable of str
        Stages to make anew although they are current, with those that build on them; what they made is set aside.

    Raises
    ------
    ConfigError
        If the configuration names a component that is not there.
    """

    def __init__(
        self,
        config: Config,
        reporter: Reporter | None = None,
        manager: Manager | None = None,
        again: Iterable[str] = (),
    ) -> None:
        super().__init__(config, reporter, manager)
        self._stages: dict[str, Stage] = {}
        self._keys: dict[str, tuple[str, dict[str, Any]]] = {}
        self._told: set[str] = set()
        self._again, self._made_anew = set(again), set[str]()
        for name in self._again:
            self.stage(name)

    def do(self, *names: str) -> Any:
        """Bring stages, and all that they need, up to date; the result of the last one.

        Raises
        ------
        DenSNetError
            Before anything is computed, as far as what is wrong can be known by then.
        """
        chain = self._chain(names)
        if strangers := self._again - set(chain):
            raise InputError(f"{min(strangers)} is no part of this; what is made is {', '.join(chain)}.")
        with self.folder.locked():
            for early in (True, False):
                for verdict in self.verdicts(*names):
                    if verdict.todo is not False and self.stage(verdict.stage).early == early:
                        self.stage(verdict.stage).prepare(self)
                for name in chain:
                    if self.stage(name).early or not early:
                        self._bring_up(name)
            return self.result(names[-1])

    def result(self, name: str) -> Any:
        """The result of a stage that is current."""
        return self.stage(name).result(self)

    def verdicts(self, *names: str) -> list[Verdict]:
        """What would be done, in order, and why; nothing is computed or written."""
        found: dict[str, Verdict] = {}
        for name in self._chain(names):
            stage = self.stage(name)
            open_needs = [need for need in stage.needs(self) if found[need].todo is not False]
            changed = [need for need in stage.inherits(self) if found[need].another]
            if self.folder.record(name) is None:
                found[name] = Verdict(name, True, "not done yet")
            elif name in self._again or changed:
                reason = f"after {', '.join(changed)}" if changed else "asked for again"
                found[name] = Verdict(name, True, reason, another=True)
            elif open_needs:
                found[name] = Verdict(name, None, f"if {' or '.join(open_needs)} changes what it works on")
            else:
                why = self._reason(name)
                found[name] = Verdict(name, why is not None, why or "", self.folder.key(name) != self.key(name)[0])
        return list(found.values())

    def check(self, *names: str) -> None:
        """Find what would stop stages, quickly; what was made by now is not asked whether it could be."""
        for verdict in self.verdicts(*names):
            if verdict.todo is not False:
                self.stage(verdict.stage).check(self)

    def _bring_up(self, name: str) -> None:
        """What is done for every stage."""
        stage, record = self.stage(name), self.folder.record(name)
        anew = name in self._again or bool(self._made_anew & set(stage.inherits(self)))
        reason = "it is asked for again" if anew else self._reason(name)
        if reason is None:
            self._tell_current(name)
            return
        self._told.add(name)
        if record is not None:
            self.reporter.note(f"{name} is not current: {reason}.")
        self.reporter.stage_started(name, stage.summary(self))
        started, (key, parts) = time.monotonic(), self.key(name)
        stage.ready(self)
        self.folder.begin(name)
        for path, owner in stage.owned(self, key).items():
            aside = self.folder.own(path, None) if anew else None
            if owner is not None:
                aside = self.folder.own(path, owner) or aside
            if aside is not None:
                self.reporter.note(
                    f"{path.name} of {'before' if anew else 'another configuration'} is kept as {aside}."
                )
        left = stage.work(self)
        seconds = time.monotonic() - started
        self.folder.finish(name, key, seconds, parts=parts, left=left)
        self.reporter.stage_finished(name, seconds)
        if anew:
            self._again.discard(name)
            self._made_anew.add(name)

    def _tell_current(self, name: str) -> None:
        if name not in self._told:
            self._told.add(name)
            self.reporter.stage_current(name)
            if remark := self.stage(name).remark(self, (self.folder.record(name) or {}).get("left")):
                self.reporter.note(remark)

    def _reason(self, name: str) -> str | None:
        """Why a stage whose needs are current is not; None if it is."""
        stage, record = self.stage(name), self.folder.record(name)
        if record is None:
            return "not done yet"
        key, parts = self.key(name)
        if record.get("key") != key:
            before = record.get("parts")
            if not isinstance(before, dict):
                return "it was made by a DenSNet that wrote down less"
            return "; ".join(islice(differences(before, parts), 3)) or "it was made by another DenSNet"
        if missing := [path.name for path in stage.outputs(self) if not path.exists()]:
            return f"{missing[0]} is missing"
        return stage.unfinished(self, record.get("left"))

    def key(self, name: str) -> tuple[str, dict[str, Any]]:
        """What the result of a stage depends on: a short name of it, and in full. Its needs must be current."""
        if name not in self._keys:
            stage = self.stage(name)
            code = code_of(self.manager.stages()[name], self.manager)
            needs = {need: self.key(need)[0] for need in stage.inherits(self)}
            own = {} if stage.options is None else {"options": stage.options.model_dump(mode="json")}
            parts = {CODE: code, NEEDS: needs, **own, **stage.key(self)}
            self._keys[name] = (key_of(name, parts), parts)
        return self._keys[name]

    # The stages

    @cached_property
    def everything(self) -> tuple[str, ...]:
        """The stages that ``densnet run`` brings up to date, with all that they need."""
        core = ("evaluate",) if self.data is not None else ("evaluate", "export", "spectrum")
        return (*core, *self.selection.stages)

    def stage(self, name: str) -> Stage:
        """A stage by name.

        Raises
        ------
        InputError
            There is none of this name.
        ConfigError
            It needs a table that the configuration does not have.
        PluginError
            It is broken.
        """
        if name not in self._stages:
            known = self.manager.stages()
            if name not in known:
                raise InputError(f"There is no stage {name!r}. {nearest(name, known)}")
            if known[name].config is not None and name not in self.selection.stages:
                raise ConfigError(f"{self.name}: {name}: missing (the options of this stage; an empty table will do)")
            made = self.manager.load_target(known[name].target, f"stage {name!r}")
            if not (isinstance(made, type) and issubclass(made, Stage) and getattr(made, "name", None) == name):
                raise PluginError(f"The stage {name!r} is broken: {known[name].target} is no Stage of this name.")
            self._stages[name] = made(self.selection.stages.get(name))
        return self._stages[name]

    def _chain(self, names: Sequence[str], around: tuple[str, ...] = ()) -> list[str]:
        """Stages with all that they need, each behind those it needs."""
        found: list[str] = []
        for name in names:
            if name in around:
                raise PluginError(f"The stages {' and '.join(around)} need each other.")
            inner = self._chain(self.stage(name).needs(self), (*around, name))
            found += [one for one in (*inner, name) if one not in found]
        return found
