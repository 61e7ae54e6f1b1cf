"""Makes the shipped bases densnet-s, -m and -l again: labels, optimisation, fit floors on frames never used.

    python science/bases/make.py SHARED_DATA WORK_FOLDER

SHARED_DATA holds ethanol/, ethanethiol/ and water100/ (source: tests/data/README.md). Everything is PBE/aug-cc-pVDZ.
What is finished in WORK_FOLDER is not done again. About half an hour on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import read_xyz
from densnet_core.workflow.folder import write_json
from densnet_core.workflow.labels import label_into, open_store
from densnet_core.workflow.stores import backend_factory, default_executor

HERE = Path(__file__).parent
LEVEL = "PBE/aug-cc-pVDZ"
IMPORTED = ("ethanol", "ethanethiol", "water100")
LABELLED = ("nitrogen", "sulfur_carbonyl", "carbon_oxygen")
# Water weighs twice: every store counts the same, and it is the hardest for so few functions.
STORES = (*IMPORTED, "water100", *LABELLED)
SOURCE = (
    "Made by this project with the command under 'made_by' (science/bases/make.py), from PBE/aug-cc-pVDZ densities of "
    "ethanol and ethanethiol along GFN2-xTB dynamics, water geometries of github.com/MihailBogojeski/equiv_dens_ml "
    "(MIT licence) and 18 small molecules near their minima. For the difference between molecule and superposed atoms "
    "only."
)
TIERS = {
    "densnet-s": ("H=5s1p1d C=4s2p2d1f1g N=5s5p4d3f1g O=5s4p5d2f1g S=7s6p4d3f1g", 60),
    "densnet-m": ("H=4s2p1d1f C=5s2p2d2f2g N=7s6p5d4f2g1h O=7s3p4d3f2g2h S=8s7p5d4f2g1h", 80),
    "densnet-l": ("H=4s2p2d2f C=6s5p4d3f2g N=9s8p7d5f3g1h O=9s8p7d4f3g1h S=9s8p7d5f3g1h", 120),
}


def densnet(*arguments: str, folder: Path) -> None:
    """Run the command line in ``folder``; its failure ends the script."""
    subprocess.run([str(Path(sys.executable).parent / "densnet"), *arguments], cwd=folder, check=True)


def main(data: Path, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    for name in IMPORTED:
        densnet("data", "import", str(data / name / "train.npz"), f"{name}.zarr", "--level", LEVEL, folder=work)
    factory = backend_factory("pyscf", LevelOfTheory.parse(LEVEL))
    for name in LABELLED:
        with open_store(work / f"{name}.zarr", factory, "pyscf") as store:
            label_into(store, factory, read_xyz(HERE / f"{name}.xyz"), default_executor())
    for tier, (shells, iterations) in TIERS.items():
        if not (work / f"{tier}.json").exists():
            stores = [f"{name}.zarr" for name in STORES]
            densnet("basis", "optimize", *stores, "--name", tier, "--shells", shells, "--frames", "6",
                    "--iterations", str(iterations), "--output", f"{tier}.json", folder=work)  # fmt: skip
        name_source(work / f"{tier}.json")


def name_source(path: Path) -> None:
    """Say in the file where the basis is from, as every shipped basis does."""
    document = json.loads(path.read_text("utf-8"))
    write_json(path, {**document, "source": SOURCE})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
