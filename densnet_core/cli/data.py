"""The verb ``data``: info, verify, upgrade, import, export, merge, split and project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from densnet_core.cli.options import Charge, Multiplicity
from densnet_core.cli.output import print_json, print_table
from densnet_core.density.method import Moment
from densnet_core.errors import DataError
from densnet_core.reference.properties import Quantity

app = typer.Typer(add_completion=False, no_args_is_help=True)
STORE = typer.Argument(help="Store, a folder ending in .zarr.")
LISTED: Final = 30
"""Problems or frames that are printed; all are in the JSON."""
JSON = typer.Option("--json", help="Print JSON on stdout.")


@app.command()
def info(store: Annotated[Path, STORE], as_json: Annotated[bool, JSON] = False) -> None:
    """What a store holds, and whether its frames sit on different electronic states."""
    from densnet_core.stores.reference import ReferenceStore
    from densnet_core.stores.scf_states import state_notes
    from densnet_core.stores.verify import open_store

    opened = open_store(store)
    record = opened.info()
    if isinstance(opened, ReferenceStore) and (notes := state_notes(opened)):
        record["electronic states"] = notes
    if as_json:
        print_json(record)
    else:
        print_table(["key", "value"], [[key, str(value)] for key, value in record.items()])


@app.command()
def verify(
    store: Annotated[Path, STORE],
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep all that is sound; take out and name what is broken.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Read and check every byte of a store; problems name the frame."""
    from densnet_core.stores.repair import repair as mend
    from densnet_core.stores.verify import verify as check

    if repair:
        report = mend(store)
        if as_json:
            print_json({"store": str(store), **asdict(report)})
            return
        _print_list("restored", report.restored)
        _print_list("taken out, see 'removed' in the store", report.removed)
        _print_list("to do", report.to_do)
        print(f"{store}: {'repaired' if report.restored or report.removed or report.to_do else 'sound'}, ", end="")
        print(f"{report.kept} frames")
        return
    problems = check(store)
    if as_json:
        print_json({"store": str(store), "problems": problems})
    if problems:
        listed = "\n".join(_listed(problems))
        raise DataError(
            f"{store} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n{listed}\n'densnet data "
            "verify --repair' keeps all that is sound."
        )
    if not as_json:
        print(f"{store}: sound")


@app.command()
def upgrade(
    stores: Annotated[list[Path], typer.Argument(help="Stores of an older format.")],
) -> None:
    """Bring stores to the format that is written today, with all that they hold."""
    from densnet_core.stores.upgrade import upgrade as renew

    for store in stores:
        before, now = renew(store)
        print(f"{store}: format {f'{before} is now {now}' if before != now else f'{now} already'}")


@app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="NumPy archive (.npz), extended XYZ (.xyz, .extxyz), QCSchema (.json) or the geometries of the data "
            "of the paper (.npy)."
        ),
    ],
    store: Annotated[Path, typer.Argument(help="Store to make, or to add to.")],
    level: Annotated[
        str | None, typer.Option(help="Level of theory of the file, METHOD/BASIS; QCSchema files say it themselves.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="Reference backend whose orbital basis and order the store's orbitals have; 'none': energies and "
            "forces of any other program, to pretrain on."
        ),
    ] = "pyscf",
    density: Annotated[
        Path | None, typer.Option(help="The densities that belong to an .npy file, themselves an .npy file.")
    ] = None,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    energy_key: Annotated[str | None, typer.Option(help="Name of the energy in extended XYZ, e.g. REF_energy.")] = None,
    forces_key: Annotated[str | None, typer.Option(help="Name of the forces in extended XYZ.")] = None,
    dipole_key: Annotated[str | None, typer.Option(help="Name of the dipole in extended XYZ.")] = None,
    energy_unit: Annotated[
        str | None, typer.Option(help="Of extended XYZ whose header does not say: eV, hartree, kJ/mol or kcal/mol.")
    ] = None,
    length_unit: Annotated[str | None, typer.Option(help="The same for positions: angstrom or bohr.")] = None,
    forces_unit: Annotated[str | None, typer.Option(help="The same for forces: eV/angstrom, hartree/bohr, ...")] = None,
    dipole_unit: Annotated[str | None, typer.Option(help="The same for dipoles: e*angstrom, e*bohr or debye.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import labels too that look wrong: units, signs, levels, repetitions.")
    ] = False,
) -> None:
    """Import labelled frames; frames that the store has already are skipped, labels that look wrong are refused."""
    from densnet_core.files.units import Keys
    from densnet_core.workflow.stores import import_file as import_into

    names = {"energy": energy_key, "forces": forces_key, "dipole": dipole_key}
    units = {"energy": energy_unit, "length": length_unit, "forces": forces_unit, "dipole": dipole_unit}
    given = [{key: value for key, value in table.items() if value is not None} for table in (names, units)]
    keys = Keys(*given) if any(given) else None
    added, present, ignored = import_into(file, store, level, backend, charge, multiplicity, keys, density, trust)
    print(f"{store}: {added} frames imported, {present} were there already")
    if ignored:
        print(f"not imported: {', '.join(ignored)}")


@app.command()
def export(
    store: Annotated[Path, STORE],
    file: Annotated[
        Path,
        typer.Argument(help="File to write; the suffix says the format, as for import. Trajectories: .xyz or .dcd."),
    ],
    every: Annotated[int, typer.Option(min=1, help="Of a trajectory: every so-many-th frame.")] = 1,
    replica: Annotated[
        int | None,
        typer.Option(min=0, help="Of a trajectory: one replica, from 0; all in files of their own if not given."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Of a NumPy archive: orbitals in single precision, compressed.")
    ] = False,
) -> None:
    """Write the frames as extended XYZ with units in the header (for ASE), QCSchema JSON or a NumPy archive.

    Those of a trajectory as extended XYZ or DCD (for VMD and MDAnalysis).
    """
    from densnet_core.workflow.stores import export_file

    for written, frames in export_file(store, file, every, replica, small).items():
        print(f"{written}: {frames} frames")


@app.command()
def project(
    store: Annotated[Path, STORE],
    basis: Annotated[str, typer.Option(help="Density basis, by name.")],
    overlap: Annotated[bool, typer.Option("--overlap", help="Overlap metric instead of Coulomb.")] = False,
    quantity: Annotated[
        Quantity, typer.Option(help="The density, its response to a field, or the spin density.")
    ] = "density",
    exact: Annotated[
        Moment, typer.Option(help="Highest moment of the density that the fit holds exactly, with all lower ones.")
    ] = "dipole",
) -> None:
    """Fit the difference density of all frames in another basis, from the orbitals in the store.

    Also the first-order density in a uniform field, where frames have it, and the spin density of open shells.
    """
    from densnet_core.cli.progress import RichReporter
    from densnet_core.workflow.stores import project_store

    with RichReporter() as reporter:
        name, frames = project_store(store, basis, "overlap" if overlap else "coulomb", reporter, quantity, exact)
    print(f"{store}: fit {name!r} of {frames} frames")


@app.command()
def merge(
    store: Annotated[Path, typer.Argument(help="Store to make, or to go on with after an interruption.")],
    sources: Annotated[list[Path], typer.Argument(help="Two or more stores of one level of theory.")],
    keep_first: Annotated[
        bool, typer.Option("--keep-first", help="Where labels differ, believe the store named first.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make one store of several; a frame in more than one of them is there once."""
    from densnet_core.cli.progress import RichReporter
    from densnet_core.stores.merge import merge_stores

    with RichReporter() as reporter:
        advance = reporter.task("frames", 0)
        report = merge_stores(store, sources, keep_first, lambda done, total: advance(done, f"of {total}"))
    if as_json:
        print_json({"store": str(store), **asdict(report)})
        return
    _print_list("labels that differ, those of the store named first were kept", report.conflicts)
    _print_list("not carried over", report.notes)
    print(f"{store}: {report.frames} frames, {report.repeated} were there more than once")


@app.command()
def split(
    store: Annotated[Path, STORE],
    test: Annotated[int, typer.Option(min=0, help="Frames to hold out.")],
    validation: Annotated[int, typer.Option(min=0, help="Frames to validate on.")],
    train: Annotated[int | None, typer.Option(min=1, help="Frames to train on; all others if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which frames are drawn.")] = 0,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw anew where the record of an earlier split was lost.")
    ] = False,
) -> None:
    """Divide the frames into train, validation and test; what was once a test frame is never trained on."""
    from densnet_core.workflow.stores import split_into

    sizes = split_into(store, train, validation, test, seed, redraw)
    print(f"{store}: " + ", ".join(f"{count} {part.replace('_', ' ')}" for part, count in sizes.items()))


def _print_list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"{title}:")
        print("\n".join(_listed(lines)))


def _listed(lines: Sequence[str]) -> list[str]:
    """The first of some lines, indented, and how many more there are."""
    more = [f"  ... and {len(lines) - LISTED} more, see --json"] if len(lines) > LISTED else []
    return [*(f"  {line}" for line in lines[:LISTED]), *more]
