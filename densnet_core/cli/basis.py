"""The verb ``basis``: show, list and optimize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a basis.")],
    elements: Annotated[str, typer.Option(help="Symbols, for example 'H C O'; all by default.")] = "",
) -> None:
    """Shells and exponents of a basis."""
    from densnet_core.basis.library import basis_by_name
    from densnet_core.elements import atomic_number

    print(basis_by_name(name, [atomic_number(symbol) for symbol in elements.split()] or None))


@app.command("list")
def list_names() -> None:
    """The bases that come with DenSNet and with plugins; those of the Basis Set Exchange can be used as well."""
    from densnet_core.basis.library import basis_by_name, plugin_names, shipped_names

    for name in [*shipped_names(), *plugin_names()]:
        print(basis_by_name(name))


@app.command()
def optimize(
    stores: Annotated[list[Path], typer.Argument(help="Stores of labelled frames with orbitals.")],
    shells: Annotated[str, typer.Option(help="Shells per element, for example 'H=4s3p1d O=8s6p4d3f1g'.")],
    output: Annotated[Path, typer.Option(help="JSON file to write; [basis] file takes its path.")],
    name: Annotated[str, typer.Option(help="Name of the basis.")] = "optimized",
    frames: Annotated[int, typer.Option(min=1, help="Frames to take from each store.")] = 3,
    iterations: Annotated[int, typer.Option(min=1, help="L-BFGS iterations.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the choice of frames.")] = 0,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="BASIS",
            help="Name or JSON file of a basis: elements not in --shells have its functions, unchanged.",
        ),
    ] = None,
) -> None:
    """Optimise contractions for the difference density: few functions, small fit floor.

    With --keep a basis gets further elements: those that --shells names are optimised, the others stay as they are.
    """
    from densnet_core.cli.progress import RichReporter
    from densnet_core.workflow.bases import optimize_basis

    with RichReporter() as reporter:
        basis, record = optimize_basis(stores, shells, name, output, frames, iterations, seed, reporter, keep)
    print(basis)
    print(f"NMAE of the fits, geometric mean               {record['nmae_percent_geometric_mean']:.3f} %")
    print(f"largest condition number of the scaled metric  {record['largest_condition_number']:.1e}")
    print(f"basis      {output}")
