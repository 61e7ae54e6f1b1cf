"""The verb ``init``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.basis.library import OTHER_BASIS
from densnet_core.cli.options import Charge, Multiplicity
from densnet_core.config import parse_config
from densnet_core.config.inputs import molecule_of
from densnet_core.config.starter import DENSITY_BASIS, starter
from densnet_core.errors import InputError
from densnet_core.plugins.manager import get_manager
from densnet_core.structures import read_geometry

app = typer.Typer(add_completion=False)

# Equilibrium of the gas phase, r = 0.9575 angstrom and 104.51 degrees (A. R. Hoy and P. R. Bunker,
# J. Mol. Spectrosc. 74, 1 (1979)).
_WATER = """\
3
water; put your own molecule here (angstrom)
O   0.000000   0.000000   0.000000
H   0.757127   0.586151   0.000000
H  -0.757127   0.586151   0.000000
"""


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the file to write: NAME.toml.")] = "molecule",
    geometry: Annotated[
        Path | None, typer.Option(help="Your molecule, an XYZ file.  [default: NAME.xyz, or water to start with]")
    ] = None,
    smiles: Annotated[str | None, typer.Option(help="Your molecule as SMILES; needs densnet-rdkit.")] = None,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite NAME.toml.")] = False,
) -> None:
    """Write a commented configuration for a molecule: with --geometry or --smiles it runs as it is."""
    stem = Path(name.removesuffix(".toml"))
    if not stem.name:
        raise InputError(f"{name!r} is not a name for a file.")
    if not stem.parent.is_dir():
        raise InputError(f"There is no directory {stem.parent}; make it first.")
    if geometry is not None and smiles is not None:
        raise InputError("Give either --geometry or --smiles.")
    config, example = (stem.with_name(stem.name + suffix) for suffix in (".toml", ".xyz"))
    if config.exists() and not force:
        raise InputError(f"{config} exists already. Choose another name, or overwrite it with --force.")
    given: dict[str, Any] = {"system__smiles": smiles} if smiles is not None else {}
    if geometry is not None:
        given["system__geometry"] = os.path.relpath(geometry, stem.parent)
        structure = read_geometry(geometry, charge, multiplicity)
        charge, multiplicity = structure.charge, structure.multiplicity
    given |= {f"system__{key}": value for key, value in (("charge", charge), ("multiplicity", multiplicity)) if value}
    own = geometry is not None or smiles is not None
    text = _fitting(stem, given) if own else starter(stem.name, **given)
    config.write_text(text, encoding="utf-8")
    print(f"Wrote {config}")
    if not own and not example.exists():
        example.write_text(_WATER, encoding="utf-8")
        print(f"Wrote {example} (water, as an example)")
    print(f"Next:{'' if own else ' edit them, then'}\n  densnet config check {config}\n  densnet run {config}")


def _fitting(stem: Path, given: dict[str, Any]) -> str:
    """The text for a molecule that is there, with a density basis that covers it."""
    manager, source = get_manager(), stem.with_suffix(".toml").absolute()
    structure = molecule_of(parse_config(starter(stem.name, **given), source), manager)
    for basis in (DENSITY_BASIS, OTHER_BASIS):
        text = starter(stem.name, **{**given, "basis__name": basis})
        try:
            parse_config(text, source).needed_basis().build(int(z) for z in structure.numbers)
        except InputError:
            if basis == OTHER_BASIS:
                raise
        else:
            break
    return text
