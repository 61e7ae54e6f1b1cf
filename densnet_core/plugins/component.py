"""The record by which a plugin announces a component, and the version of the plugin interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

API_VERSION: Final = "1.0"


class Kind(StrEnum):
    """What a component is; the value is the word used in configs, registry.toml and the command line."""

    BASIS = "basis"
    REFERENCE = "reference"
    BACKBONE = "backbone"
    DENSITY_MODEL = "density_model"
    ENERGY_MODEL = "energy_model"
    MD_ENGINE = "md_engine"
    SAMPLER = "sampler"
    EXECUTOR = "executor"


@dataclass(frozen=True)
class Component:
    """A component that a plugin offers. Making one imports nothing heavy.

    Parameters
    ----------
    kind : Kind
    name : str
        What a config names.
    target : str
        ``"package.module:Class"``, imported on first use.
    config : str
        ``"package.config:Model"``, the pydantic model of its options; must be light to import.
    summary : str
        One line for ``densnet plugins``.
    install : str
        Command that installs the distribution.
    api : str
        Version of the plugin interface it was written for.
    requires : tuple of str
        Importable modules (or, with a leading ``!``, programs) it needs at run time.
    capabilities : frozenset of str
        Optional abilities, for example ``"hessian"``.
    """

    kind: Kind
    name: str
    target: str
    config: str
    summary: str
    install: str
    api: str = API_VERSION
    requires: tuple[str, ...] = ()
    capabilities: frozenset[str] = field(default_factory=frozenset)
