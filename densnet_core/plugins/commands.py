"""Verbs of the command line that plugins add."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from densnet_core.plugins.discovery import Plugin, describe

if TYPE_CHECKING:
    import typer


def merge_commands(app: typer.Typer, plugins: Iterable[Plugin], taken: Iterable[str]) -> list[str]:
    """Add the verbs of ``plugins`` to ``app``; all of a plugin's or none.

    Parameters
    ----------
    app : typer.Typer
    plugins : iterable of Plugin
    taken : iterable of str
        Verbs that exist already.

    Returns
    -------
    list of str
        One sentence per plugin that was left out.
    """
    import typer

    refused: list[str] = []
    owners = dict.fromkeys(taken, "the core")
    for plugin in plugins:
        for hook in plugin.commands:
            own = typer.Typer()
            try:
                hook(own)
                verbs = _verbs(own)
            except (Exception, SystemExit) as error:
                refused.append(f"The verbs of {plugin.distribution} are left out: {describe(error)}.")
                continue
            clashes = [f"{verb!r} (of {owners[verb]})" for verb in verbs if verb in owners]
            if clashes:
                refused.append(
                    f"The verbs of {plugin.distribution} are left out, it redefines {' and '.join(clashes)}."
                )
                continue
            owners |= dict.fromkeys(verbs, plugin.distribution)
            app.registered_commands += own.registered_commands
            app.registered_groups += own.registered_groups
    return refused


def _verbs(app: typer.Typer) -> list[str]:
    verbs = [
        command.name or str(getattr(command.callback, "__name__", "")).lower().replace("_", "-")
        for command in app.registered_commands
    ]
    return verbs + [
        str(group.name or (group.typer_instance and group.typer_instance.info.name)) for group in app.registered_groups
    ]
