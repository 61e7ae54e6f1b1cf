"""Training of a run: the density network, then the energy network on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from densnet_core.config import Selection
from densnet_core.datasets.dataset import LabelledFrames
from densnet_core.models.density import DensityModel, DensitySpecification
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.component import Kind
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.loop import LoopOptions, TrainingLoop
from densnet_core.workflow.reporter import Reporter


class Objective(Protocol):
    """What the training loop needs of an objective."""

    def prepare(self) -> None: ...

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]: ...

    def metrics(self) -> dict[str, float]: ...


def network_choices(chosen: Selection) -> tuple[NetworkChoice, NetworkChoice]:
    """The density and the energy network that a configuration names."""
    density, energy = (
        NetworkChoice(
            model.component.name,
            backbone.component.name,
            model.options.model_dump(mode="json"),
            backbone.options.model_dump(mode="json"),
        )
        for model, backbone in (
            (chosen.density_model, chosen.density_backbone),
            (chosen.energy_model, chosen.energy_backbone),
        )
    )
    return density, energy


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """One network to be trained.

    Parameters
    ----------
    name : str
        ``density`` or ``energy``.
    key : str
        Identity of everything the result depends on.
    options : LoopOptions
    weight : float
        Of the dipole term (density) or the force term (energy).
    batch_size, seed : int
    """

    name: str
    key: str
    options: LoopOptions
    weight: float
    batch_size: int
    seed: int


def train_density(
    task: TrainingTask,
    choice: NetworkChoice,
    specification: DensitySpecification,
    train: LabelledFrames,
    validation: LabelledFrames,
    folder: Path,
    reporter: Reporter,
) -> DensityModel:
    """Train a density model from its checkpoint or from the start."""
    torch.manual_seed(task.seed)
    model: DensityModel = choice.build(Kind.DENSITY_MODEL, specification)
    objective = DensityObjective(model, train, task.weight, task.batch_size, task.seed)
    held_out = DensityObjective(model, validation, task.weight, task.batch_size, task.seed)
    _train(task, model, objective, held_out, folder, reporter)
    return model


def train_energy(
    task: TrainingTask,
    choice: NetworkChoice,
    density: DensityModel,
    train: LabelledFrames,
    validation: LabelledFrames,
    folder: Path,
    reporter: Reporter,
) -> EnergyModel:
    """Train an energy model on the predictions of a density model that is kept as it is."""
    torch.manual_seed(task.seed + 1)
    model: EnergyModel = choice.build(Kind.ENERGY_MODEL, density.specification)
    objective = EnergyObjective(model, density, train, task.weight, task.batch_size, task.seed)
    held_out = EnergyObjective(model, density, validation, task.weight, task.batch_size, task.seed)
    _train(task, model, objective, held_out, folder, reporter)
    return model


def _train(
    task: TrainingTask,
    model: nn.Module,
    objective: Objective,
    held_out: Objective,
    folder: Path,
    reporter: Reporter,
) -> None:
    objective.prepare()
    loop = TrainingLoop(task.name, model, objective.step, held_out.metrics, task.options, folder, task.key)
    resumed = loop.resume()
    if 0 < resumed < task.options.steps:
        reporter.note(f"Training of the {task.name} network goes on from step {resumed}.")
    advance = reporter.task(f"training the {task.name} network", task.options.steps)
    loop.run(lambda step, metrics: advance(step, _short(metrics)))


def _short(metrics: Mapping[str, Any]) -> str:
    """The one number that tells most: the last validation error of forces or density, else the loss."""
    for name, text in (
        ("validation_force_mae_mev_per_angstrom", "force MAE {:.1f} meV/A"),
        ("validation_density_rms_error_relative", "density error {:.2%}"),
        ("loss", "loss {:.2e}"),
    ):
        if name in metrics:
            return text.format(metrics[name])
    return ""
