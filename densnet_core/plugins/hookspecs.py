"""The hooks a plugin may implement, and the marker for its implementations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import pluggy

from densnet_core.plugins.component import Component, KindDescription, StageDescription
from densnet_core.plugins.quantity import Objective, Quantity

if TYPE_CHECKING:
    import typer

PROJECT: Final = "densnet"
ENTRY_POINT_GROUP: Final = "densnet.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook that it is named after."""

Record = Component | KindDescription | Quantity | Objective | StageDescription
"""What hooks return; they are called at every start of the command line, so making one imports nothing heavy."""


@hookspec
def densnet_components() -> Iterable[Component]:
    """The components that the plugin offers."""
    raise NotImplementedError  # pluggy calls implementations only


@hookspec
def densnet_kinds() -> Iterable[KindDescription]:
    """The kinds of components that the plugin brings besides the core's own."""
    raise NotImplementedError


@hookspec
def densnet_quantities() -> Iterable[Quantity | Objective]:
    """Labels and outputs that the plugin adds, and terms of a loss made from labels and outputs."""
    raise NotImplementedError


@hookspec
def densnet_stages() -> Iterable[StageDescription]:
    """Stages that the plugin adds to a run, each with a table of the configuration."""
    raise NotImplementedError


@hookspec
def densnet_commands(app: typer.Typer) -> None:
    """Add verbs to the command line.

    Parameters
    ----------
    app : typer.Typer
        An empty application; what the plugin registers on it appears beside the core's own verbs. A verb that exists
        already is refused.
    """


RECORD_HOOKS: Final[Mapping[str, tuple[type[Record], ...]]] = {
    densnet_components.__name__: (Component,),
    densnet_kinds.__name__: (KindDescription,),
    densnet_quantities.__name__: (Quantity, Objective),
    densnet_stages.__name__: (StageDescription,),
}
"""The hooks that return records, with the types of the records."""
HOOKS: Final = (*RECORD_HOOKS, densnet_commands.__name__)
