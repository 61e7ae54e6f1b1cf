"""Whose defect an unexpected exception is: the plugin in whose code it was raised, if that is not the core's."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from densnet_core.plugins.component import Component
from densnet_core.plugins.discovery import Plugin
from densnet_core.plugins.origin import report_address

_CORE = "densnet_core"


@dataclass(frozen=True)
class Blame:
    """The plugin in whose code an exception was raised.

    Parameters
    ----------
    plugin : Plugin
    component : Component or None
        The component that was at work, where that can be told.
    place : str
        File and line.
    """

    plugin: Plugin
    component: Component | None
    place: str

    def __str__(self) -> str:
        """For example ``the plugin densnet-rattle 0.1.0 (sampler 'rattle', densnet_rattle/sampler.py line 12)``."""
        what = f"{self.component.kind} {self.component.name!r}, ".replace("_", " ") if self.component else ""
        return f"the plugin {self.plugin} ({what}{self.place})"

    @property
    def advice(self) -> str:
        """A sentence that says where to report it."""
        address = report_address(self.plugin)
        return f"Report it to the authors of {self.plugin.distribution}" + (f": {address}" if address else "") + "."


def blame(error: BaseException, plugins: Iterable[Plugin]) -> Blame | None:
    """Whose defect an exception is; None for the core's own.

    It is that of the innermost frame that is code of a plugin: what a plugin calls, in the core or in a library, fails
    on what the plugin gives it.
    """
    known = list(plugins)
    frames = [
        (frame, line, plugin)
        for frame, line in _innermost_first(error)
        if (plugin := owner(str(frame.f_globals.get("__name__", "")), known)) is not None
    ]
    if not frames:
        return None
    frame, line, guilty = frames[0]
    file = Path(frame.f_code.co_filename)
    place = f"{file.parent.name}/{file.name} line {line}"
    return Blame(guilty, _component(guilty, [frame for frame, _, plugin in frames if plugin is guilty]), place)


def owner(module: str, plugins: Iterable[Plugin]) -> Plugin | None:
    """The plugin whose code a module is, other than the core: it shares most of its path with what that announces."""
    parts = module.split(".")
    if parts[0] in (_CORE, "") or parts[0] in sys.stdlib_module_names:
        return None
    best: tuple[int, Plugin | None] = (0, None)
    for plugin in plugins:
        shared = 0 if plugin.of_the_core else max(_shared(parts, known) for known in _modules(plugin))
        if shared > best[0]:
            best = (shared, plugin)
    return best[1]


def _modules(plugin: Plugin) -> Iterator[str]:
    yield plugin.module
    for component in plugin.components:
        yield component.target.partition(":")[0]


def _shared(parts: list[str], module: str) -> int:
    """How many leading names two modules share."""
    count = 0
    for own, known in zip(parts, module.split("."), strict=False):
        if own != known:
            break
        count += 1
    return count


def _innermost_first(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    yield from reversed(frames)


def _component(plugin: Plugin, frames: list[FrameType]) -> Component | None:
    """The component whose class is at work in one of the frames, or whose module alone is."""
    for frame in frames:
        lineage = [f"{one.__module__}:{one.__qualname__}" for one in _class_at_work(frame).__mro__]
        of_class = [component for component in plugin.components if component.target in lineage]
        if of_class:
            return min(of_class, key=lambda component: lineage.index(component.target))
    modules = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    of_module = [c for module in modules for c in plugin.components if c.target.partition(":")[0] == module]
    if len(set(of_module)) == 1:
        return of_module[0]
    return plugin.components[0] if len(plugin.components) == 1 else None


def _class_at_work(frame: FrameType) -> type[Any]:
    return type(frame.f_locals.get("self"))
