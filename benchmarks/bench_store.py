"""A reference store of 10,000 synthetic ethanol frames with 300 coefficients each: writing, opening, random batches.

Reading is measured in a process of its own, so that its peak memory is that of the reader; the files are then in the
page cache of the operating system.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import head, structures, table

from densnet_core.basis.library import EvenTempered, even_tempered
from densnet_core.reference.base import LevelOfTheory
from densnet_core.stores.labels import partial_result
from densnet_core.stores.reference import ReferenceStore

FRAMES, BLOCK, BATCH, BATCHES = 10_000, 500, 32, 200
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
        fit = store.create_fit(FIT, BASIS, "coulomb", {}, constrained=False)
        for _ in range(FRAMES // BLOCK):
            noise = random.normal(scale=0.1, size=(BLOCK, ethanol.n_atoms, 3))
            labels = [{"energy": -154.0, "forces": step, "dipole": step[0]} for step in noise]
            frames = [ethanol.with_positions(ethanol.positions + step) for step in noise]
            store.append([(f, partial_result(given)) for f, given in zip(frames, labels, strict=True)])
            fit.append(list(random.normal(size=(BLOCK, n_functions))))
    return time.perf_counter() - started


def read(path: Path) -> dict[str, object]:
    """Open, then batches of 32 frames at random, with forces and coefficients."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    store = ReferenceStore.open(path)
    fit = store.fit(FIT)
    opened = time.perf_counter() - started
    random = np.random.default_rng(1)
    seconds = []
    for _ in range(BATCHES):
        chosen = random.integers(len(store), size=BATCH)
        started = time.perf_counter()
        frames = store.frames(chosen, labels=("energy", "forces"))
        coefficients = np.stack([fit.coefficients(int(i)) for i in chosen])
        seconds.append(time.perf_counter() - started)
        assert len(frames) == BATCH
        assert coefficients.shape == (BATCH, 300)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"open": opened, "batches": seconds, "before_mb": before / 1024, "peak_mb": after / 1024}


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
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    batches = np.array(found["batches"])
    rows: list[list[object]] = [
        ["frames", FRAMES],
        ["size on disk, MiB", size],
        [f"writing in commits of {BLOCK}, frames per second", FRAMES / written],
        ["opening, ms", 1e3 * found["open"]],
        ["first batch of 32 (fills the caches), ms", 1e3 * float(batches[0])],
        ["batch of 32, median ms", 1e3 * float(np.median(batches[1:]))],
        ["batch of 32, min ms", 1e3 * float(batches.min())],
        ["batches of 32 per second", (len(batches) - 1) / float(batches[1:].sum())],
        ["peak memory, MiB", found["peak_mb"]],
        ["of which before opening (Python and libraries), MiB", found["before_mb"]],
    ]
    table(["store", "value"], rows)


if __name__ == "__main__":
    main()
