"""What each choice of the model is worth: water, the same frames and steps, one thing changed at a time.

    python science/ablations.py FOLDER [--variants standard "8 channels" ...] [--seeds 0 1 2] [--data ../shared/data]

95 frames of water to learn from (PBE/aug-cc-pVDZ), all of the published validation set held out, 1000 + 3000 steps of
five frames. "against the reference" has the floor of the basis in it, "against fit" has not. Prints mean and standard
deviation over the seeds; "min" is the processor time of the training, of the first run with the fits that the others
share. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from data_sets import figures, table, train, water_store
from density_counts import N_VALIDATION
from density_counts import VARIANTS as OF_THE_DENSITY

VARIANTS: dict[str, dict[str, Any]] = {
    "standard": {},
    "no density, no dipole": OF_THE_DENSITY["control"],
    "two networks": OF_THE_DENSITY["apart"],
    "metric overlap": {"of_basis": 'name = "densnet-m"\nmetric = "overlap"'},
    "metric weighted": {"of_basis": 'name = "densnet-m"\nmetric = "weighted"'},
    "basis densnet-s": {"of_basis": 'name = "densnet-s"'},
    "basis densnet-l": {"of_basis": 'name = "densnet-l"'},
    "one layer": {"of_backbone": "layers = 1"},
    "three layers": {"of_backbone": "layers = 3"},
    "features l <= 1": {"of_backbone": "l_max = 1"},
    "neighbours l <= 2": {"of_backbone": "l_max_edge = 2"},
    "8 channels": {"of_backbone": "channels = 8, product_channels = 8"},
    "16 channels": {"of_backbone": "channels = 16, product_channels = 16"},
    "64 channels": {"of_backbone": "channels = 64, product_channels = 64"},
}
FRAMES = {"20 frames": 20, "45 frames": 45}


def errors_of(folder: Path, data: Path, name: str, seed: int) -> dict[str, float]:
    """Errors and processor time of one run."""
    store = water_store(folder, data, f"water-{FRAMES.get(name, 95)}", (FRAMES.get(name, 95), N_VALIDATION))
    run = name.replace(" ", "-").replace(",", "").replace("<=", "up-to")
    found = folder / f"{run}-{seed}.json"
    if not found.exists():
        before = time.process_time()
        (errors,) = train(folder, run, [store], seed, **VARIANTS.get(name, {})).values()
        reference = errors["density"]["nmae_model_vs_reference_percent"]
        minutes = (time.process_time() - before) / 60.0
        found.write_text(json.dumps({**figures(errors), "NMAE against the reference %": reference, "min": minutes}))
    kept: dict[str, float] = json.loads(found.read_text())
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    names = [*VARIANTS, *FRAMES]
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in chosen.seeds:
        for name in chosen.variants:
            rows.setdefault(name, []).append(errors_of(chosen.folder, chosen.data, name, seed))
        table(f"after seed {seed}", rows)


if __name__ == "__main__":
    main()
