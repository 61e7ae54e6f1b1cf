"""Reader of registry.toml, the reviewed manifest of known components."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Literal

from pydantic import Field

from densnet_core.errors import DataError, InputError
from densnet_core.options import Options, validate

MANIFEST = "registry.toml"


class RegistryEntry(Options):
    """What the manifest says about one component."""

    kind: str = Field(pattern="^[a-z][a-z0-9_]*$", description="Kind of the component.")
    name: str = Field(min_length=1, description="What a config names.")
    distribution: str = Field(min_length=1, description="The distribution that brings it.")
    install: str = Field(min_length=1, description="Command that installs it.")
    api: str = Field(min_length=1, description="Versions of the plugin interface, as a version specifier.")
    stability: Literal["experimental", "beta", "stable", "deprecated"] = Field(description="How settled it is.")
    summary: str = Field(min_length=1, description="One line.")


class Policy(Options):
    """Restrictions on what loads."""

    allow: list[str] | None = Field(default=None, description="Distributions that may load; absent: all.")


class Registry(Options):
    """The manifest."""

    version: Literal[1] = Field(alias="schema", description="Version of this file's layout.")
    policy: Policy = Policy()
    component: list[RegistryEntry] = Field(default_factory=list, description="The known components.")

    def get(self, kind: str, name: str) -> RegistryEntry | None:
        """The entry of a component, or None if the manifest does not know it."""
        return next((entry for entry in self.component if (entry.kind, entry.name) == (kind, name)), None)

    def names(self, kind: str) -> list[str]:
        """Names of the known components of a kind."""
        return [entry.name for entry in self.component if entry.kind == kind]


def parse_registry(text: str, source: str = MANIFEST) -> Registry:
    """A registry from TOML text; ``DataError`` naming ``source`` if it is malformed."""
    try:
        return validate(Registry, tomllib.loads(text), f"{source}: ")
    except (tomllib.TOMLDecodeError, InputError) as error:
        raise DataError(f"The component registry is damaged; reinstall densnet-core. {source}: {error}") from error


def load_registry() -> Registry:
    """The registry that ships with this version of the core."""
    return parse_registry((files("densnet_core.plugins") / MANIFEST).read_text(encoding="utf-8"))
