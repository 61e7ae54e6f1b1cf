"""The lines of ``densnet plugins``: every known component and what state it is in."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from shutil import which

from densnet_core.plugins.component import Component
from densnet_core.plugins.discovery import Plugin
from densnet_core.plugins.hookspecs import Record
from densnet_core.plugins.records import FAILED_PLUGIN, key
from densnet_core.plugins.registry import RegistryEntry


@dataclass(frozen=True)
class ComponentStatus:
    """One component, or a kind, quantity or objective that a plugin brings.

    ``status`` begins with one of: ``ok``, ``not installed``, ``not offered`` (by the installed version), ``missing``
    (a module or program it needs), ``broken``, ``blocked``, ``refused`` (made for another plugin interface, of an
    unknown kind, or with a name that is the core's), ``conflict``. ``kind`` is ``"kind"``, ``"quantity"`` or
    ``"objective"`` for what is no component, and ``"plugin"`` for a plugin that could not be loaded.
    """

    kind: str
    name: str
    distribution: str
    version: str | None
    status: str
    install: str | None
    summary: str


def missing_requirements(component: Component) -> list[str]:
    """Modules and programs that a component needs and that are not there."""
    missing = []
    for requirement in component.requires:
        program = requirement.removeprefix("!")
        if program != requirement:
            if which(program) is None:
                missing.append(f"the program {program}")
        elif not _importable(requirement.partition(".")[0]):
            missing.append(f"the Python package {requirement}")
    return missing


def _importable(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a finder that refuses the package, or one half imported
        return False


def installed_row(plugin: Plugin, record: Record, problem: str | None) -> ComponentStatus:
    """Something that a loaded plugin announces; ``problem`` overrides what the requirements of a component say."""
    kind, name = key(record)
    missing = missing_requirements(record) if isinstance(record, Component) else []
    return ComponentStatus(
        kind=kind,
        name=name,
        distribution=plugin.distribution,
        version=plugin.version,
        status=problem or (f"missing: {', '.join(missing)}" if missing else "ok"),
        install=record.install if isinstance(record, Component) else None,
        summary=record.summary,
    )


def registry_row(entry: RegistryEntry, plugin: Plugin | None) -> ComponentStatus:
    """A component that only the manifest knows; ``plugin`` is one of its distribution, if that is installed."""
    return ComponentStatus(
        kind=str(entry.kind),
        name=entry.name,
        distribution=entry.distribution,
        version=plugin.version if plugin else None,
        status=plugin.problem or "not offered by the installed version" if plugin else "not installed",
        install=entry.install,
        summary=entry.summary,
    )


def failed_row(plugin: Plugin) -> ComponentStatus:
    """A plugin that was not loaded and that the manifest does not know."""
    return ComponentStatus(
        kind=FAILED_PLUGIN,
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        status=plugin.problem or "ok",
        install=None,
        summary="",
    )
