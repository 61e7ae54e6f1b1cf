"""Energies and forces of GFN2-xTB along chains of thiophenes, to pretrain a model of them with.

    python science/cheap_chains.py FOLDER [--units 1 2 3 4 6]

Of each length two conformers, Langevin dynamics at 400 and 600 K from each; FRAMES says how many geometries. Writes a
store FOLDER/xtb-N.zarr for each length, for ``[training] pretraining = { stores = [...] }``; what is there is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from densnet_rdkit.chains import ChainSampler
from densnet_rdkit.config import ChainOptions
from densnet_xtb.config import XTBLangevinOptions
from densnet_xtb.sampler import XTBLangevinSampler
from pretraining import write_cheap

UNIT = "*c1ccc(*)s1"
FRAMES = {1: 200, 2: 400, 3: 500, 4: 400, 6: 240}
TEMPERATURES = (400.0, 600.0)
CONFORMERS = 2


def cheap_chain(folder: Path, units: int) -> Path:
    """The store of one length."""
    path = folder / f"xtb-{units}.zarr"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    chains = ChainOptions(unit=UNIT, units=[units], conformers=12, min_difference=0.002)
    starts = ChainSampler(chains).build(0, 1)[:CONFORMERS]
    each = -(-FRAMES[units] // (len(starts) * len(TEMPERATURES)))
    found = []
    for seed, start in enumerate(starts):
        for temperature in TEMPERATURES:
            options = XTBLangevinOptions(
                temperature=temperature,
                count=each,
                walkers=1,
                time_step_fs=1.0,
                interval_fs=8.0,
                equilibration_fs=120.0,
                seed=100 + seed,
            )
            found += XTBLangevinSampler(options).sample(start)
    return write_cheap(path, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--units", type=int, nargs="+", default=sorted(FRAMES), choices=sorted(FRAMES))
    chosen = parser.parse_args()
    for units in chosen.units:
        print(cheap_chain(chosen.folder, units))


if __name__ == "__main__":
    main()
