"""The verb ``vibrations``: of a molecule, with a model or a reference backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.cli.options import Charge, Multiplicity
from densnet_core.cli.output import print_json
from densnet_core.cli.stages import AsJson
from densnet_core.config.vibrations import VibrationOptions
from densnet_core.errors import InputError

app = typer.Typer(add_completion=False)
USUAL = VibrationOptions()


@app.command()
def vibrations(
    source: Annotated[
        str,
        typer.Argument(
            help="A model, path or shipped name; or with --level a reference backend.", metavar="MODEL|BACKEND"
        ),
    ],
    geometry: Annotated[Path, typer.Argument(help="XYZ file (angstrom) of the molecule.")],
    level: Annotated[str | None, typer.Option(help="Level of theory of a backend: PBE/def2-SVP.")] = None,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    keep_geometry: Annotated[
        bool, typer.Option("--keep-geometry", help="Do not optimise: a transition state, or another program's minimum.")
    ] = False,
    temperature: Annotated[float, typer.Option(help="Temperature, K.")] = USUAL.temperature,
    pressure: Annotated[float, typer.Option(help="Pressure, bar.")] = USUAL.pressure,
    symmetry_number: Annotated[
        int | None,
        typer.Option(help="Rotations that map the molecule onto itself.  [default: found from the geometry]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write into.  [default: GEOMETRY-vibrations, of a backend with level]")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="modes.json of another source of the same molecule, to stand beside.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a geometry that is unlike those the model was trained on.")
    ] = False,
    raman: Annotated[
        bool,
        typer.Option("--raman", help="Raman activities of a backend; a model with polarizabilities always has them."),
    ] = False,
    width: Annotated[float, typer.Option(help="Width of a line in the picture, cm^-1.")] = USUAL.width,
    max_force: Annotated[float, typer.Option(help="Largest force at the minimum, hartree/bohr.")] = USUAL.max_force,
    max_calculations: Annotated[int, typer.Option(help="Most calculations to find it.")] = USUAL.max_calculations,
    displacement: Annotated[
        float, typer.Option(help="Step of the differences that give second derivatives, bohr.")
    ] = USUAL.displacement,
    as_json: AsJson = False,
) -> None:
    """Minimum, normal modes with infrared and Raman intensities, and thermochemistry of a molecule as an ideal gas.

    Writes the geometry, modes.json, a picture of the spectrum and animations of the modes. A backend's calculations are
    kept one by one: a call that was killed goes on.
    """
    from densnet_core.cli.modes import show_vibrations
    from densnet_core.cli.progress import RichReporter
    from densnet_core.options import validate
    from densnet_core.structures import read_geometry

    table = {
        "optimise": not keep_geometry,
        "max_force": max_force,
        "max_calculations": max_calculations,
        "displacement": displacement,
        "temperature": temperature,
        "pressure": pressure,
        "symmetry_number": symmetry_number,
        "raman": raman,
        "width": width,
    }
    options = validate(VibrationOptions, table)
    structure = read_geometry(geometry, charge, multiplicity)
    record: dict[str, Any]
    with RichReporter() as reporter:
        if level is None:
            from densnet_core.workflow.vibrations import vibrations_of_model

            _check_model(source)
            folder = output or geometry.with_name(f"{geometry.stem}-vibrations")
            record = vibrations_of_model(
                Path(source), structure, options, folder, reporter, strict=strict, compare=compare
            )
        else:
            from densnet_core.reference.level import LevelOfTheory
            from densnet_core.workflow.vibrations import slug, vibrations_of_backend

            theory = LevelOfTheory.parse(level)
            _check_backend(source, strict)
            folder = output or geometry.with_name(f"{geometry.stem}-vibrations-{slug(source, theory)}")
            record = vibrations_of_backend(source, theory, structure, options, folder, reporter, compare=compare)
    if as_json:
        print_json(record)
    else:
        show_vibrations(record)


def _check_model(source: str) -> None:
    """``InputError`` if what is to be a model is the name of a backend."""
    from densnet_core.plugins.component import Kind
    from densnet_core.plugins.manager import get_manager

    manager = get_manager()
    backends = {one.name for one in manager.components(Kind.REFERENCE)} | set(manager.registry.names(Kind.REFERENCE))
    if source in backends and not Path(source).exists():
        raise InputError(f"{source} is a reference backend; name the level of theory, such as --level PBE/def2-SVP.")


def _check_backend(source: str, strict: bool) -> None:
    """``InputError`` for what has a meaning for a model only."""
    if Path(source).exists():
        raise InputError(
            f"--level is for a reference backend, and {source} is a file or folder; leave it out for a model."
        )
    if strict:
        raise InputError("--strict is for a model; a backend has no training data that a geometry could be unlike.")
