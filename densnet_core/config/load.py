"""Reads a configuration file and finds the components that it names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from densnet_core.config.schema import DEFAULT_BACKBONE, SCHEMA_VERSION, Config
from densnet_core.errors import ConfigError, DenSNetError, nearest
from densnet_core.options import Options, validate
from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.reference.dispersion import Dispersion
from densnet_core.reference.level import PROPERTIES
from densnet_core.spectra.windows import fewest_lags, rounded_up
from densnet_core.structures import Structure, read_geometry
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND


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
    source = Path(path).absolute()
    config = parse_config(_read(source), source)
    select(config, manager)
    return config


def parse_config(text: str, source: Path) -> Config:
    """A configuration from TOML text that stands in the file ``source``; components are not looked up.

    Raises
    ------
    ConfigError
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source.name} is not valid TOML: {error}.") from error
    return config_of(table, source)


def config_of(table: Mapping[str, Any], source: Path) -> Config:
    """A configuration from plain data, as if it stood in the file ``source``; components are not looked up.

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
    config = validate(Config, dict(table), f"{source.name}: ", source.parent)
    config._source = source
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
        if getattr(config, name).backbone is None and not _is_there(manager, Kind.BACKBONE, DEFAULT_BACKBONE):
            slots.pop(f"{name}_backbone")  # an error only where the model asks for one
    for slot, place in slots.items():
        try:
            chosen[slot] = _choose(config, manager, *place)
        except DenSNetError as error:
            problems.append(str(error))
    problems += _missing_properties(config, chosen.get("backend"), manager)
    if problems:
        raise ConfigError("\n".join(problems))
    return Selection(**chosen)


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
    options = manager.options(
        component,
        getattr(table, options_key or "options"),
        where=f"{source}: {section}" + (f".{options_key}" if options_key else ""),
        base=config.source.parent,
        also_known=() if options_key else tuple(type(table).model_fields),
    )
    return Chosen(component, options)


def _is_there(manager: Manager, kind: str, name: str) -> bool:
    return any(component.name == name for component in manager.components(kind))


def check_inputs(config: Config, manager: Manager | None = None) -> Structure:
    """Check what a configuration refers to outside itself, and return the starting geometry.

    Run it before anything expensive: the geometry can be read, the density basis covers its elements and the sampler
    makes as many frames as training needs.

    Raises
    ------
    ConfigError
    """
    source = config.source.name
    structure = _molecule(config, get_manager() if manager is None else manager)
    try:
        config.basis.build(int(number) for number in structure.numbers)
    except DenSNetError as error:
        raise ConfigError(f"{source}: basis: {error}") from error
    _check_counts(config, select(config, manager))
    _check_reference(config, structure)
    return structure


SMILES_SAMPLER: Final = "conformers"
"""The sampler that turns [system] smiles into a geometry."""


def _molecule(config: Config, manager: Manager) -> Structure:
    (system, _), source = config.to_make(), config.source.name
    try:
        if system.geometry is not None:
            return read_geometry(system.geometry, system.charge, system.multiplicity)
    except DenSNetError as error:
        raise ConfigError(f"{source}: system.geometry: {error}") from error
    try:
        component = manager.find(Kind.SAMPLER, SMILES_SAMPLER)
        options = manager.options(component, {"smiles": system.smiles, "count": 1})
        built: list[Structure] = manager.load(component)(options).build(system.charge, system.multiplicity)
        return built[0]
    except DenSNetError as error:
        raise ConfigError(f"{source}: system.smiles: {error}") from error


def _check_reference(config: Config, structure: Structure) -> None:
    """There are electrons, the dispersion has parameters for the functional, a spin density is of an open shell."""
    (_, reference), source = config.to_make(), config.source.name
    level = reference.level
    if structure.n_electrons < 1:
        raise ConfigError(
            f"{source}: system.charge: {structure.formula} with charge {structure.charge} has no electrons."
        )
    if level.dispersion is not None:
        try:
            Dispersion(level.method, level.dispersion)
        except DenSNetError as error:
            raise ConfigError(f"{source}: reference.dispersion: {error}") from error
    if "spin_density" in reference.properties and structure.multiplicity == 1:
        raise ConfigError(
            f"{source}: reference.properties: the spin density of a singlet is zero. Set system.multiplicity, or leave "
            "'spin_density' out."
        )


def check_spectrum(config: Config) -> None:
    """Check that the trajectories will be long enough for the spectrum; run it before the dynamics.

    Raises
    ------
    ConfigError
    """
    section, md = config.spectrum, config.md
    interval_ps = md.time_step_fs * md.record_every * 1e-3
    lags = round(md.nve_ps * 1e3 / md.time_step_fs) // md.record_every
    needed = fewest_lags(section.window, section.resolution, interval_ps * 1e3 / ATOMIC_TIME_TO_FEMTOSECOND)
    if lags < needed:
        raise ConfigError(
            f"{config.source.name}: spectrum.resolution = {section.resolution:g} cm^-1 needs md.nve_ps of at least "
            f"{rounded_up(needed * interval_ps)}, found {md.nve_ps:g}. Run longer, or take a resolution of at least "
            f"{ceil(section.resolution * needed / max(lags, 1))}."
        )


def _check_counts(config: Config, selection: Selection) -> None:
    """The sampler makes at least as many frames as training needs, as far as that can be known beforehand."""
    name, wanted, keep = config.source.name, config.training.frames, config.sampling.select
    # Samplers that read their frames from elsewhere have no count; with several starts it is the count of each.
    count = getattr(selection.sampler.options, "count", None)
    limits = {"sampling.count": count if isinstance(count, int) and config.sampling.start is None else None}
    limits["sampling.select.count"] = None if keep is None else keep.count
    for key, limit in limits.items():
        if limit is not None and limit < wanted:
            raise ConfigError(
                f"{name}: training: train + validation + test = {wanted} frames, but {key} = {limit}. Sample more or "
                "train on fewer."
            )
    made = limits["sampling.count"]
    if keep is not None and made is not None and made < keep.count:
        raise ConfigError(f"{name}: sampling.select.count = {keep.count}, but sampling.count = {made}. Sample more.")
