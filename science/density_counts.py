"""What the density gives the energy: the same network with and without densities to learn from, and two networks.

    python science/density_counts.py FOLDER water|ethanol [--frames 50 100] [--seeds 0 1 2] [--variants shared control]

shared : one network learns densities first, then densities, dipoles, energies and forces.
control : the same network, the same frames, no density and no dipole; the steps of the first stage are added to those
    of the second, so it sees more forces.
apart : a density network, then an energy network of its own on top of it that reads the predicted amplitudes.

Errors on held-out frames, mean and standard deviation over the seeds. What is finished is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from data_sets import figures, imported, table, train, water_store

COMPILED = 'compile = "always"'
N_VALIDATION = 5
STEPS = {"density": 1000, "energy": 3000}
VARIANTS = {
    "shared": ("shared", STEPS, ""),
    "control": ("shared", {"density": 1, "energy": sum(STEPS.values())}, "weights = { density = 0, dipole = 0 }"),
    "apart": ("equivariant", STEPS, ""),
}


def store_of(folder: Path, data: Path, molecule: str, frames: int) -> Path:
    """A store with so many training frames and the held-out frames of all sizes alike."""
    name = f"{molecule}-{frames}"
    if molecule == "water":
        return water_store(folder, data, name, (frames - N_VALIDATION, N_VALIDATION))
    return imported(
        folder, name, [data / molecule / "train.npz"], lambda n: (frames - N_VALIDATION, N_VALIDATION, n - frames)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("molecule", choices=("water", "ethanol"))
    parser.add_argument("--frames", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for frames in chosen.frames:
        store = store_of(chosen.folder, chosen.data, chosen.molecule, frames)
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in chosen.seeds:
            for name in chosen.variants:
                model, steps, of_energy = VARIANTS[name]
                run = f"{store.stem}-{name}"
                errors = train(
                    chosen.folder, run, [store], seed, steps=steps, more=COMPILED, model=model, of_energy=of_energy
                )
                rows.setdefault(name, []).append(figures(errors[str(store.resolve())]))
        table(f"{chosen.molecule}, {frames} frames, {len(chosen.seeds)} seeds", rows)


if __name__ == "__main__":
    main()
