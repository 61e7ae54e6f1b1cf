"""Makes the shipped bases densnet-s, -m and -l again: labels, H, C, N, O, S together, then one element at a time.

    python science/bases/make.py SHARED_DATA WORK_FOLDER
    python science/bases/make.py --shipped WORK_FOLDER

SHARED_DATA holds ethanol/, ethanethiol/ and water100/ (source: tests/data/README.md). With --shipped the functions of
H, C, N, O, S are those of the shipped files, so that models made with them keep their basis; only the other elements
are made. Everything is PBE/aug-cc-pVDZ. What is finished in WORK_FOLDER is not done again. About an hour on two cores,
a third of it with --shipped. The floors are then those of benchmarks/bench_bases.py --elements.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from densnet_core.basis.library import basis_by_name, shipped_document
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import read_xyz
from densnet_core.workflow.folder import read_json, write_json
from densnet_core.workflow.labels import label_into, open_store
from densnet_core.workflow.stores import backend_factory, default_executor

HERE = Path(__file__).parent
LEVEL = "PBE/aug-cc-pVDZ"
IMPORTED = ("ethanol", "ethanethiol", "water100")
LABELLED = ("nitrogen", "sulfur_carbonyl", "carbon_oxygen")
# Water weighs twice: every store counts the same, and it is the hardest for so few functions.
STORES = (*IMPORTED, "water100", *LABELLED)
SOURCE = (
    "Made by this project with the commands under 'kept' and 'made_by' (science/bases/make.py), from PBE/aug-cc-pVDZ "
    "densities. H, C, N, O, S: ethanol and ethanethiol along GFN2-xTB dynamics, water geometries of "
    "github.com/MihailBogojeski/equiv_dens_ml (MIT licence) and 18 small molecules near their minima. B, F, Si, P, Cl, "
    "Br: 12 geometries of 10 small molecules near their minima for each. For the difference between molecule and "
    "superposed atoms only."
)
FIRST = (1, 6, 7, 8, 16)
TIERS = {
    "densnet-s": ("H=5s1p1d C=4s2p2d1f1g N=5s5p4d3f1g O=5s4p5d2f1g S=7s6p4d3f1g", 60),
    "densnet-m": ("H=4s2p1d1f C=5s2p2d2f2g N=7s6p5d4f2g1h O=7s3p4d3f2g2h S=8s7p5d4f2g1h", 80),
    "densnet-l": ("H=4s2p2d2f C=6s5p4d3f2g N=9s8p7d5f3g1h O=9s8p7d4f3g1h S=9s8p7d5f3g1h", 120),
}
ADDED = {
    "fluorine": ("F=5s4p5d2f1g", "F=7s3p4d3f2g2h", "F=9s8p7d4f3g1h"),
    "boron": ("B=5s5p4d3f1g", "B=7s6p5d4f2g1h", "B=9s8p7d5f3g1h"),
    "silicon": ("Si=7s6p4d3f1g", "Si=8s7p5d4f2g1h", "Si=9s8p7d5f3g1h"),
    "phosphorus": ("P=7s6p4d3f1g", "P=8s7p5d4f2g1h", "P=9s8p7d5f3g1h"),
    "chlorine": ("Cl=7s6p4d3f1g", "Cl=8s7p5d4f2g1h", "Cl=9s8p7d5f3g1h"),
    "bromine": ("Br=7s6p5d3f1g", "Br=8s7p6d4f2g1h", "Br=9s8p7d5f3g1h"),
}
"""Shells in the three tiers. Each element is optimised beside those before it, which its molecules may hold."""
ITERATIONS = 30


def densnet(*arguments: str, folder: Path) -> None:
    """Run the command line in ``folder``; its failure ends the script."""
    subprocess.run([str(Path(sys.executable).parent / "densnet"), *arguments], cwd=folder, check=True)


def main(data: Path | None, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    last = {tier: f"{tier}-first.json" for tier in TIERS}
    if data is not None:
        for name in IMPORTED:
            densnet("data", "import", str(data / name / "train.npz"), f"{name}.zarr", "--level", LEVEL, folder=work)
        for name in LABELLED:
            label(work, name)
    for tier, (shells, iterations) in TIERS.items():
        if data is None:
            first_of_shipped(tier, work / last[tier])
        else:
            optimize(work, tier, STORES, shells, iterations, 6, last[tier])
    for name, shells_of_tiers in ADDED.items():
        label(work, name)
        for tier, shells in zip(TIERS, shells_of_tiers, strict=True):
            output = f"{tier}-{name}.json"
            optimize(work, tier, (name,), shells, ITERATIONS, 12, output, "--keep", last[tier])
            last[tier] = output
    for tier in TIERS:
        write_json(work / f"{tier}.json", {**read_json(work / last[tier]), "source": SOURCE})


def label(work: Path, name: str) -> None:
    """The store of a file of geometries."""
    factory = backend_factory("pyscf", LevelOfTheory.parse(LEVEL))
    with open_store(work / f"{name}.zarr", factory, "pyscf") as store:
        label_into(store, factory, read_xyz(HERE / f"{name}.xyz"), default_executor())


def optimize(
    work: Path, tier: str, stores: tuple[str, ...], shells: str, iterations: int, frames: int, output: str, *more: str
) -> None:
    """One optimisation, unless its file is there."""
    if (work / output).exists():
        return
    names = [f"{name}.zarr" for name in stores]
    densnet("basis", "optimize", *names, "--name", tier, "--shells", shells, "--frames", str(frames),
            "--iterations", str(iterations), "--output", output, *more, folder=work)  # fmt: skip


def first_of_shipped(tier: str, output: Path) -> None:
    """The functions of H, C, N, O, S of a shipped basis, with the record of their optimisation."""
    document = shipped_document(tier) or {}
    made_by = [*document.get("kept", []), document["made_by"]][0]
    write_json(output, {**basis_by_name(tier, FIRST).to_dict(), "made_by": made_by})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, metavar="SHARED_DATA")
    parser.add_argument("work", type=Path, metavar="WORK_FOLDER")
    parser.add_argument("--shipped", action="store_true", help="keep the shipped functions of H, C, N, O, S")
    given = parser.parse_args()
    if given.shipped == (given.data is not None):
        parser.error("give either SHARED_DATA or --shipped")
    main(given.data and given.data.resolve(), given.work.resolve())
