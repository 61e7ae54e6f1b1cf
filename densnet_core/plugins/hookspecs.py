"""The hooks a plugin may implement, and the marker for its implementations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

from densnet_core.plugins.component import Component

if TYPE_CHECKING:
    import typer

PROJECT: Final = "densnet"
ENTRY_POINT_GROUP: Final = "densnet.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook that it is named after."""


@hookspec
def densnet_components() -> Iterable[Component]:
    """The components that the plugin offers.

    Called at every start of the command line: return records and import nothing heavy.
    """
    raise NotImplementedError  # pluggy calls implementations only


@hookspec
def densnet_commands(app: typer.Typer) -> None:
    """Add verbs to the command line.

    Parameters
    ----------
    app : typer.Typer
        An empty application; what the plugin registers on it appears beside the core's own verbs. A verb that exists
        already is refused.
    """


HOOKS: Final = (densnet_components.__name__, densnet_commands.__name__)
