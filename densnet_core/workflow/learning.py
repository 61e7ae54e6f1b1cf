"""Training of a run: the density network, then the energy network on top of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from densnet_core.config import Chosen, Selection
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import DensitySpecification
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.loop import LoopOptions, TrainingLoop
from densnet_core.training.terms import Wanted
from densnet_core.workflow.reporter import Reporter


class StageObjective(Protocol):
    """What the training loop needs of a density or an energy objective."""

    def prepare(self) -> None: ...

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]: ...

    def metrics(self, dataset: Dataset) -> dict[str, float]: ...


def network_choices(chosen: Selection) -> tuple[NetworkChoice, NetworkChoice]:
    """The density and the energy network that a configuration names."""
    density = _choice(chosen.density_model, chosen.density_backbone)
    return density, _choice(chosen.energy_model, chosen.energy_backbone)


def _choice(model: Chosen, backbone: Chosen | None) -> NetworkChoice:
    own = model.options.model_dump(mode="json")
    if backbone is None:
        return NetworkChoice(model.component.name, None, own)
    return NetworkChoice(model.component.name, backbone.component.name, own, backbone.options.model_dump(mode="json"))


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
    wanted : sequence of Wanted
        The terms of the loss.
    batch_size, seed : int
    """

    name: str
    key: str
    options: LoopOptions
    wanted: Sequence[Wanted]
    batch_size: int
    seed: int


def train_density(
    task: TrainingTask,
    choice: NetworkChoice,
    specification: DensitySpecification,
    train: Dataset,
    validation: Dataset,
    folder: Path,
    reporter: Reporter,
    manager: Manager | None = None,
) -> DensityModel:
    """Train a density model from its checkpoint or from the start."""
    torch.manual_seed(task.seed)
    model: DensityModel = choice.build(Kind.DENSITY_MODEL, specification, manager)[0]
    objective = DensityObjective(model, train, task.wanted, task.batch_size, task.seed, manager)
    _train(task, model, objective, validation, folder, reporter)
    return model


def train_energy(
    task: TrainingTask,
    choice: NetworkChoice,
    density: DensityModel,
    train: Dataset,
    validation: Dataset,
    folder: Path,
    reporter: Reporter,
    manager: Manager | None = None,
) -> EnergyModel:
    """Train an energy model on the predictions of a density model that is kept as it is."""
    torch.manual_seed(task.seed + 1)
    model: EnergyModel = choice.build(Kind.ENERGY_MODEL, density.specification, manager)[0]
    objective = EnergyObjective(model, density, train, task.wanted, task.batch_size, task.seed, manager)
    _train(task, model, objective, validation, folder, reporter)
    return model


def _train(
    task: TrainingTask,
    model: nn.Module,
    objective: StageObjective,
    validation: Dataset,
    folder: Path,
    reporter: Reporter,
) -> None:
    objective.prepare()

    def validate() -> dict[str, float]:
        return objective.metrics(validation)

    loop = TrainingLoop(task.name, model, objective.step, validate, task.options, folder, task.key)
    resumed = loop.resume()
    if 0 < resumed < task.options.steps:
        reporter.note(f"Training of the {task.name} network goes on from step {resumed}.")
    advance = reporter.task(f"training the {task.name} network", task.options.steps)
    loop.run(lambda step, metrics: advance(step, _short(metrics)))


def _short(metrics: Mapping[str, Any]) -> str:
    """The one number that tells most: the last validation error of forces or density, else the loss."""
    for name, text in (
        ("validation_force_rms_mev_per_angstrom", "force error {:.1f} meV/A"),
        ("validation_density_rms_error_relative", "density error {:.2%}"),
        ("loss", "loss {:.2e}"),
    ):
        if name in metrics:
            return text.format(metrics[name])
    return ""
