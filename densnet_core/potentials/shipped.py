"""Trained models that distributions carry as files, known by name. Light: nothing here imports torch."""

from __future__ import annotations

import sys
from abc import ABC
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from densnet_core.errors import InputError, PluginError, nearest
from densnet_core.options import is_word
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.stores.exchange import previous_of
from densnet_core.stores.packages import DOCUMENT_NAME

if TYPE_CHECKING:
    from densnet_core.plugins.manager import Manager


CHECKS: Final = "checks"
"""Key of a package's document: frames, and what the model gave for them when the package was made."""


class ShippedModel(ABC):
    """A trained model that a distribution carries: a component of the kind ``model``, found by its name.

    A subclass names the file; nothing is loaded by importing it::

        class Ethanol(ShippedModel):
            file = "ethanol.zip"
    """

    file: ClassVar[str]
    """The model package, a zip file or a folder, beside the module of the subclass."""

    @classmethod
    def path(cls) -> Path:
        """Where the model package is; ``PluginError`` if the distribution lacks it."""
        module = sys.modules[cls.__module__]
        path = Path(str(module.__file__)).parent / cls.file
        if not path.exists():
            raise PluginError(
                f"{cls.__module__} ships {cls.file}, and it is not there; install the distribution again."
            )
        return path


def model_path(source: str | Path, manager: Manager | None = None) -> Path:
    """Where a model is: a path as it is, and a plain word that is none the file of the shipped model of that name.

    A folder that is called like a shipped model and holds no model is not meant.

    Raises
    ------
    InputError
        A plain word names nothing; the message has the nearest names.
    PluginError
        The model is known and not installed; the message has the line that installs it.
    """
    path = Path(source)
    packages = (path, previous_of(path))
    if not is_word(path) or path.is_file() or any((one / DOCUMENT_NAME).is_file() for one in packages):
        return path
    return path if path.exists() and path.name not in _names(manager) else shipped_path(path.name, manager)


def shipped_path(name: str, manager: Manager | None = None) -> Path:
    """Where the shipped model of a name is; errors as of ``model_path``."""
    manager = manager or get_manager()
    known = _names(manager)
    if name not in known:
        raise InputError(
            f"There is no model at {name}, and none of this name is shipped. {nearest(name, known)} 'densnet models' "
            "lists them."
        )
    found: type[ShippedModel] = manager.load(manager.find(Kind.MODEL, name))
    return found.path()


def _names(manager: Manager | None) -> set[str]:
    manager = manager or get_manager()
    return {one.name for one in manager.components(Kind.MODEL)} | set(manager.registry.names(Kind.MODEL))
