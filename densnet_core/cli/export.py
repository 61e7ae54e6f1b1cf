"""The verb ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densnet_core.cli.options import Charge, Multiplicity

app = typer.Typer(add_completion=False)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Trained model: folder, zip file or shipped name.")],
    geometry: Annotated[Path, typer.Argument(help="XYZ file of one frame that gives the atoms and their order.")],
    output: Annotated[Path, typer.Argument(help="TorchScript file to write, for openmm-torch's TorchForce.")],
    replicas: Annotated[int, typer.Option(min=1, help="Independent copies of the molecule in one call.")] = 1,
    atoms: Annotated[
        str | None, typer.Option(help="Particles of a larger System that the file is for, from 0: 12-20,25.")
    ] = None,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
) -> None:
    """Write the model for one molecule as TorchScript: nm in, kJ/mol and kJ/(mol nm) out, needs torch only."""
    from densnet_core.errors import InputError
    from densnet_core.potentials.bound import BoundPotential
    from densnet_core.potentials.densnet import DenSNet
    from densnet_core.structures import read_geometry

    if output.is_dir() or not output.parent.is_dir():
        raise InputError(f"{output} cannot be written: give the name of a file in a folder that exists.")
    structure = read_geometry(geometry, charge, multiplicity)
    BoundPotential(DenSNet.load(model), [structure] * replicas).save_torchscript(output, _indices(atoms))
    print(f"{output}: {replicas} x {structure.formula}; see examples/openmm_torchforce.py")


def _indices(text: str | None) -> list[int] | None:
    """Indices of a list of numbers and ranges with both ends, such as ``12-20,25``."""
    from densnet_core.errors import InputError

    if text is None:
        return None
    indices: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise InputError(f"--atoms {text!r} is no list of indices; expected numbers and ranges such as 12-20,25.")
        indices += range(int(first), int(last or first) + 1)
    return indices
