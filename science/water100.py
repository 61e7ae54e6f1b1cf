"""Water learned from the 100 published frames, in half an hour: errors on the 100 of the published validation set.

    python science/water100.py FOLDER [--seeds 0] [--steps 5000 100000] [--data ../shared/data]

95 frames to learn from and 5 to validate on, PBE/aug-cc-pVDZ, densnet-m, batches of five; one thread. What is finished
is not done again, and a killed run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from data_sets import figures, table, train, water_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, nargs=2, default=[5000, 100000], help="of the density, of both networks")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    store = water_store(chosen.folder, chosen.data, "water100", (95, 5))
    steps = dict(zip(("density", "energy"), chosen.steps, strict=True))
    runs = [train(chosen.folder, "water100", [store], seed, steps=steps) for seed in chosen.seeds]
    table(f"water, {len(runs)} seeds", {"95 + 5 frames": [figures(run[str(store.resolve())]) for run in runs]})


if __name__ == "__main__":
    main()
