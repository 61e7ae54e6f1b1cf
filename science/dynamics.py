"""How well dynamics with a model conserves the energy, and whether molecules hold.

    python science/dynamics.py FOLDER MODEL GEOMETRY halving|drift|seeds [--replicas 10] [--ps 100]

halving : from the same positions and velocities at 300 K, 2 ps with steps of 1, 0.5, 0.25 and 0.125 fs; the fluctuation
    of the total energy must fall fourfold each time.
drift : two replicas, 0.25 fs a step.
seeds : replicas that begin with velocities of their own at 300 K, 0.5 fs a step; the shortest and the longest bond of
    each kind over all frames, and how many are unlike the training data.

MODEL is a path or a shipped name. Trajectories are kept: a killed run goes on, a longer --ps extends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from densnet_core.config.dynamics import MDSection
from densnet_core.elements import symbol
from densnet_core.md.analysis import energy_conservation
from densnet_core.md.base import Recording
from densnet_core.md.batched import TorchEngine
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.whole import bonds_of
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure, read_geometry
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOHR_TO_ANGSTROM, BOLTZMANN
from densnet_core.workflow.dynamics import run_model
from densnet_core.workflow.reporter import Reporter

HALVINGS = (1.0, 0.5, 0.25, 0.125)
BLOCK_FRAMES = 2000


def run(folder: Path, model: str, structure: Structure, **options: float) -> Path:
    """The production trajectory of the batched engine."""
    section = MDSection(engine="torch", temperature=300.0, **options)  # type: ignore[arg-type]
    start = time.perf_counter()
    path = run_model(Path(model), structure, section, folder, Reporter())
    print(f"{path}: {time.perf_counter() - start:.0f} s")
    return path


def conservation(store: TrajectoryStore, time_step_fs: float) -> str:
    """Drift and fluctuation per atom."""
    times = store.steps * time_step_fs / ATOMIC_TIME_TO_FEMTOSECOND
    energies = store.potential_energy + store.kinetic_energy
    return str(energy_conservation(times, energies, store.n_replicas * store.structure.n_atoms))


def halving(folder: Path, model: str, structure: Structure, replicas: int, ps: float) -> None:
    path = run(folder, model, structure, time_step_fs=0.5, nvt_ps=2.0, nve_ps=0.1, replicas=replicas)
    with TrajectoryStore.open(path.with_name("nvt.zarr")) as store:
        heated = store.restart()
    assert heated is not None
    trained, engine, before = DenSNet.load(model), TorchEngine(), None
    for step in HALVINGS:
        every = round(max(HALVINGS) / step)
        stage = MDStage("nve", round(ps * 1000.0 / step), step / ATOMIC_TIME_TO_FEMTOSECOND, 300.0, 0.0, every, seed=0)
        start = MDState(0, heated.positions, heated.velocities)
        blocks = list(engine.run(trained, [structure] * replicas, stage, start, Recording(BLOCK_FRAMES)))
        steps = np.concatenate([block.steps for block in blocks])
        energies = np.concatenate([block.potential_energy + block.kinetic_energy for block in blocks])
        found = energy_conservation(steps * stage.time_step, energies, replicas * structure.n_atoms)
        ratio = "" if before is None else f", {before / found.fluctuation:.2f} times less"
        print(f"{step} fs: {found}{ratio}", flush=True)
        before = found.fluctuation


def drift(folder: Path, model: str, structure: Structure, replicas: int, ps: float) -> None:
    path = run(folder, model, structure, time_step_fs=0.25, nvt_ps=2.0, nve_ps=ps, replicas=replicas, record_every=40)
    with TrajectoryStore.open(path) as store:
        print(f"0.25 fs, {replicas} replicas: {conservation(store, 0.25)}")


def seeds(folder: Path, model: str, structure: Structure, replicas: int, ps: float) -> None:
    path = run(folder, model, structure, time_step_fs=0.5, nvt_ps=5.0, nve_ps=ps, replicas=replicas, record_every=4)
    with TrajectoryStore.open(path) as store:
        positions = store.positions()
        print(f"0.5 fs, {replicas} replicas: {conservation(store, 0.5)}")
        freedom = 3 * structure.n_atoms - 6
        kinetic = store.kinetic_energy / replicas
        print(f"temperature {2.0 * kinetic.mean() / (freedom * BOLTZMANN):.1f} K")
    found: dict[str, tuple[float, float]] = {}
    for first, second in bonds_of(structure):
        name = "-".join(sorted(symbol(int(structure.numbers[i])) for i in (first, second)))
        lengths = np.linalg.norm(positions[:, :, first] - positions[:, :, second], axis=-1) * BOHR_TO_ANGSTROM
        shortest, longest = found.get(name, (np.inf, 0.0))
        found[name] = min(shortest, float(lengths.min())), max(longest, float(lengths.max()))
    for name, (shortest, longest) in found.items():
        print(f"{name}: {shortest:.3f} to {longest:.3f} angstrom")
    trained = DenSNet.load(model)
    last = [structure.with_positions(p) for frame in positions[:: max(1, len(positions) // 100)] for p in frame]
    unlike = [one for one in trained.extrapolation(last) if one.reasons]
    print(f"{len(unlike)} of {len(last)} frames are unlike those the model was trained on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("geometry", type=Path)
    parser.add_argument("what", choices=("halving", "drift", "seeds"))
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--ps", type=float)
    chosen = parser.parse_args()
    function, replicas, ps = {"halving": (halving, 4, 2.0), "drift": (drift, 2, 100.0), "seeds": (seeds, 10, 100.0)}[
        chosen.what
    ]
    chosen.folder.mkdir(parents=True, exist_ok=True)
    structure = read_geometry(chosen.geometry)
    function(chosen.folder / chosen.what, chosen.model, structure, chosen.replicas or replicas, chosen.ps or ps)


if __name__ == "__main__":
    main()
