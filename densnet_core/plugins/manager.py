"""The manager: which components and quantities there are, and each component as a class and as validated options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from densnet_core.errors import InputError, PluginError, nearest
from densnet_core.options import Options, validate
from densnet_core.plugins.blame import owner
from densnet_core.plugins.commands import merge_commands
from densnet_core.plugins.component import Component, Kind, KindDescription, StageDescription
from densnet_core.plugins.discovery import CORE_DISTRIBUTION, Plugin, describe, discover, normalised
from densnet_core.plugins.hookspecs import Record
from densnet_core.plugins.offers import Offers, collect
from densnet_core.plugins.origin import Origin, origin_of
from densnet_core.plugins.quantity import Objective, Quantity
from densnet_core.plugins.records import OBJECTIVE, QUANTITY, RESERVED, key
from densnet_core.plugins.registry import Registry, load_registry
from densnet_core.plugins.status import (
    ComponentStatus,
    failed_row,
    installed_row,
    missing_requirements,
    registry_row,
)

if TYPE_CHECKING:
    import typer

ALLOW_VARIABLE: Final = "DENSNET_PLUGINS"


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
        self._offers = collect(self.plugins)
        self._origins: dict[int, Origin] = {}

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

    def components(self, kind: str | None = None) -> list[Component]:
        """The components that can be found, by kind and name."""
        found = [offers.record for offers in self._offers.values() if isinstance(offers.record, Component)]
        chosen = [component for component in found if kind is None or component.kind == kind]
        return sorted(chosen, key=lambda component: (_rank(component.kind), component.name))

    def kinds(self) -> dict[str, KindDescription]:
        """The kinds of components, by name."""
        return {r.name: r for offers in self._offers.values() if isinstance(r := offers.record, KindDescription)}

    def quantities(self) -> dict[str, Quantity]:
        """The labels and outputs that can be used, by name; a name that two distributions announce is left out."""
        return {r.name: r for offers in self._offers.values() if isinstance(r := offers.record, Quantity)}

    def objectives(self, stage: str) -> dict[str, Objective]:
        """The terms of the loss of a stage that can be used, by name."""
        found = [r for offers in self._offers.values() if isinstance(r := offers.record, Objective)]
        return {objective.name: objective for objective in found if objective.stage == stage}

    def stages(self) -> dict[str, StageDescription]:
        """The stages that a run can have, by name."""
        return {r.name: r for offers in self._offers.values() if isinstance(r := offers.record, StageDescription)}

    def find(self, kind: str, name: str) -> Component:
        """The component of this kind and name.

        Raises
        ------
        PluginError
            It is not installed (with the line that installs it), its plugin is broken or blocked, it was made for
            another plugin interface, or two distributions offer it.
        InputError
            Nobody knows it; the message has the nearest names.
        """
        record = self._announced(kind, name)
        if isinstance(record, Component):
            return record
        what = f"{_words(kind)} {name!r}"
        entry = self.registry.get(kind, name)
        if entry is None:
            known = {component.name for component in self.components(kind)} | set(self.registry.names(kind))
            raise InputError(self.unknown(what, name, known))
        problem = next((p.problem for p in self._of(entry.distribution) if p.problem), None)
        if problem:
            raise PluginError(f"The {what} of {entry.distribution} cannot be used, its plugin is {problem}.")
        if self._of(entry.distribution):
            raise PluginError(
                f"The installed version of {entry.distribution} does not offer the {what}. "
                f"Upgrade it: {entry.install} --upgrade"
            )
        raise PluginError(f"The {what} is not installed. Install it with: {entry.install}")

    def quantity(self, name: str) -> Quantity:
        """The label or output of this name.

        Raises
        ------
        PluginError
            Two distributions announce it.
        InputError
            Nobody does; the message has the nearest names.
        """
        record = self._announced(QUANTITY, name)
        if isinstance(record, Quantity):
            return record
        raise InputError(self.unknown(f"quantity {name!r}", name, self.quantities()))

    def objective(self, stage: str, name: str) -> Objective:
        """The term of this name of the loss of a stage; errors as of ``quantity``."""
        record = self._announced(OBJECTIVE, f"{stage}.{name}")
        if isinstance(record, Objective):
            return record
        what = f"objective {name!r} of the stage {stage!r}"
        raise InputError(self.unknown(what, name, self.objectives(stage)))

    def _announced(self, family: str, name: str) -> Record | None:
        """The record that can be used; None if nobody announces one, ``PluginError`` if it is of no use."""
        offers = self._offers.get((family, name), Offers())
        what = f"{_words(family)} {name!r}"
        if len(offers.usable) > 1:
            raise PluginError(
                f"The {what} is offered by {offers.who}. Uninstall one of them, or name the plugins to load in "
                f"{ALLOW_VARIABLE}."
            )
        if offers.refused and not offers.usable:
            raise PluginError(f"The {what} cannot be used: {offers.refused[0][2].rstrip('.?')}.")
        return offers.record

    def _of(self, distribution: str) -> list[Plugin]:
        return [plugin for plugin in self.plugins if normalised(plugin.distribution) == normalised(distribution)]

    def unknown(self, what: str, name: str, known: Iterable[str]) -> str:
        """That there is no such thing: the nearest names, and the plugins that could not be loaded."""
        message = f"There is no {what}. {nearest(name, known)}"
        suspects = [f"{p.distribution} ({p.problem})" for p in self.plugins if p.problem]
        return f"{message} Some plugins could not be loaded: {'; '.join(suspects)}." if suspects else message

    def origin(self, record: Record) -> Origin:
        """Distribution and version that a record comes from, and a hash of the code where the version says too little.

        The files of a distribution are read once by a manager.

        Raises
        ------
        PluginError
            No installed plugin announces it.
        """
        for number, plugin in enumerate(self.plugins):
            if record in plugin.records:
                return self._origins.get(number) or self._origins.setdefault(number, origin_of(plugin))
        raise PluginError(f"No installed plugin announces the {_words(key(record)[0])} {record.name!r}.")

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
        kind = self.kinds().get(component.kind)
        if kind is None:
            raise PluginError(f"The {what} cannot be used: no installed plugin announces its kind.")
        target = self.load_target(component.target, what)
        interface = self.load_target(kind.interface, f"kind {kind.name!r}")
        if not isinstance(target, type) or not issubclass(target, interface):
            raise PluginError(
                f"The {what}{self._by(component.target)} is broken: {component.target} is not a subclass of "
                f"{kind.interface}."
            )
        return target

    def load_target(self, target: str, what: str) -> Any:
        """What ``"package.module:attribute"`` names.

        Parameters
        ----------
        target : str
        what : str
            Whose target it is, for the message, for example ``"loss of the objective 'dipole'"``.

        Raises
        ------
        PluginError
            It cannot be imported; the message names the distribution.
        """
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"The {what}{self._by(target)} is broken, {target} cannot be imported: {describe(error)}."
            ) from error

    def _by(self, target: str) -> str:
        """`` of DISTRIBUTION VERSION`` for a target that a plugin other than the core holds."""
        plugin = owner(target.partition(":")[0], self.plugins)
        return f" of {plugin}" if plugin else ""

    def options_model(self, component: Component | StageDescription) -> type[Options]:
        """The pydantic model of the options of a component or a stage; ``PluginError`` if it cannot be imported."""
        if component.config is None:
            return Options
        what = f"{_words(key(component)[0])} {component.name!r}"
        model = self.load_target(component.config, what)
        if not isinstance(model, type) or not issubclass(model, Options):
            raise PluginError(
                f"The {what}{self._by(component.config)} is broken: {component.config} is not a subclass of "
                "densnet_core.options.Options."
            )
        return model

    def options(
        self,
        component: Component | StageDescription,
        table: Mapping[str, Any],
        where: str = "",
        base: Path | None = None,
        also_known: Iterable[str] = (),
    ) -> Options:
        """The validated options of a component or a stage.

        Parameters
        ----------
        component : Component or StageDescription
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

    def status(self) -> list[ComponentStatus]:
        """What is known about every component, of installed plugins and of the registry, by kind and name.

        Kinds, quantities and objectives of plugins are listed too; what the core has of them is no news.
        """
        rows = [
            installed_row(plugin, record, problem)
            for offers in self._offers.values()
            for plugin, record, problem in offers.statuses()
            if isinstance(record, Component) or not plugin.of_the_core
        ]
        listed = {(row.kind, row.name) for row in rows}
        rows += [
            registry_row(entry, next(iter(self._of(entry.distribution)), None))
            for entry in self.registry.component
            if (entry.kind, entry.name) not in listed
        ]
        known = {normalised(entry.distribution) for entry in self.registry.component}
        rows += [failed_row(p) for p in self.plugins if p.problem and normalised(p.distribution) not in known]
        return sorted(rows, key=lambda row: (_rank(row.kind), row.name, row.distribution))

    def add_commands(self, app: typer.Typer, taken: Iterable[str]) -> list[str]:
        """Let the plugins add their verbs to ``app``.

        A plugin that fails, or names a verb among ``taken``, is left out; the returned sentences say so.
        """
        return merge_commands(app, self.plugins, taken)


@cache
def get_manager() -> Manager:
    """The manager of this process."""
    return Manager()


def _words(kind: str) -> str:
    return str(kind).replace("_", " ")


def _rank(kind: str) -> tuple[int, str]:
    """Where a kind stands in lists: the core's, those of plugins, and what is no component."""
    for rank, group in ((0, list(map(str, Kind))), (2, list(RESERVED))):
        if kind in group:
            return rank, f"{group.index(kind):02d}"
    return 1, kind
