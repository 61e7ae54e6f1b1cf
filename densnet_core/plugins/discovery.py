"""Finds the installed plugins, loads each in isolation and checks what it announces.

Ours instead of pluggy's own entry-point loading, which skips the second of two plugins of one name in silence, aborts
everything at the first ImportError and ignores a function that is not marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

import densnet_core
from densnet_core.errors import PluginError, nearest
from densnet_core.plugins import hookspecs
from densnet_core.plugins.component import Component
from densnet_core.plugins.hookspecs import ENTRY_POINT_GROUP, HOOKS, PROJECT, RECORD_HOOKS, Record
from densnet_core.plugins.records import checked

CORE_DISTRIBUTION: Final = "densnet-core"


@dataclass(frozen=True)
class Plugin:
    """One entry point and what came of loading it.

    Parameters
    ----------
    name : str
        Name of the entry point.
    distribution, version : str
        The distribution that declares it.
    module : str
        The module that the entry point names.
    records : tuple of Record
        What its hooks return, each record checked by itself.
    commands : tuple of callables
        Implementations of ``densnet_commands``.
    problem : str or None
        ``"broken: ..."`` or ``"blocked: ..."``; None if it was loaded.
    """

    name: str
    distribution: str
    version: str
    module: str
    records: tuple[Record, ...] = ()
    commands: tuple[Callable[..., object], ...] = ()
    problem: str | None = None

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(record for record in self.records if isinstance(record, Component))

    @property
    def of_the_core(self) -> bool:
        return normalised(self.distribution) == CORE_DISTRIBUTION

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def normalised(name: str) -> str:
    """A distribution name as packaging compares it: ``DenSNet_PySCF`` is ``densnet-pyscf``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def describe(error: BaseException) -> str:
    """One line with type and message of an exception of somebody else's code."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def discover(blocked: Callable[[str, str], str | None]) -> list[Plugin]:
    """Every installed plugin, in the order of distribution and entry-point name.

    Parameters
    ----------
    blocked : callable
        From distribution and entry-point name to the reason why it may not load, or None. A blocked plugin is not
        imported.
    """
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (*_origin(entry), entry.name))
    return [_load(entry, blocked) for entry in found]


def _origin(entry: EntryPoint) -> tuple[str, str]:
    distribution = entry.dist
    if distribution is None:
        return entry.module.partition(".")[0], "unknown"
    name = distribution.name
    # An editable installation keeps the metadata of the day it was made; the core knows its own version better.
    return name, densnet_core.__version__ if normalised(name) == CORE_DISTRIBUTION else distribution.version


def _load(entry: EntryPoint, blocked: Callable[[str, str], str | None]) -> Plugin:
    distribution, version = _origin(entry)
    empty = Plugin(entry.name, distribution, version, entry.module)
    if reason := blocked(distribution, entry.name):
        return replace(empty, problem=f"blocked: {reason}")
    try:
        records, commands = _inspect(entry.load())
    except (PluginError, pluggy.PluginValidationError) as error:
        return replace(empty, problem=f"broken: {' '.join(str(error).split())}")
    except (Exception, SystemExit) as error:
        return replace(empty, problem=f"broken: {describe(error)}")
    return replace(empty, records=records, commands=commands)


def _inspect(plugin: object) -> tuple[tuple[Record, ...], tuple[Callable[..., object], ...]]:
    manager = pluggy.PluginManager(PROJECT)  # one each, so that a bad plugin leaves nothing behind
    manager.add_hookspecs(hookspecs)
    _check_hooks(plugin, manager)
    manager.register(plugin)  # compares the arguments of the hooks
    manager.check_pending()
    records = tuple(checked(hook, record) for hook in RECORD_HOOKS for record in _returned(manager, hook))
    return records, tuple(hook.function for hook in manager.hook.densnet_commands.get_hookimpls())


def _returned(manager: pluggy.PluginManager, hook: str) -> Iterator[object]:
    """What the implementation of a hook returns; pluggy's own call would leave out a None without a word."""
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        returned = implementation.function()
        if not isinstance(returned, Iterable) or isinstance(returned, str):
            raise PluginError(f"{hook} returned {returned!r}; expected a list of records.")
        yield from returned


def _check_hooks(plugin: Any, manager: pluggy.PluginManager) -> None:
    """Catch what pluggy would ignore: unmarked hooks, hooks of another name, no hook at all."""
    implemented = 0
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is not None:
            hook = options.get("specname") or name
            if hook not in HOOKS:
                raise PluginError(f"it implements {hook}, which is not a hook. {nearest(hook, HOOKS)}")
            implemented += 1
        elif name.startswith(f"{PROJECT}_") and _is_own_function(plugin, name):
            if name in HOOKS:
                raise PluginError(f"{name} is not marked; put @hookimpl of densnet_core.plugins before it.")
            raise PluginError(f"it defines {name}, which is not a hook. {nearest(name, HOOKS)}")
    if not implemented:
        raise PluginError(f"it implements none of the hooks {', '.join(HOOKS)}.")


def _is_own_function(plugin: Any, name: str) -> bool:
    value = getattr(plugin, name, None)
    home = getattr(plugin, "__name__", type(plugin).__module__)
    return callable(value) and not isinstance(value, type) and getattr(value, "__module__", None) == home
