"""The verb ``predict``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from densnet_core.cli.options import Charge, Multiplicity
from densnet_core.cli.output import print_json

if TYPE_CHECKING:
    from densnet_core.density.electron import ExpandedDensity
    from densnet_core.potentials.densnet import DenSNet

app = typer.Typer(add_completion=False)


class Quantity(StrEnum):
    """What a picture shows."""

    DENSITY = "density"
    DIFFERENCE = "difference"
    POTENTIAL = "potential"


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Trained model: folder, zip file or shipped name.")],
    geometry: Annotated[Path, typer.Argument(help="XYZ file (angstrom), one or more frames.")],
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    properties: Annotated[
        str,
        typer.Option(
            help="Of every frame, separated by commas: charges, quadrupole, hartree_energy, nuclear_attraction_energy, "
            "hellmann_feynman_forces, surface_potential; or all."
        ),
    ] = "",
    potential_at: Annotated[
        Path | None,
        typer.Option(help="Electrostatic potential of every frame at these points: XYZ or lines 'x, y, z', angstrom."),
    ] = None,
    frame: Annotated[
        int, typer.Option(min=0, help="The frame, counted from 0, that the options below write files of.")
    ] = 0,
    cube: Annotated[Path | None, typer.Option(help="Cube file of the electron density, electrons/bohr^3.")] = None,
    cube_difference: Annotated[
        Path | None, typer.Option(help="Cube file of the density minus that of the free atoms, electrons/bohr^3.")
    ] = None,
    cube_potential: Annotated[
        Path | None, typer.Option(help="Cube file of the electrostatic potential, hartree/e.")
    ] = None,
    spacing: Annotated[float, typer.Option(help="Distance of the points of a cube file, bohr.")] = 0.2,
    picture: Annotated[
        Path | None, typer.Option(help="PNG of a slice through the plane along which the atoms spread most.")
    ] = None,
    picture_of: Annotated[Quantity, typer.Option(help="What the picture shows.")] = Quantity.DENSITY,
    scf_guess: Annotated[
        Path | None, typer.Option(help="NumPy archive of a density matrix for PySCF to start its SCF from.")
    ] = None,
    density_only: Annotated[
        bool,
        typer.Option(
            "--density-only",
            help="No energies and forces: what follows from the density, of compositions too whose energies have no "
            "meaning in the model.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse geometries that are unlike those the model was trained on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout.")] = False,
) -> None:
    """Energy, forces, dipole and electron count of geometries, and what else follows from their densities."""
    from densnet_core.cli.observables import show_predictions
    from densnet_core.errors import InputError
    from densnet_core.potentials.densnet import DenSNet
    from densnet_core.structures import read_xyz
    from densnet_core.workflow.observables import (
        chosen_properties,
        density_record,
        potential_record,
        prediction_record,
        read_points,
        refuse_unlike,
    )

    names = chosen_properties(properties)
    points = None if potential_at is None else read_points(potential_at)
    structures = read_xyz(geometry, charge, multiplicity)
    if frame >= len(structures):
        raise InputError(f"{geometry} has {len(structures)} frames, counted from 0; there is no frame {frame}.")
    trained = DenSNet.load(model)
    unlike = trained.extrapolation(structures)
    if strict:
        refuse_unlike(trained, unlike)
    if density_only:
        densities = trained.densities(structures)
        records = [density_record(density, names) for density in densities]
    else:
        predictions = trained.predict(structures)
        densities = [prediction.density for prediction in predictions]
        records = [prediction_record(prediction, names) for prediction in predictions]
    for record, one in zip(records, unlike, strict=True):
        record["extrapolation"] = {"score": one.score, "reasons": list(one.reasons)}
    if points is not None:
        for record, density in zip(records, densities, strict=True):
            record["potential_at_points"] = potential_record(density, points)
    written: dict[str, Path] = {}
    cubes = {Quantity.DENSITY: cube, Quantity.DIFFERENCE: cube_difference, Quantity.POTENTIAL: cube_potential}
    for quantity, path in cubes.items():
        if path is not None:
            _write_cube(densities[frame], quantity, path, spacing)
            written[f"{quantity.value} cube"] = path
    if picture is not None:
        _write_picture(densities[frame], picture_of, picture)
        written[f"{picture_of.value} picture"] = picture
    if scf_guess is not None:
        _write_scf_guess(trained, densities[frame], scf_guess)
        written["starting density matrix"] = scf_guess
    if as_json:
        files = {"files": {name: str(path) for name, path in written.items()}, "files_of_frame": frame}
        level = trained.document.get("level_of_theory")
        print_json({"model": str(model), "level_of_theory": level, "frames": records} | (files if written else {}))
        return
    show_predictions(structures, records)
    for name, path in written.items():
        print(f"{name} of frame {frame}: {path}")


def _write_cube(density: ExpandedDensity, quantity: Quantity, path: Path, spacing: float) -> None:
    from densnet_core.density.cube import write_cube

    write_cube(path, density, quantity.value, spacing=spacing)


def _write_picture(density: ExpandedDensity, quantity: Quantity, path: Path) -> None:
    from densnet_core.density.picture import plot_slice

    plot_slice(path, density, quantity.value)


def _write_scf_guess(model: DenSNet, density: ExpandedDensity, path: Path) -> None:
    from densnet_core.workflow.scf_guess import write_scf_guess

    write_scf_guess(path, model, density)
