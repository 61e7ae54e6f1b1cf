"""What the density gives the energy: the same network with and without densities to learn from, and two networks.

    python science/density_counts.py FOLDER water|ethanol|response [--frames 50 100] [--seeds 0 1 2]
        [--variants shared control]

response : water, frames that also have the response of the density to a field (science/systems/water/
    labels-response.npz); as a variant, it is learned beside density, dipole and polarizability.
shared : one network learns densities first, then densities, dipoles, energies and forces.
control : the same network, the same frames, no density and no dipole; the steps of the first stage are added to those
    of the second, so it sees more forces.
apart : a density network, then an energy network of its own on top of it that reads the predicted amplitudes.

Errors on held-out frames, mean and standard deviation over the seeds. What is finished is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from data_sets import STEPS, figures, imported, table, train, water_store

COMPILED = 'compile = "always"'
N_VALIDATION = 5
CONTROL = {"density": 1, "energy": sum(STEPS.values())}
VARIANTS: dict[str, dict[str, Any]] = {
    "shared": {},
    "control": {"steps": CONTROL, "of_energy": "weights = { density = 0, dipole = 0 }"},
    "apart": {"model": "equivariant"},
    "response": {"of_density": "response = true"},
}
RESPONSES = Path(__file__).parent / "systems" / "water" / "labels-response.npz"


def stores_of(folder: Path, data: Path, molecule: str, frames: int) -> list[Path]:
    """A store with so many training frames; the last has the held-out frames, of all sizes alike."""
    name, parts = f"{molecule}-{frames}", (frames - N_VALIDATION, N_VALIDATION)
    if molecule == "water":
        return [water_store(folder, data, name, parts)]
    if molecule == "response":
        held_out = imported(folder, "water-held-out", [data / "water100" / "valid.npz"], lambda n: (0, 0, n))
        return [imported(folder, name, [RESPONSES], lambda n: (*parts, 0), held_out), held_out]
    return [imported(folder, name, [data / molecule / "train.npz"], lambda n: (*parts, n - frames))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("molecule", choices=("water", "ethanol", "response"))
    parser.add_argument("--frames", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["shared", "control", "apart"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    chosen = parser.parse_args()
    if "response" in chosen.variants and chosen.molecule != "response":
        parser.error("the variant response learns from frames with responses: the molecule is response, too")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for frames in chosen.frames:
        stores = stores_of(chosen.folder, chosen.data, chosen.molecule, frames)
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in chosen.seeds:
            for name in chosen.variants:
                run = f"{stores[0].stem}-{name}"
                errors = train(chosen.folder, run, stores, seed, more=COMPILED, **VARIANTS[name])
                rows.setdefault(name, []).append(figures(errors[str(stores[-1].resolve())]))
                table(f"after seed {seed}", rows)
        table(f"{chosen.molecule}, {frames} frames, {len(chosen.seeds)} seeds", rows)


if __name__ == "__main__":
    main()
