"""Reads a configuration file and finds the components that it names."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from densnet_core.config.schema import DEFAULT_BACKBONE, SCHEMA_VERSION, Config
from densnet_core.errors import ConfigError, DenSNetError, nearest
from densnet_core.options import Options, validate
from densnet_core.plugins.component import NO_BACKBONE, Component, Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.reference.level import PROPERTIES


@dataclass(frozen=True)
class Chosen:
    """A component that a configuration names, with its validated options."""

    component: Component
    options: Options


@dataclass(frozen=True)
class Selection:
    """Every component that a configuration names."""

    sampler: Chosen
    executor: Chosen
    density_model: Chosen
    energy_model: Chosen
    engine: Chosen
    backend: Chosen | None = None
    density_backbone: Chosen | None = None
    energy_backbone: Chosen | None = None
    sampling_start: Chosen | None = None
    stages: Mapping[str, Options] = field(default_factory=dict)
    """Options of the stages of plugins whose tables the configuration has, by name."""


# Field of Selection: kind, section, key that names the component, key of its options. No key: the options are what
# else stands in the section.
_SLOTS: Final[Mapping[str, tuple[Kind, str, str, str | None]]] = {
    "sampler": (Kind.SAMPLER, "sampling", "method", None),
    "backend": (Kind.REFERENCE, "reference", "backend", "options"),
    "executor": (Kind.EXECUTOR, "executor", "name", None),
    "density_model": (Kind.DENSITY_MODEL, "density", "model", "options"),
    "density_backbone": (Kind.BACKBONE, "density", "backbone", "backbone_options"),
    "energy_model": (Kind.ENERGY_MODEL, "energy", "model", "options"),
    "energy_backbone": (Kind.BACKBONE, "energy", "backbone", "backbone_options"),
    "engine": (Kind.MD_ENGINE, "md", "engine", "options"),
}


def load_config(path: str | Path, manager: Manager | None = None) -> Config:
    """A configuration from a TOML file, with the options of every component checked.

    Parameters
    ----------
    path : str or Path
    manager : Manager or None
        Where components are looked up; None: the manager of this process.

    Raises
    ------
    ConfigError
        The file cannot be read, is not TOML, has an unknown key or an impossible value, or names a component that is
        not there; every line of the message names file and key.
    """
    manager = get_manager() if manager is None else manager
    source = Path(path).absolute()
    config = parse_config(_read(source), source, own_tables(manager))
    select(config, manager)
    return config


def own_tables(manager: Manager) -> list[str]:
    """Names of the tables that stages of plugins bring."""
    return [name for name, stage in manager.stages().items() if stage.config is not None]


def parse_config(text: str, source: Path, tables: Collection[str] = ()) -> Config:
    """A configuration from TOML text that stands in the file ``source``; components are not looked up.

    Parameters
    ----------
    tables : collection of str
        Names of tables that may stand there besides those of the schema.

    Raises
    ------
    ConfigError
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source.name} is not valid TOML: {error}.") from error
    return config_of(table, source, tables)


def config_of(table: Mapping[str, Any], source: Path, tables: Collection[str] = ()) -> Config:
    """The same from plain data.

    Raises
    ------
    ConfigError
    """
    version = table.get("schema", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"{source.name}: schema = {version} was made for a newer DenSNet; this one reads schema = "
            f"{SCHEMA_VERSION}. Upgrade densnet-core."
        )
    of_stages = {name: table[name] for name in tables if name in table}
    for name, own in of_stages.items():
        if not isinstance(own, Mapping):
            raise ConfigError(f"{source.name}: {name}: expected a table, found {own!r}.")
    rest = {name: value for name, value in table.items() if name not in of_stages}
    config = validate(Config, rest, f"{source.name}: ", source.parent, tables)
    config._source, config._stages = source, of_stages
    return config


def _read(source: Path) -> str:
    try:
        return source.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration file {source}. 'densnet init' writes one.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {source}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source} is not text in UTF-8 (byte {error.start}).") from error


def select(config: Config, manager: Manager | None = None) -> Selection:
    """The components that a configuration names, with validated options.

    Raises
    ------
    ConfigError
        A component is not there or its options are wrong; one line per problem.
    """
    manager = get_manager() if manager is None else manager
    chosen: dict[str, Chosen] = {}
    problems: list[str] = []
    slots = dict(_SLOTS)
    if config.reference is None:  # the stores of [data] name their own
        slots.pop("backend")
    if config.sampling.start is not None:
        slots["sampling_start"] = (Kind.SAMPLER, "sampling.start", "method", None)
    for name in ("density", "energy"):
        section = getattr(config, name)
        if _takes_none(manager, Kind(f"{name}_model"), section.model):
            slots.pop(f"{name}_backbone")
            problems += backbones_in_vain(config, name)
        elif section.backbone is None and not _is_there(manager, Kind.BACKBONE, DEFAULT_BACKBONE):
            slots.pop(f"{name}_backbone")  # an error only where the model asks for one
    for slot, place in slots.items():
        try:
            chosen[slot] = _choose(config, manager, *place)
        except DenSNetError as error:
            problems.append(str(error))
    problems += _missing_properties(config, chosen.get("backend"), manager)
    stages: dict[str, Options] = {}
    for name, own in config.stage_tables.items():
        try:
            where = f"{config.source.name}: {name}"
            stages[name] = manager.options(manager.stages()[name], own, where, config.source.parent)
        except DenSNetError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return Selection(**chosen, stages=stages)


def _missing_properties(config: Config, backend: Chosen | None, manager: Manager) -> list[str]:
    """What is wrong with [reference] properties, known without importing the program."""
    if backend is None or config.reference is None:
        return []
    name, capabilities = backend.component.name, backend.component.capabilities
    able = [known for known in PROPERTIES if known in capabilities]
    labels = [label for label, quantity in manager.quantities().items() if quantity.reference is not None]
    where = f"{config.source.name}: reference.properties"
    problems = []
    for wanted in config.reference.properties:
        if wanted in PROPERTIES and wanted not in capabilities:
            has = ", ".join(able) or "none"
            problems.append(f"{where}: the backend {name!r} does not compute {wanted!r}; it has: {has}.")
        elif wanted not in PROPERTIES and wanted not in labels:
            problems.append(f"{where}: there is no property {wanted!r}. {nearest(wanted, [*PROPERTIES, *labels])}")
    return problems


def _choose(
    config: Config, manager: Manager, kind: Kind, section: str, name_key: str, options_key: str | None
) -> Chosen:
    table = attrgetter(section)(config)
    source = config.source.name
    named = getattr(table, name_key)
    try:
        component = manager.find(kind, DEFAULT_BACKBONE if named is None else named)
    except DenSNetError as error:
        raise ConfigError(f"{source}: {section}.{name_key}: {error}") from error
    given = getattr(table, options_key or "options")
    smiles = None if config.system is None else config.system.smiles
    if kind == Kind.SAMPLER and smiles is not None and "smiles" in manager.options_model(component).model_fields:
        given = {"smiles": smiles, **given}
    options = manager.options(
        component,
        given,
        where=f"{source}: {section}" + (f".{options_key}" if options_key else ""),
        base=config.source.parent,
        also_known=() if options_key else tuple(type(table).model_fields),
    )
    return Chosen(component, options)


def backbones_in_vain(config: Config, name: str) -> list[str]:
    """What is wrong with the backbone keys of a section whose model takes no backbone; one line for each key."""
    section = getattr(config, name)
    return [
        f"{config.source.name}: {name}.{key}: the model {section.model!r} takes no backbone; leave it out."
        for key in sorted(section.model_fields_set & {"backbone", "backbone_options"})
    ]


def _takes_none(manager: Manager, kind: str, name: str) -> bool:
    """Whether a model says that it takes no backbone."""
    found = next((one for one in manager.components(kind) if one.name == name), None)
    return found is not None and NO_BACKBONE in found.capabilities


def _is_there(manager: Manager, kind: str, name: str) -> bool:
    return any(component.name == name for component in manager.components(kind))
