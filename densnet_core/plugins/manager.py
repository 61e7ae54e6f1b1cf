"""The manager: which components there are, and each as a class and as validated options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from densnet_core.errors import InputError, PluginError, nearest
from densnet_core.options import Options, validate
from densnet_core.plugins.commands import merge_commands
from densnet_core.plugins.component import API_VERSION, Component, Kind
from densnet_core.plugins.discovery import CORE_DISTRIBUTION, Plugin, describe, discover, normalised
from densnet_core.plugins.registry import Registry, load_registry
from densnet_core.plugins.status import (
    FAILED_PLUGIN,
    ComponentStatus,
    failed_row,
    installed_row,
    missing_requirements,
    registry_row,
)

if TYPE_CHECKING:
    import typer

ALLOW_VARIABLE: Final = "DENSNET_PLUGINS"

_INTERFACES: Final[Mapping[Kind, str]] = {
    Kind.BASIS: "densnet_core.basis.base:Basis",
    Kind.REFERENCE: "densnet_core.reference.base:ReferenceBackend",
    Kind.BACKBONE: "densnet_core.models.backbone:Backbone",
    Kind.DENSITY_MODEL: "densnet_core.models.density:DensityModel",
    Kind.ENERGY_MODEL: "densnet_core.models.energy:EnergyModel",
    Kind.MD_ENGINE: "densnet_core.md.base:MDEngine",
    Kind.SAMPLER: "densnet_core.sampling.base:Sampler",
    Kind.EXECUTOR: "densnet_core.reference.executors:Executor",
}


@dataclass
class _Offers:
    """Every offer of one kind and name: the plugins that make it, with their records."""

    usable: list[tuple[Plugin, Component]] = field(default_factory=list)
    refused: list[tuple[Plugin, Component]] = field(default_factory=list)


class Manager:
    """Knows every component of the installed plugins and of the registry.

    Parameters
    ----------
    registry : Registry or None
        None: the one that ships with the core.
    environment : mapping or None
        Where ``DENSNET_PLUGINS`` is read: a comma-separated allow-list of distributions or entry points (unset: all).
        The core's own components always load. None: ``os.environ``.
    """

    def __init__(self, registry: Registry | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.registry = load_registry() if registry is None else registry
        allowed = (os.environ if environment is None else environment).get(ALLOW_VARIABLE)
        self.allowed = None if allowed is None else [name.strip() for name in allowed.split(",") if name.strip()]
        self.plugins = discover(self._blocked)
        self._offers: dict[tuple[Kind, str], _Offers] = {}
        for plugin in self.plugins:
            for component in plugin.components:
                offers = self._offers.setdefault((Kind(component.kind), component.name), _Offers())
                (offers.usable if _same_interface(component) else offers.refused).append((plugin, component))

    def _blocked(self, distribution: str, entry_point: str) -> str | None:
        name = normalised(distribution)
        if name == CORE_DISTRIBUTION:
            return None
        if self.allowed is not None and not {name, normalised(entry_point)} & set(map(normalised, self.allowed)):
            return f"not among those that {ALLOW_VARIABLE}={','.join(self.allowed)} allows"
        policy = self.registry.policy.allow
        if policy is not None and name not in set(map(normalised, policy)):
            return "not among those that [policy] allow of registry.toml allows"
        return None

    def unmatched_allowances(self) -> list[str]:
        """Names in ``DENSNET_PLUGINS`` that are neither a distribution with plugins nor an entry point."""
        answered = {normalised(name) for plugin in self.plugins for name in (plugin.distribution, plugin.name)}
        return [name for name in self.allowed or () if normalised(name) not in answered]

    def components(self, kind: Kind | None = None) -> list[Component]:
        """The components that can be found, by kind and name."""
        found = [offers.usable[0][1] for offers in self._offers.values() if len(offers.usable) == 1]
        order = list(Kind)
        chosen = [component for component in found if kind is None or component.kind == kind]
        return sorted(chosen, key=lambda component: (order.index(component.kind), component.name))

    def find(self, kind: Kind, name: str) -> Component:
        """The component of this kind and name.

        Raises
        ------
        PluginError
            It is not installed (with the line that installs it), its plugin is broken or blocked, it was made for
            another plugin interface, or two distributions offer it.
        InputError
            Nobody knows it; the message has the nearest names.
        """
        offers = self._offers.get((kind, name), _Offers())
        if len(offers.usable) == 1:
            return offers.usable[0][1]
        what = f"{_words(kind)} {name!r}"
        if offers.usable:
            raise PluginError(
                f"The {what} is offered by {_both(offers)}. Uninstall one of them, or name the plugins to load in "
                f"{ALLOW_VARIABLE}."
            )
        if offers.refused:
            raise PluginError(f"The {what} cannot be used: {_refusal(*offers.refused[0])}.")
        entry = self.registry.get(kind, name)
        if entry is None:
            raise InputError(self._unknown(kind, name, what))
        problem = next((p.problem for p in self._of(entry.distribution) if p.problem), None)
        if problem:
            raise PluginError(f"The {what} of {entry.distribution} cannot be used, its plugin is {problem}.")
        if self._of(entry.distribution):
            raise PluginError(
                f"The installed version of {entry.distribution} does not offer the {what}. "
                f"Upgrade it: {entry.install} --upgrade"
            )
        raise PluginError(f"The {what} is not installed. Install it with: {entry.install}")

    def _of(self, distribution: str) -> list[Plugin]:
        return [plugin for plugin in self.plugins if normalised(plugin.distribution) == normalised(distribution)]

    def _unknown(self, kind: Kind, name: str, what: str) -> str:
        known = {component.name for component in self.components(kind)} | set(self.registry.names(kind))
        message = f"There is no {what}. {nearest(name, known)}"
        suspects = [f"{p.distribution} ({p.problem})" for p in self.plugins if p.problem]
        return f"{message} Some plugins could not be loaded: {'; '.join(suspects)}." if suspects else message

    def load(self, component: Component) -> type[Any]:
        """The class of a component.

        Raises
        ------
        PluginError
            A module or program that it needs is missing, its import fails, or it does not implement the interface of
            its kind.
        """
        missing = missing_requirements(component)
        what = f"{_words(component.kind)} {component.name!r}"
        if missing:
            raise PluginError(f"The {what} needs {', '.join(missing)}. Install it with: {component.install}")
        target = self._import(component.target, what)
        interface = _INTERFACES[component.kind]
        if not isinstance(target, type) or not issubclass(target, self._import(interface, what)):
            raise PluginError(f"The {what} is broken: {component.target} is not a subclass of {interface}.")
        return target

    def options_model(self, component: Component) -> type[Options]:
        """The pydantic model of a component's options; ``PluginError`` if it cannot be imported."""
        what = f"{_words(component.kind)} {component.name!r}"
        model = self._import(component.config, what)
        if not isinstance(model, type) or not issubclass(model, Options):
            raise PluginError(
                f"The {what} is broken: {component.config} is not a subclass of densnet_core.options.Options."
            )
        return model

    def options(
        self,
        component: Component,
        table: Mapping[str, Any],
        where: str = "",
        base: Path | None = None,
        also_known: Iterable[str] = (),
    ) -> Options:
        """The validated options of a component.

        Parameters
        ----------
        component : Component
        table : mapping
            As read from TOML.
        where : str
            File and path of the table for messages, for example ``"water.toml: reference.options"``.
        base : Path or None
            Folder that relative paths in the table are meant from.
        also_known : iterable of str
            Keys of the same table that are not the component's.

        Raises
        ------
        ConfigError
            One line per problem; unknown keys come with suggestions.
        """
        prefix = f"{where}." if where else ""
        return validate(self.options_model(component), table, prefix, base, also_known)

    def _import(self, path: str, what: str) -> Any:
        module, _, attribute = path.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"The {what} is broken, {path} cannot be imported: {describe(error)}.") from error

    def status(self) -> list[ComponentStatus]:
        """What is known about every component, of installed plugins and of the registry, by kind and name."""
        rows = [
            installed_row(plugin, component, _refusal_or_conflict(offers, plugin, component))
            for offers in self._offers.values()
            for plugin, component in [*offers.usable, *offers.refused]
        ]
        listed = {(row.kind, row.name) for row in rows}
        rows += [
            registry_row(entry, next(iter(self._of(entry.distribution)), None))
            for entry in self.registry.component
            if (entry.kind, entry.name) not in listed
        ]
        known = {normalised(entry.distribution) for entry in self.registry.component}
        rows += [failed_row(p) for p in self.plugins if p.problem and normalised(p.distribution) not in known]
        order = [*map(str, Kind), FAILED_PLUGIN]
        return sorted(rows, key=lambda row: (order.index(row.kind), row.name, row.distribution))

    def add_commands(self, app: typer.Typer, taken: Iterable[str]) -> list[str]:
        """Let the plugins add their verbs to ``app``.

        A plugin that fails, or names a verb among ``taken``, is left out; the returned sentences say so.
        """
        return merge_commands(app, self.plugins, taken)


@cache
def get_manager() -> Manager:
    """The manager of this process."""
    return Manager()


def _words(kind: Kind) -> str:
    return str(kind).replace("_", " ")


def _same_interface(component: Component) -> bool:
    return component.api.partition(".")[0] == API_VERSION.partition(".")[0]


def _refusal(plugin: Plugin, component: Component) -> str:
    return (
        f"{plugin.distribution} {plugin.version} was made for version {component.api} of the plugin interface, and "
        f"this core has {API_VERSION}; install matching versions of {plugin.distribution} and {CORE_DISTRIBUTION}"
    )


def _both(offers: _Offers) -> str:
    return " and ".join(f"{plugin.distribution} {plugin.version}" for plugin, _ in offers.usable)


def _refusal_or_conflict(offers: _Offers, plugin: Plugin, component: Component) -> str | None:
    if not _same_interface(component):
        return f"refused: {_refusal(plugin, component)}"
    return f"conflict: offered by {_both(offers)}" if len(offers.usable) > 1 else None
