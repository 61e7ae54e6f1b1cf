"""The verb ``init``."""

from pathlib import Path
from typing import Annotated

import typer

from densnet_core.config.starter import starter
from densnet_core.errors import InputError

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
    name: Annotated[str, typer.Argument(help="Name of the files to write: NAME.toml and NAME.xyz.")] = "molecule",
    force: Annotated[bool, typer.Option("--force", help="Overwrite NAME.toml.")] = False,
) -> None:
    """Write a commented starter configuration, and a water molecule to start with where there is no geometry."""
    stem = Path(name.removesuffix(".toml"))
    if not stem.name:
        raise InputError(f"{name!r} is not a name for a file.")
    if not stem.parent.is_dir():
        raise InputError(f"There is no directory {stem.parent}; make it first.")
    config, geometry = (stem.with_name(stem.name + suffix) for suffix in (".toml", ".xyz"))
    if config.exists() and not force:
        raise InputError(f"{config} exists already. Choose another name, or overwrite it with --force.")
    config.write_text(starter(stem.name), encoding="utf-8")
    print(f"Wrote {config}")
    if not geometry.exists():
        geometry.write_text(_WATER, encoding="utf-8")
        print(f"Wrote {geometry} (water, as an example)")
    print(f"Next: edit them, then\n  densnet config check {config}\n  densnet run {config}")
