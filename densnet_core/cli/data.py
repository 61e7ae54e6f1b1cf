"""The verb ``data``: info, verify, import and project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densnet_core.cli.output import print_json, print_table
from densnet_core.errors import DataError

app = typer.Typer(add_completion=False, no_args_is_help=True)
STORE = typer.Argument(help="Store, a folder ending in .zarr.")
JSON = typer.Option("--json", help="Print JSON on stdout.")


@app.command()
def info(store: Annotated[Path, STORE], as_json: Annotated[bool, JSON] = False) -> None:
    """What a store holds."""
    from densnet_core.stores.verify import open_store

    record = open_store(store).info()
    if as_json:
        print_json(record)
    else:
        print_table(["key", "value"], [[key, str(value)] for key, value in record.items()])


@app.command()
def verify(store: Annotated[Path, STORE], as_json: Annotated[bool, JSON] = False) -> None:
    """Read and check everything in a store; problems name the frame."""
    from densnet_core.stores.verify import verify as check

    problems = check(store)
    if as_json:
        print_json({"store": str(store), "problems": problems})
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise DataError(f"{store} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n{listed}")
    if not as_json:
        print(f"{store}: sound")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="NumPy archive (.npz) with numbers, positions_angstrom, ...")],
    store: Annotated[Path, typer.Argument(help="Store to make, or to add to.")],
    level: Annotated[str, typer.Option(help="Level of theory of the file, METHOD/BASIS, e.g. PBE/aug-cc-pVDZ.")],
    backend: Annotated[
        str, typer.Option(help="Reference backend whose orbital basis and order the file's orbitals have.")
    ] = "pyscf",
    charge: Annotated[int, typer.Option(help="Total charge, e.")] = 0,
    multiplicity: Annotated[int, typer.Option(help="Spin multiplicity 2S+1.")] = 1,
) -> None:
    """Import labelled frames; frames that the store has already are skipped."""
    from densnet_core.workflow.stores import import_npz

    added, present, ignored = import_npz(file, store, level, backend, charge, multiplicity)
    print(f"{store}: {added} frames imported, {present} were there already")
    if ignored:
        print(f"not imported: {', '.join(ignored)}")


@app.command()
def project(
    store: Annotated[Path, STORE],
    basis: Annotated[str, typer.Option(help="Density basis, by name.")],
    overlap: Annotated[bool, typer.Option("--overlap", help="Overlap metric instead of Coulomb.")] = False,
) -> None:
    """Fit the difference density of all frames in another basis, from the orbitals in the store."""
    from densnet_core.cli.progress import RichReporter
    from densnet_core.workflow.stores import project_store

    with RichReporter() as reporter:
        name, frames = project_store(store, basis, "overlap" if overlap else "coulomb", reporter)
    print(f"{store}: fit {name!r} of {frames} frames")
