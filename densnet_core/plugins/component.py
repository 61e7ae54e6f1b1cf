"""The records by which a plugin announces a component or a kind of components; the version of the interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

API_VERSION: Final = "2.0"
NO_BACKBONE: Final = "no-backbone"


class Kind(StrEnum):
    """Names of the kinds that the core announces; they are strings, and a plugin may announce kinds of its own.

    The value is the word used in configurations, registry.toml and the command line.
    """

    BASIS = "basis"
    REFERENCE = "reference"
    BACKBONE = "backbone"
    DENSITY_MODEL = "density_model"
    ENERGY_MODEL = "energy_model"
    MD_ENGINE = "md_engine"
    SAMPLER = "sampler"
    EXECUTOR = "executor"
    MODEL = "model"


@dataclass(frozen=True)
class KindDescription:
    """A kind of components. The core announces its own by the same record.

    Parameters
    ----------
    name : str
        A word of lower-case letters, digits and underscores.
    interface : str
        ``"package.module:Class"``; the class of every component of this kind is derived from it.
    summary : str
        One line for people.
    suite : str or None
        ``"package.module:Class"``, a subclass of ``densnet_core.testing.suites.ConformanceSuite`` that ``densnet
        plugins check`` runs on components of this kind. None: there is none.
    """

    name: str
    interface: str
    summary: str = ""
    suite: str | None = None


@dataclass(frozen=True)
class StageDescription:
    """A stage of a run. The core announces its own by the same record.

    Parameters
    ----------
    name : str
        A word of lower-case letters, digits and underscores: what the command line calls the stage, and the table of
        a configuration that has its options. ``densnet run`` carries a plugin's stage out if the table is there.
    target : str
        ``"package.module:Class"``, a subclass of ``densnet_core.workflow.stages.base.Stage``.
    config : str or None
        ``"package.config:Model"``, the pydantic model of the table. None: it has none, as the core's, whose options
        are in the schema.
    summary : str
        One line for people.
    """

    name: str
    target: str
    config: str | None = None
    summary: str = ""


@dataclass(frozen=True)
class Component:
    """A component that a plugin offers. Making one imports nothing heavy.

    Parameters
    ----------
    kind : str
        One of ``Kind``, or a kind that a plugin announces.
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
        Optional abilities, for example ``"hessian"``; of a model ``NO_BACKBONE`` if it never calls ``make_backbone``,
        so that a configuration cannot name one in vain.
    """

    kind: str
    name: str
    target: str
    config: str
    summary: str
    install: str
    api: str = API_VERSION
    requires: tuple[str, ...] = ()
    capabilities: frozenset[str] = field(default_factory=frozenset)
