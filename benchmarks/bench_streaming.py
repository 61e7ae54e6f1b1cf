"""Training on more frames than memory would hold: frames per second of both stages and peak memory of each process.

    python benchmarks/bench_streaming.py FOLDER [--frames N] [--steps N] [--batch N] [--processes 1 2]

Makes a store of ethanol frames in FOLDER (frame by frame, so a second call goes on where the first was killed): the
geometries of shared/data/ethanol, or the one of tests/data, displaced at random, with the density coefficients in
densnet-m, energies and forces of the frames that they come from. Then both stages of ``train_model`` with the standard
networks, alone and as two gloo processes of torchrun. Rates are those from the twentieth step on, without validation;
of processor time with the thread that makes batches included. All metric matrices that are kept are made first, so that
memory is that of a training of any length. Start-up is what comes before the first step of a stage: statistics, units
and the first batch.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import DATA, ROOT, head, table

from densnet_core.basis.library import basis_by_name
from densnet_core.datasets.stored import dataset_of
from densnet_core.density.fitting import fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import partial_result
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.training import LoopOptions, Plan, Stage, train_model
from densnet_core.training.parallel import process_group, rank
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.folder import has_store
from densnet_core.workflow.stores import backend_factory

LEVEL, FIT = LevelOfTheory.parse("PBE/aug-cc-pVDZ"), "benchmark"
BASIS = basis_by_name("densnet-m", (1, 6, 8))
ORIGINALS, BLOCK, VALIDATION, WARM_UP = 4, 500, 50, 20
SHARED = ROOT.parent / "shared" / "data" / "ethanol" / "train.npz"


def make_store(path: Path, n_frames: int) -> None:
    """Bring a store up to a number of frames, in commits of 500."""
    if not has_store(path):
        ReferenceStore.create(path, LEVEL, "pyscf", {}).close()
    with ReferenceStore.open(path, writable=True) as store:
        if len(store) >= n_frames and FIT in store.fit_names() and len(store.fit(FIT)) >= n_frames:
            return
        prior, originals = labelled_originals()
        if FIT not in store.fit_names():
            store.create_fit(FIT, BASIS, "coulomb", prior.to_dict(), ("charge", "dipole"))
        fit = store.fit(FIT)
        while len(store) < n_frames:
            block = range(len(store), min(len(store) + BLOCK, n_frames))
            store.append([(displaced(i, originals), partial_result(originals[i % len(originals)][1])) for i in block])
        while len(fit) < n_frames:
            block = range(len(fit), min(len(fit) + BLOCK, n_frames))
            fit.append([originals[i % len(originals)][2] for i in block])


def labelled_originals() -> tuple[AtomicPrior, list[tuple[Structure, dict, np.ndarray]]]:
    """Geometries, labels and fitted densities of some frames."""
    backend = backend_factory("pyscf", LEVEL).make()
    prior = AtomicPrior.fit({z: backend.atomic_density(z) for z in BASIS.elements})
    found = []
    with np.load(SHARED if SHARED.exists() else DATA / "ethanol1.npz", allow_pickle=False) as file:
        for i in range(min(ORIGINALS, len(file["numbers"]))):
            structure = Structure(file["numbers"][i], file["positions_angstrom"][i] / BOHR_TO_ANGSTROM)
            orbitals = file["mo_coeff_occupied"][i]
            projection = backend.project(structure, orbitals, np.full(orbitals.shape[1], 2.0), BASIS, "coulomb")
            labels = {
                "energy": float(file["energy_hartree"][i]),
                "forces": file["forces_hartree_per_angstrom"][i] * BOHR_TO_ANGSTROM,
            }
            found.append((structure, labels, fit_difference(structure, projection, BASIS, prior).coefficients))
    return prior, found


def displaced(index: int, originals: list) -> Structure:
    """Frame number ``index``: every call gives the same."""
    structure = originals[index % len(originals)][0]
    step = np.random.default_rng((0, index)).normal(scale=0.02, size=structure.positions.shape)
    return structure.with_positions(structure.positions + step)


class Clock:
    """Notes when each step of each stage was done, in wall time and in processor time."""

    def __init__(self) -> None:
        self.started = self.now()
        self.stages: list[list[np.ndarray]] = []

    @staticmethod
    def now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def note(self, text: str) -> None:
        pass

    def task(self, description: str, total: int) -> Callable[[int, str], None]:
        times = [self.now()]
        self.stages.append(times)
        return lambda done, note: times.append(self.now())


def train(path: Path, n_frames: int, steps: int, batch: int, folder: Path) -> None:
    """Both stages on the store, in this process or in one of those that torchrun started; writes what it measured."""
    with ReferenceStore.open(path) as store:
        hashes = [content.hex() for content in store.hashes[:n_frames]]
        fit = store.fit(FIT)
        data = dataset_of(store, hashes, ("energy", "forces", "density"), {"density": fit})
        prior = AtomicPrior.from_dict(fit.prior)
    specification = DensitySpecification(BASIS, "coulomb", BASIS.elements)
    # with the last step comes the validation, which is not timed
    stage = [Stage(LoopOptions(steps, 1e-3, checkpoint_every=10 * steps, validate_every=10 * steps))]
    plan, clock = Plan(stage, stage, batch_size=batch, device="cpu"), Clock()
    training, validation = data.subset(range(VALIDATION, n_frames)), data.subset(range(VALIDATION))
    known = training.references(specification)
    for index in range(known.n_kept):  # as they are after an epoch
        known.metric_matrix(index)
    clock.started = clock.now()
    with process_group():
        train_model(training, validation, specification, prior, plan, listener=clock)
        told = {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        before = clock.started
        for name, times in zip(("density", "energy"), clock.stages, strict=True):
            told[f"{name} start-up"] = (times[1] - before)[0]
            rates = batch * (steps - 1 - WARM_UP) / (times[-2] - times[WARM_UP])
            told[name], told[f"{name} of processor"] = rates.tolist()
            before = times[-1]
        (folder / f"{rank()}.json").write_text(json.dumps(told))


def measured(path: Path, chosen: argparse.Namespace, processes: int) -> list[dict[str, float]]:
    """What every process measured."""
    own = [__file__, str(path.parent), "--frames", str(chosen.frames), "--steps", str(chosen.steps)]
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, *start, *own, "--batch", str(chosen.batch), "--train", folder]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
        return [json.loads((Path(folder) / f"{number}.json").read_text()) for number in range(processes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="scratch folder; 10 000 frames take 70 MB")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    path = chosen.folder / "ethanol.zarr"
    if chosen.train is not None:
        train(path, chosen.frames, chosen.steps, chosen.batch, chosen.train)
        return
    chosen.folder.mkdir(parents=True, exist_ok=True)
    head("densnet-e3nn", "torch")
    make_store(path, chosen.frames)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20
    print(f"{chosen.frames} frames of ethanol in densnet-m, {size:.0f} MiB on disk, batches of {chosen.batch}\n")
    rows: list[list[object]] = []
    for processes in chosen.processes:
        told = measured(path, chosen, processes)
        memory = ", ".join(f"{one['memory']:.0f}" for one in told)
        for name in ("density", "energy"):
            of_processor = 1.0 / sum(1.0 / one[f"{name} of processor"] for one in told)
            values = [told[0][name], of_processor, told[0][f"{name} start-up"], memory]
            rows.append([f"{name}, {processes} process{'es' * (processes > 1)}", *values])
    table(["stage", "frames/s", "per processor s", "start-up s", "peak MiB of each"], rows)


if __name__ == "__main__":
    main()
