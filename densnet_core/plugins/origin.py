"""Where a plugin comes from: what the keys of stages and the packages of models name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from densnet_core.plugins.component import Component, StageDescription
from densnet_core.plugins.discovery import Plugin


@dataclass(frozen=True)
class Origin:
    """Which code a component is.

    Parameters
    ----------
    distribution, version : str
    content : str or None
        Hex SHA-256 of the distribution's Python files where the version does not tell one state of the code from
        another: in an editable installation, or on a path that no installer wrote. None for a wheel, and for the
        core, whose keys name versions of their own.
    """

    distribution: str
    version: str
    content: str | None = None

    def __str__(self) -> str:
        """For example ``densnet-rattle 0.1.0``, with ``+`` and eight digits of the hash if there is one."""
        return f"{self.distribution} {self.version}" + (f"+{self.content[:8]}" if self.content else "")


def origin_of(plugin: Plugin) -> Origin:
    """The origin of a plugin; reads its files only where the version says too little."""
    if plugin.of_the_core or _is_wheel(plugin.distribution):
        return Origin(plugin.distribution, plugin.version)
    return Origin(plugin.distribution, plugin.version, _content(plugin))


def report_address(plugin: Plugin) -> str | None:
    """Where to report a defect of a plugin, by the metadata of its distribution; None if they name no address."""
    found = _metadata(plugin.distribution)
    if found is None:
        return None
    addresses: dict[str, str] = {}
    for line in found.metadata.get_all("Project-URL") or []:
        label, _, address = line.partition(",")
        addresses[label.strip().lower()] = address.strip()
    addresses.setdefault("home-page", next(iter(found.metadata.get_all("Home-page") or []), ""))
    order = ("issues", "issue tracker", "bug tracker", "tracker", "repository", "source", "homepage", "home-page")
    return next((addresses[label] for label in order if addresses.get(label)), None)


def _is_wheel(name: str) -> bool:
    """True if an installer wrote the files and recorded them: then they are those of the version."""
    found = _metadata(name)
    if found is None or found.read_text("RECORD") is None:
        return False
    direct = json.loads(found.read_text("direct_url.json") or "{}")
    return not direct.get("dir_info", {}).get("editable", False)


def _metadata(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _content(plugin: Plugin) -> str:
    """Hash of the packages in which the entry point, the components and the stages of a plugin lie."""
    made = [record for record in plugin.records if isinstance(record, (Component, StageDescription))]
    targets = [target.partition(":")[0] for one in made for target in (one.target, one.config) if target]
    found = [package for module in (plugin.module, *targets) if (package := _package(module)) is not None]
    digest = hashlib.sha256(b"densnet-plugin-1")
    for name, place in sorted(set(found)):
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for file in files:
            path, content = f"{name}/{file.relative_to(place).as_posix()}".encode(), file.read_bytes()
            digest.update(b"%d %s %d " % (len(path), path, len(content)) + content)
    return digest.hexdigest()


def _package(module: str) -> tuple[str, Path] | None:
    """Name and place of the outermost regular package, or single file, that holds a module; None for the core's own."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        try:
            spec = find_spec(name)  # imports the packages around it, which are namespaces without code
        except (ImportError, ValueError):
            return None
        if name == "densnet_core" or spec is None:
            return None
        if spec.origin is not None:
            place = Path(spec.origin)
            return (name, place.parent if spec.submodule_search_locations else place) if place.exists() else None
    return None
