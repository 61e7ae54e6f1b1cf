"""Throughput of labelling: PySCF called directly, one and two local workers, and two workers of Parsl.

PySCF alone in two processes says what the second core of the machine is worth. Every side labels the same frames into
a store of its own, one side after the other, so both cores have to be quiet. A side that is finished is not measured
again when the script is started anew with the same options: its numbers lie in the folder of ``--state``.

    python benchmarks/bench_executors.py                                  # 4 frames of water, a minute
    python benchmarks/bench_executors.py --molecule ethanol1 --frames 40 --state FOLDER  # half an hour

The wall time of a side has the start of its workers in it; ``first`` says how long the first result took.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_labelling import LEVEL, bare
from densnet_parsl.config import ParslOptions
from densnet_parsl.executor import ParslExecutor
from measuring import head, structures, table
from pyscf import lib

from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.executors import Executor
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.folder import write_json
from densnet_core.workflow.labels import label_into, open_store

WIDTH_ANGSTROM = 0.03
Record = dict[str, Any]


def frames_of(molecule: str, count: int) -> list[Structure]:
    """Shaken copies of the first geometry of a file in tests/data."""
    start = structures(molecule)[0]
    generator = np.random.default_rng(0)
    shifts = generator.normal(scale=WIDTH_ANGSTROM / BOHR_TO_ANGSTROM, size=(count, start.n_atoms, 3))
    return [start.with_positions(start.positions + shift) for shift in shifts]


def directly(frames: Sequence[Structure]) -> Record:
    """PySCF in this process, without anything of ours."""
    started = time.perf_counter()
    energies, first = [], 0.0
    for frame in frames:
        energies.append(bare(frame))
        first = first or time.perf_counter() - started
    return {"seconds": time.perf_counter() - started, "first": first, "energies": energies}


def directly_in_two(frames: Sequence[Structure]) -> Record:
    """PySCF in two processes that share nothing: what two cores give at most."""
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(2, lib.num_threads, (1,)) as pool:
        found = pool.imap(bare, frames)
        energies = [next(found)]
        first = time.perf_counter() - started
        energies += found
    return {"seconds": time.perf_counter() - started, "first": first, "energies": energies}


def through(executor: Executor) -> Callable[[Sequence[Structure]], Record]:
    """Labels of all frames in a new store."""

    def measure(frames: Sequence[Structure]) -> Record:
        factory = BackendFactory("densnet_pyscf.backend:PySCFBackend", LEVEL)
        folder = Path(tempfile.mkdtemp(prefix="bench-executors-"))
        try:
            moments: list[float] = []
            with open_store(folder / "store.zarr", factory, "pyscf") as store:
                started = time.perf_counter()
                failures = label_into(store, factory, frames, executor, lambda *_: moments.append(time.perf_counter()))
                seconds = time.perf_counter() - started
            if failures:
                raise failures[0][1]
            with ReferenceStore.open(folder / "store.zarr") as store:
                results = [store.result(store.index_of(frame.content_hash())) for frame in frames]
            return {
                "seconds": seconds,
                "first": moments[0] - started,
                "energies": [result.energy for result in results],
                "forces": [result.forces.tolist() for result in results],
            }
        finally:
            shutil.rmtree(folder)
            close = getattr(executor, "close", None)
            if close is not None:
                close()

    return measure


SIDES: dict[str, Callable[[Sequence[Structure]], Record]] = {
    "PySCF": directly,
    "PySCF, 2 processes": directly_in_two,
    "local, 1 worker": through(LocalExecutor(LocalExecutorOptions(workers=1))),
    "local, 2 workers": through(LocalExecutor(LocalExecutorOptions(workers=2))),
    "parsl, 2 workers": through(ParslExecutor(ParslOptions(workers=2))),
}


def measured(molecule: str, count: int, state: Path) -> dict[str, Record]:
    """The record of every side, from ``state`` where it is there."""
    frames = frames_of(molecule, count)
    bare(frames[0])  # what PySCF loads and compiles once
    found: dict[str, Record] = {}
    for name, measure in SIDES.items():
        path = state / f"{molecule}-{count}-{name.replace(', ', '-').replace(' ', '-')}.json"
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        else:
            found[name] = measure(frames)
            write_json(path, found[name])
        print(f"{name}: {found[name]['seconds']:.1f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of labelling.")
    parser.add_argument("--molecule", default="water5", choices=["water5", "ethanol1"], help="file in tests/data")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--state", type=Path, help="folder of finished sides; default: a temporary one")
    given = parser.parse_args()
    lib.num_threads(1)
    head("densnet-pyscf", "densnet-parsl", "pyscf", "parsl")
    if given.state is None:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(given.molecule, given.frames, Path(folder))
    else:
        found = measured(given.molecule, given.frames, given.state)
    one, two, parsl = (found[name] for name in list(SIDES)[2:])
    for name, record in found.items():
        np.testing.assert_allclose(record["energies"], found["PySCF"]["energies"], atol=1e-8, err_msg=name)
    identical = two["energies"] == parsl["energies"] and two["forces"] == parsl["forces"]
    rows: list[list[object]] = [
        [
            name,
            record["seconds"],
            record["first"],
            given.frames / record["seconds"],
            one["seconds"] / record["seconds"],
            100.0 * (record["seconds"] / found["PySCF"]["seconds"] - 1.0),
        ]
        for name, record in found.items()
    ]
    print()
    columns = ["", "s", "first, s", "frames/s", "times 1 worker", "over PySCF, %"]
    table([f"{given.frames} x {given.molecule}, {LEVEL}", *columns[1:]], rows)
    print(f"Energies and forces through Parsl {'identical to' if identical else 'DIFFERENT FROM'} those of local.\n")


if __name__ == "__main__":
    main()
