"""One training step of the water example's networks: loss, gradient, optimiser and moving average; one thread.

Labels are the energies and forces of tests/data/water5.npz, the five frames taken twice to fill a batch of ten, and
coefficients drawn at random: what a step costs does not depend on them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import DATA, Timing, head, structures, table
from networks import build, water_config
from torch import Tensor, nn

from densnet_core.config import select
from densnet_core.datasets.dataset import Dataset
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.loop import LoopOptions, TrainingLoop
from densnet_core.training.terms import wanted_objectives
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.learning import network_choices

STEPS = 30


def labelled(n_functions: int, batch_size: int) -> Dataset:
    """Enough frames for one batch."""
    frames = structures("water5")
    with np.load(DATA / "water5.npz", allow_pickle=False) as file:
        energies, forces = file["energy_hartree"], file["forces_hartree_per_angstrom"] * BOHR_TO_ANGSTROM
    random = np.random.default_rng(0)
    coefficients = [random.normal(scale=0.01, size=n_functions) for _ in frames]
    labels = {
        "density": coefficients,
        "energy": list(energies),
        "forces": list(forces),
        "dipole": [np.zeros(3) for _ in frames],
    }
    every = Dataset(frames, labels)
    return every.subset(np.arange(batch_size) % len(frames))


def steps_of(module: nn.Module, step: Callable[[int], tuple[Tensor, dict[str, float]]], name: str) -> Timing:
    """Seconds of each step of the real loop, without validation and checkpoints."""
    started = [time.perf_counter()]

    def counted(number: int) -> tuple[Tensor, dict[str, float]]:
        started.append(time.perf_counter())
        return step(number)

    with tempfile.TemporaryDirectory() as folder:
        options = LoopOptions(STEPS, 1e-3, checkpoint_every=STEPS, validate_every=STEPS)
        TrainingLoop(name, module, counted, dict, options, Path(folder), "benchmark").run()
    # From the start of one step to that of the next; the first ones fill caches.
    return Timing(tuple(np.diff(started)[3:]))


def main() -> None:
    torch.set_num_threads(1)
    head("densnet-e3nn", "e3nn", "torch")
    config = water_config()
    training = config.training
    density, energy = build(network_choices(select(config)), (1, 8))
    frames = labelled(density.specification.basis.n_functions((8, 1, 1)), training.batch_size)
    wanted = [wanted_objectives(stage, {}) for stage in ("density", "energy")]
    first = DensityObjective(density, frames, wanted[0], training.batch_size, training.seed)
    first.prepare()
    rows: list[list[object]] = []

    def add(name: str, module: nn.Module, step: Callable[[int], tuple[Tensor, dict[str, float]]], steps: int) -> None:
        timing = steps_of(module, step, name)
        parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
        median, minimum = 1e3 * timing.median, 1e3 * timing.minimum
        rows.append([name, parameters, median, minimum, median / training.batch_size, steps, median * steps / 1e3])

    add("density", density, first.step, training.density.steps)
    second = EnergyObjective(energy, density, frames, wanted[1], training.batch_size, training.seed)
    second.prepare()
    add("energy and forces", energy, second.step, training.energy.steps)
    columns = ["step", "parameters", "median ms", "min ms", "ms per frame", "steps of the example", "seconds in all"]
    table(columns, rows)


if __name__ == "__main__":
    main()
