"""Finds the installed plugins, loads each in isolation and checks what it announces.

Ours instead of pluggy's own entry-point loading, which skips the second of two plugins of one name in silence, aborts
everything at the first ImportError and ignores a function that is not marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

import densnet_core
from densnet_core.errors import PluginError, nearest
from densnet_core.plugins import hookspecs
from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.hookspecs import ENTRY_POINT_GROUP, HOOKS, PROJECT

CORE_DISTRIBUTION: Final = "densnet-core"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_API = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Plugin:
    """One entry point and what came of loading it.

    Parameters
    ----------
    name : str
        Name of the entry point.
    distribution, version : str
        The distribution that declares it.
    components : tuple of Component
    commands : tuple of callables
        Implementations of ``densnet_commands``.
    problem : str or None
        ``"broken: ..."`` or ``"blocked: ..."``; None if it was loaded.
    """

    name: str
    distribution: str
    version: str
    components: tuple[Component, ...] = ()
    commands: tuple[Callable[..., object], ...] = ()
    problem: str | None = None


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
    if reason := blocked(distribution, entry.name):
        return Plugin(entry.name, distribution, version, problem=f"blocked: {reason}")
    try:
        components, commands = _inspect(entry.load())
    except (PluginError, pluggy.PluginValidationError) as error:
        return Plugin(entry.name, distribution, version, problem=f"broken: {' '.join(str(error).split())}")
    except (Exception, SystemExit) as error:
        return Plugin(entry.name, distribution, version, problem=f"broken: {describe(error)}")
    return Plugin(entry.name, distribution, version, components, commands)


def _inspect(plugin: object) -> tuple[tuple[Component, ...], tuple[Callable[..., object], ...]]:
    manager = pluggy.PluginManager(PROJECT)  # one each, so that a bad plugin leaves nothing behind
    manager.add_hookspecs(hookspecs)
    _check_hooks(plugin, manager)
    manager.register(plugin)  # compares the arguments of the hooks
    manager.check_pending()
    announced = [component for components in manager.hook.densnet_components() for component in components]
    commands = tuple(hook.function for hook in manager.hook.densnet_commands.get_hookimpls())
    return tuple(_checked(component) for component in announced), commands


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
        raise PluginError(f"it implements none of the hooks {' and '.join(HOOKS)}.")


def _is_own_function(plugin: Any, name: str) -> bool:
    value = getattr(plugin, name, None)
    home = getattr(plugin, "__name__", type(plugin).__module__)
    return callable(value) and not isinstance(value, type) and getattr(value, "__module__", None) == home


def _checked(component: object) -> Component:
    if not isinstance(component, Component):
        raise PluginError(f"densnet_components returned {component!r}; expected densnet_core.plugins.Component.")
    problems: Iterable[tuple[bool, str]] = (
        (
            component.kind in tuple(Kind),
            f"kind {component.kind!r} is unknown. {nearest(str(component.kind), map(str, Kind))}",
        ),
        (_matches(_NAME, component.name), f"name {component.name!r} is not a plain word."),
        (_matches(_TARGET, component.target), f"target {component.target!r} is not of the form package.module:Class."),
        (_matches(_TARGET, component.config), f"config {component.config!r} is not of the form package.module:Model."),
        (_matches(_API, component.api), f"api {component.api!r} is not of the form '1.0'."),
    )
    for fine, problem in problems:
        if not fine:
            raise PluginError(f"component {component.name!r}: {problem}")
    return component


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
