"""A reference store of 10,000 synthetic ethanol frames with 300 coefficients: writing, opening, an epoch of batches.

Reading is measured in processes of their own, so that the peak memory is that of the reader: once with the files just
dropped from the operating system's page cache (cold), once more with them in it (warm). An epoch is every frame once,
in batches of 32 in the order in which training draws them, with all labels that training needs. On a machine that does
other work too, the rate per second of this process's own time is the one to compare.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import head, structures, table

from densnet_core.basis.library import EvenTempered, even_tempered
from densnet_core.datasets.drawing import batches
from densnet_core.datasets.stored import dataset_of
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import partial_result
from densnet_core.stores.reference import ReferenceStore

FRAMES, BLOCK, BATCH = 10_000, 500, 32
FIT = "benchmark"
# Ethanol has six H, two C and one O: 6 * 20 + 3 * 60 = 300 functions.
HEAVY = {"s": EvenTempered(0.2, 2.4, 9), "p": EvenTempered(0.2, 2.4, 7), "d": EvenTempered(0.3, 2.2, 6)}
LIGHT = {"s": EvenTempered(0.2, 2.6, 4), "p": EvenTempered(0.3, 2.4, 2), "d": EvenTempered(0.5, 2.0, 2)}
BASIS = even_tempered({1: LIGHT, 6: HEAVY, 8: HEAVY}, "300 functions on ethanol")


def write(path: Path) -> float:
    """Fill the store in commits of 500 frames; seconds."""
    (ethanol,) = structures("ethanol1")
    random = np.random.default_rng(0)
    n_functions = BASIS.n_functions(ethanol.numbers)
    started = time.perf_counter()
    with ReferenceStore.create(path, LevelOfTheory.parse("PBE/synthetic"), "synthetic", {}) as store:
        fit = store.create_fit(FIT, BASIS, "coulomb", {}, constraints=())
        for _ in range(FRAMES // BLOCK):
            noise = random.normal(scale=0.1, size=(BLOCK, ethanol.n_atoms, 3))
            labels = [{"energy": -154.0, "forces": step, "dipole": step[0]} for step in noise]
            frames = [ethanol.with_positions(ethanol.positions + step) for step in noise]
            store.append([(f, partial_result(given)) for f, given in zip(frames, labels, strict=True)])
            fit.append(list(random.normal(size=(BLOCK, n_functions))))
    return time.perf_counter() - started


def read(path: Path) -> dict[str, float]:
    """Open the store, go through one epoch, then through another with what is in memory by then."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    store = ReferenceStore.open(path)
    fit = store.fit(FIT)
    opened = time.perf_counter() - started
    hashes = [content.hex() for content in store.hashes]
    data = dataset_of(store, hashes, ("energy", "forces", "dipole", "density"), {"density": fit})
    epochs, own = [], 0.0
    for epoch in range(2):
        started, worked = time.perf_counter(), time.process_time()
        seen = 0
        for step in range(FRAMES // BATCH):
            chosen = batches(FRAMES, BATCH, epoch * (FRAMES // BATCH) + step, seed=1)
            frames = data.batch(chosen.tolist())
            seen += len(frames)
        epochs.append(seen / (time.perf_counter() - started))
        own = seen / (time.process_time() - worked)
        assert seen == FRAMES // BATCH * BATCH
        assert len(frames.value("density", 0)) == 300
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "open": opened,
        "first": epochs[0],
        "second": epochs[1],
        "own": own,
        "before_mb": before / 1024,
        "peak_mb": after / 1024,
    }


def drop_from_cache(path: Path) -> None:
    """Have the operating system forget the files' contents, which needs no privilege for clean pages."""
    for file in path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def main() -> None:
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(read(Path(sys.argv[2]))))
        return
    head("zarr", "numpy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ethanol.zarr"
        written = write(path)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20
        command = [sys.executable, __file__, "--read", str(path)]
        found = {}
        for how in ("cold", "warm"):
            if how == "cold":
                drop_from_cache(path)
            found[how] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows: list[list[object]] = [
        ["frames", FRAMES, FRAMES],
        ["size on disk, MiB", size, size],
        [f"writing in commits of {BLOCK}, frames per second", FRAMES / written, ""],
    ]
    for name, key, factor in (
        ("opening, ms", "open", 1e3),
        ("first epoch of batches of 32, frames per second", "first", 1.0),
        ("second epoch, frames per second", "second", 1.0),
        ("the same per second of the process's own time", "own", 1.0),
        ("peak memory, MiB", "peak_mb", 1.0),
        ("of which before opening (Python and libraries), MiB", "before_mb", 1.0),
    ):
        rows.append([name, *(factor * found[how][key] for how in ("cold", "warm"))])
    table(["store", "cold", "warm"], rows)


if __name__ == "__main__":
    main()
