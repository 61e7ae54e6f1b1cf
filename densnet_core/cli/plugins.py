"""The verb ``plugins``."""

from dataclasses import asdict
from typing import Annotated

import typer

from densnet_core.cli.output import print_json, print_table
from densnet_core.plugins.manager import get_manager

app = typer.Typer(add_completion=False)


@app.command()
def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every known component, whether it can be used, and how to install it."""
    rows = get_manager().status()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        ["kind", "name", "distribution", "version", "status", "install"],
        [[row.kind, row.name, row.distribution, row.version or "", row.status, row.install or ""] for row in rows],
    )
