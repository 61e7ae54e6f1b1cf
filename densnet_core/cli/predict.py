"""The verb ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densnet_core.cli.output import print_json, print_table

app = typer.Typer(add_completion=False)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Trained model, a folder or zip file.")],
    geometry: Annotated[Path, typer.Argument(help="XYZ file (angstrom), one or more frames.")],
    charge: Annotated[int, typer.Option(help="Total charge, e.")] = 0,
    multiplicity: Annotated[int, typer.Option(help="Spin multiplicity 2S+1.")] = 1,
    cube: Annotated[
        Path | None, typer.Option(help="Write the electron density of the first frame as a Gaussian cube file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout.")] = False,
) -> None:
    """Energy, forces, dipole and electron count of geometries."""
    from densnet_core.density.cube import write_cube
    from densnet_core.structures import read_xyz
    from densnet_core.units import AU_TO_DEBYE, EV_PER_ANGSTROM, HARTREE_TO_EV
    from densnet_core.workflow.model import TrainedModel

    structures = read_xyz(geometry, charge, multiplicity)
    trained = TrainedModel.load(model)
    predictions = trained.predict(structures)
    if cube is not None:
        write_cube(cube, predictions[0].density)
    records = [
        {
            "formula": structure.formula,
            "energy_hartree": prediction.energy,
            "energy_ev": prediction.energy * HARTREE_TO_EV,
            "forces_ev_per_angstrom": (prediction.forces * EV_PER_ANGSTROM).tolist(),
            "dipole_debye": (prediction.dipole * AU_TO_DEBYE).tolist(),
            "electron_count": prediction.density.electron_count(),
        }
        for structure, prediction in zip(structures, predictions, strict=True)
    ]
    if as_json:
        print_json({"model": str(model), "level_of_theory": trained.document.get("level_of_theory"), "frames": records})
        return
    rows = []
    for index, (structure, prediction) in enumerate(zip(structures, predictions, strict=True)):
        forces = abs(prediction.forces).max() * EV_PER_ANGSTROM
        dipole = (prediction.dipole**2).sum() ** 0.5 * AU_TO_DEBYE
        electrons = prediction.density.electron_count()
        rows.append([
            str(index), structure.formula, f"{prediction.energy:.6f}", f"{forces:.3f}", f"{dipole:.3f}",
            f"{electrons:.6f}",
        ])  # fmt: skip
    print_table(["frame", "formula", "energy Ha", "largest force eV/\u00c5", "dipole D", "electrons"], rows)
    if cube is not None:
        print(f"density    {cube}")
