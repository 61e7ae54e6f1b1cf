"""What learning GFN2-xTB first gains: energies and forces of thousands of geometries that cost milliseconds each.

    python science/pretraining.py FOLDER [--molecule ethanol] [--frames 95 340] [--start MODEL] [--seeds 0 1 2]

alone : so many frames of PBE/aug-cc-pVDZ; 1000 steps of densities, then 2500 (6000 from 200 frames on) of all.
longer : the same with the steps of the pretraining added, so that both see as many batches.
tuned, tuned and pretrained : alone and pretrained from a finished model of another molecule, ``--start``.
pretrained : 4000 steps on GFN2-xTB energies and forces beside the densities of those frames, then as alone.

The cheap frames are Langevin dynamics with GFN2-xTB at 400, 600 and 900 K from four training geometries. Errors on
the same held-out frames, mean and standard deviation over the seeds. What is finished is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_sets import figures, imported, table, train
from densnet_xtb.config import XTBLangevinOptions
from densnet_xtb.method import GFN2
from densnet_xtb.sampler import XTBLangevinSampler

from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import write_split
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.labels import NO_BACKEND
from densnet_core.workflow.stores import import_file

TEMPERATURES = (400.0, 600.0, 900.0)
STARTS = 4


def store_of(folder: Path, data: Path, molecule: str, frames: int) -> Path:
    """A store with so many training frames; the held-out and validation frames are those of all sizes."""
    name = f"{molecule}-{frames}"
    path = imported(folder, name, [data / molecule / "train.npz"], lambda n: (n - 60, 20, 40))
    with ReferenceStore.open(path, writable=True) as store:
        split = store.read_document("split")
        if len(split["train"]) != frames:
            write_split(store, {**split, "train": split["train"][:frames]})
    return path


def geometries(store: Path, number: int) -> list[Structure]:
    """Frames of dynamics from training geometries."""
    with ReferenceStore.open(store) as opened:
        first = opened.read_document("split")["train"][:STARTS]
        starts = [opened.structure(opened.index_of(bytes.fromhex(content))) for content in first]
    found = []
    each = -(-number // (len(TEMPERATURES) * len(starts)))
    for temperature in TEMPERATURES:
        for seed, start in enumerate(starts):
            options = XTBLangevinOptions(
                temperature=temperature, count=each, walkers=5, time_step_fs=1.0, interval_fs=10.0, seed=seed
            )
            found += XTBLangevinSampler(options).sample(start)
    return found[:number]


def cheap_store(folder: Path, store: Path, number: int) -> Path:
    """Energies and forces of GFN2-xTB."""
    name = f"xtb-{store.stem.split('-')[0]}-{number}"
    path = folder / f"{name}.zarr"
    if path.exists():
        return path
    return write_cheap(path, geometries(store, number))


def write_cheap(path: Path, structures: Sequence[Structure]) -> Path:
    """A store of GFN2-xTB energies and forces of geometries of one molecule; its file of arrays lies beside it."""
    method, file = GFN2(), path.with_suffix(".npz")
    labels = [method.energy_and_forces(structure) for structure in structures]
    np.savez(
        file,
        numbers=np.array([structure.numbers for structure in structures]),
        positions_angstrom=np.array([structure.positions for structure in structures]) * BOHR_TO_ANGSTROM,
        energy_hartree=np.array([energy for energy, _ in labels]),
        forces_hartree_per_angstrom=np.array([forces for _, forces in labels]) / BOHR_TO_ANGSTROM,
    )
    # Energies of valence electrons alone are no total energies, which an import would refuse.
    import_file(file, path, "GFN2-xTB/minimal", NO_BACKEND, trust=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecule", choices=("ethanol", "ethanethiol"), default="ethanol")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[95, 340])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cheap", type=int, default=3000, help="geometries with GFN2-xTB")
    parser.add_argument("--steps", type=int, nargs=3, help="of pretraining, densities and all labels")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for frames in chosen.frames:
        store = store_of(chosen.folder, chosen.data, chosen.molecule, frames)
        cheap = cheap_store(chosen.folder, store, chosen.cheap)
        before, density, both = chosen.steps or (4000, 1000, 2500 if frames < 200 else 6000)
        first = f'pretraining = {{ stores = ["{cheap.resolve()}"], steps = {before} }}'
        variants = {
            "alone": ({"density": density, "energy": both}, ""),
            "longer": ({"density": density, "energy": both + before}, ""),
            "pretrained": ({"density": density, "energy": both}, first),
        }
        if chosen.start is not None:
            begin = f'from = "{chosen.start.resolve()}"'
            variants = {
                "alone": variants["alone"],
                "tuned": (variants["alone"][0], begin),
                "pretrained": variants["pretrained"],
                "tuned and pretrained": (variants["pretrained"][0], f"{begin}\n{first}"),
            }
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in chosen.seeds:
            for name, (steps, more) in variants.items():
                errors = train(
                    chosen.folder, f"{store.stem}-{name.replace(' ', '-')}", [store], seed, more=more, steps=steps
                )
                rows.setdefault(name, []).append(figures(errors[str(store.resolve())]))
                table(f"{store.stem}, after seed {seed}", {name: rows[name]})
        table(f"{store.stem}, {len(chosen.seeds)} seeds", rows)


if __name__ == "__main__":
    main()
