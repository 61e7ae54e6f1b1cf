"""A small training of both networks, alone or as one of several processes: FOLDER [MODEL to start from]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import network_examples as example
from test_training import SMALL, teacher_frames, with_labels

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.prior import AtomicPrior
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.training import LoopOptions, Plan, Stage, train_model

CHOICE = NetworkChoice("equivariant", "e3nn", {}, SMALL.model_dump(mode="json"))
PRIOR = AtomicPrior(GaussianBasis("atoms", {z: [Shell(0, (0.5 * z,), (1.0,))] for z in example.ELEMENTS}))


def frames() -> Dataset:
    """Frames of which some lack a dipole, so that parts of a batch differ in their labels."""
    every = teacher_frames()
    dipoles = [value if i in (0, 1, 5) else None for i, value in enumerate(every.labels["dipole"])]
    return with_labels(every, dipole=dipoles)  # type: ignore[arg-type]


def short(steps: int = 6, **more) -> Stage:
    return Stage(LoopOptions(steps, 5e-3, validate_every=1, checkpoint_every=3, **more))


def train(folder: Path | None, plan: Plan | None = None, data: Dataset | None = None, **more) -> DenSNet:
    plan = plan or Plan([short()], [short()], [short(3)], 4, device="cpu", precision="float64")
    data = data or frames()
    known = more.pop("specification", None) or example.specification()
    choices = more.pop("choices", None) or (CHOICE, more.pop("energy", CHOICE))
    return train_model(data, data.subset([0, 1, 2]), known, PRIOR, plan, choices, folder=folder, **more)


def weighed() -> Dataset:
    """The same in two parts that are drawn equally often."""
    every = frames()
    return Dataset.joined([every.subset([0, 1, 2]), every.subset(range(3, len(every)))], [1.0, 1.0])


if __name__ == "__main__":
    # Of a run, the first process alone reads the model to start from.
    first = os.environ["RANK"] == "0"
    train(Path(sys.argv[1]), data=weighed(), start=DenSNet.load(sys.argv[2]) if len(sys.argv) > 2 and first else None)
