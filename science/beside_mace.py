"""Ethanol learned by DenSNet and by MACE from the same frames, one thread each: errors and processor time.

    python science/beside_mace.py FOLDER [--frames 370] [--seeds 0 1 2] [--mace PYTHON]

The frames are those of science/systems/ethanol/labels.npz (PBE/aug-cc-pVDZ, 300, 500 and 800 K): so many to learn from,
15 to validate on, and errors on 15 that are the same for all, and on the 40 at 300 K of test-300K.npz, which are of
another trajectory. MACE is 128x0e + 128x1o, two layers, 5 angstrom, batches of five, trained by its own program in an
environment of its own, whose interpreter ``--mace`` names, with energies weighted from three quarters of the epochs on.
What is finished is not done again, and a killed run of ours goes on. The processor time of a run that was interrupted
is that of its last part.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_sets import figures, imported, table, toml_of

from densnet_core.elements import symbol
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import write_split
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV
from densnet_core.workflow.stores import import_file

SYSTEM = Path(__file__).parent / "systems" / "ethanol"
LEVEL = "PBE/aug-cc-pVDZ"
MACE = ["--model=MACE", "--hidden_irreps=128x0e + 128x1o", "--r_max=5.0", "--batch_size=5", "--E0s=average"]
MACE += ["--valid_batch_size=5", "--default_dtype=float32", "--device=cpu", "--swa", "--ema", "--ema_decay=0.99"]
MACE += ["--energy_key=REF_energy", "--forces_key=REF_forces", "--amsgrad"]


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Run a program with one thread; the processor time that it took, in minutes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60.0


def stores(folder: Path, frames: int) -> tuple[Path, Path]:
    """The frames to learn from, divided, and those at 300 K."""
    learned = imported(folder, f"ethanol-{frames}", [SYSTEM / "labels.npz"], lambda n: (n - 30, 15, 15))
    with ReferenceStore.open(learned, writable=True) as store:
        split = store.read_document("split")
        if len(split["train"]) > frames:  # what is left out belongs to no part
            write_split(store, {**split, "train": split["train"][:frames]})
    apart = folder / "ethanol-300K.zarr"
    if not apart.exists():
        import_file(SYSTEM / "test-300K.npz", apart, LEVEL, "pyscf", None, None)
    return learned, apart


def ours(folder: Path, frames: int, seed: int, steps: Sequence[int]) -> dict[str, dict[str, float]]:
    """Errors of our model at all temperatures and at 300 K."""
    learned, apart = stores(folder, frames)
    name = f"ours-{frames}-{steps[0]}-{steps[1]}"
    file, kept = toml_of(folder, name, [learned], seed, dict(zip(("density", "energy"), steps, strict=True))), {}
    minutes = folder / f"{name}-{seed}" / "minutes.json"
    if not minutes.exists():
        took = run([sys.executable, "-m", "densnet_core", "train", str(file)])
        minutes.write_text(json.dumps(took))
    for where, store, which in (("all", learned, "test"), ("300 K", apart, "all")):
        found = folder / f"{name}-{seed}" / f"errors-{which}.json"
        if not found.exists():
            command = [sys.executable, "-m", "densnet_core", "evaluate", str(found.parent / "model"), str(store)]
            text = subprocess.run([*command, "--frames", which, "--json"], check=True, capture_output=True, text=True)
            found.write_text(text.stdout)
        kept[where] = {**figures(json.loads(found.read_text())), "minutes": json.loads(minutes.read_text())}
    return kept


def write_frames(path: Path, store: Path, part: str | None) -> None:
    """Frames of a store as extended XYZ in eV and angstrom, with the keys that MACE is told."""
    with ReferenceStore.open(store) as frames, path.open("w") as file:
        hashes = [one.hex() for one in frames.hashes] if part is None else frames.read_document("split")[part]
        for content in hashes:
            index = frames.index_of(bytes.fromhex(content))
            structure, result = frames.structure(index), frames.result(index, labels=["energy", "forces"])
            head = f"Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy={result.energy * HARTREE_TO_EV:.8f}"
            print(structure.n_atoms, f'{head} pbc="F F F"', sep="\n", file=file)
            rows = np.hstack([structure.positions * BOHR_TO_ANGSTROM, result.forces * EV_PER_ANGSTROM])
            for z, row in zip(structure.numbers, rows, strict=True):
                print(symbol(int(z)), *(f"{value:.8f}" for value in row), file=file)


def mace(folder: Path, frames: int, seed: int, python: str, epochs: int) -> dict[str, dict[str, float]]:
    """Errors of MACE at all temperatures and at 300 K."""
    learned, apart = stores(folder, frames)
    work, environment = folder / f"mace-{frames}-{epochs}-{seed}", {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    work.mkdir(exist_ok=True)
    for name, store, part in (
        ("train", learned, "train"),
        ("validation", learned, "validation"),
        ("all", learned, "test"),
        ("300 K", apart, None),
    ):
        write_frames(work / f"{name}.xyz", store, part)
    minutes = work / "minutes.json"
    if not minutes.exists():
        # a learning rate that falls, as ours does; its plateau is too patient for so few epochs
        gamma = 0.01 ** (1.0 / epochs)
        options = [f"--max_num_epochs={epochs}", f"--start_swa={epochs * 3 // 4}", f"--seed={seed}", "--name=mace"]
        options += ["--scheduler=ExponentialLR", f"--lr_scheduler_gamma={gamma:.4f}", f"--work_dir={work}"]
        options += [f"--train_file={work / 'train.xyz'}", f"--valid_file={work / 'validation.xyz'}"]
        took = run([python, "-m", "mace.cli.run_train", *MACE, *options], environment)
        minutes.write_text(json.dumps(took))
    kept = {}
    for where in ("all", "300 K"):
        out = work / f"{where}-found.xyz"
        if not out.exists():
            given = [f"--configs={work / where}.xyz", f"--model={work / 'mace_stagetwo.model'}", f"--output={out}"]
            run([python, "-m", "mace.cli.eval_configs", *given, "--device=cpu", "--default_dtype=float32"], environment)
        kept[where] = {**of_mace(work / f"{where}.xyz", out), "minutes": json.loads(minutes.read_text())}
    return kept


def of_mace(reference: Path, found: Path) -> dict[str, float]:
    """Mean errors from two files of frames."""
    import ase.io  # of the environment of the tests

    pairs = list(zip(ase.io.read(reference, ":"), ase.io.read(found, ":"), strict=True))
    energies = [abs(a.info["REF_energy"] - b.info["MACE_energy"]) for a, b in pairs]
    forces = [np.abs(a.arrays["REF_forces"] - b.arrays["MACE_forces"]).mean() for a, b in pairs]
    return {"energy meV": 1e3 * float(np.mean(energies)), "forces meV/A": 1e3 * float(np.mean(forces))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[370])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs=2, default=[3000, 60000], help="of the density, of both networks")
    parser.add_argument("--mace", help="an interpreter that has mace-torch; without it ours alone")
    parser.add_argument("--epochs", type=int, default=30, help="of MACE")
    chosen = parser.parse_args()
    if max(chosen.frames) > 370:
        parser.error("There are 370 frames to learn from.")
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for frames in chosen.frames:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in chosen.seeds:
            for where, errors in ours(folder, frames, seed, chosen.steps).items():
                rows.setdefault(f"DenSNet, {where}", []).append(errors)
            if chosen.mace:
                for where, errors in mace(folder, frames, seed, chosen.mace, chosen.epochs).items():
                    rows.setdefault(f"MACE, {where}", []).append(errors)
        table(f"ethanol, {frames} frames, {len(chosen.seeds)} seeds", rows)


if __name__ == "__main__":
    main()
