"""How a configuration trains: its networks, its plan, and the processes that take part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from densnet_core.config import Chosen, Selection
from densnet_core.config.schema import TrainingSection
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.training import parallel
from densnet_core.training.plan import Plan, Stage
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.train import train_model


def network_choices(chosen: Selection) -> tuple[NetworkChoice, NetworkChoice]:
    """The density and the energy network that a configuration names."""
    density = _choice(chosen.density_model, chosen.density_backbone)
    return density, _choice(chosen.energy_model, chosen.energy_backbone)


def _choice(model: Chosen, backbone: Chosen | None) -> NetworkChoice:
    own = model.options.model_dump(mode="json")
    if backbone is None:
        return NetworkChoice(model.component.name, None, own)
    return NetworkChoice(model.component.name, backbone.component.name, own, backbone.options.model_dump(mode="json"))


def plan_of(section: TrainingSection) -> Plan:
    """The plan of a ``[training]`` table."""
    joint = [] if section.joint is None else _stages(section.joint)
    return Plan(
        _stages(section.density),
        _stages(section.energy),
        joint,
        section.batch_size,
        section.seed,
        section.device,
        section.precision,
        section.threads,
    )


def _stages(section: Any) -> list[Stage]:
    options = LoopOptions(
        section.steps,
        section.learning_rate,
        section.ema_decay,
        section.checkpoint_every,
        section.validate_every,
        schedule=section.schedule,
        warm_up=section.warm_up,
        patience=section.patience,
    )
    first = Stage(options, section.weights)
    if section.then is None:
        return [first]
    again = replace(options, steps=section.then.steps, learning_rate=section.then.learning_rate)
    return [first, Stage(again, section.then.weights)]


def train_together(arguments: Mapping[str, Any]) -> DenSNet:
    """``train_model``, with the other processes that torchrun started and that ``follow``.

    Parameters
    ----------
    arguments : mapping
        Of ``train_model``, by name; what cannot be sent elsewhere (``listener``, ``manager``) is used here only.
    """
    shared = {name: value for name, value in arguments.items() if name not in ("listener", "manager", "start")}
    parallel.from_first(lambda: shared)
    return train_model(**arguments)


def follow() -> None:
    """Take part in the trainings of the first process until it says that there are no more.

    Data, plan and identity come from there: this process reads no store and writes no file.
    """
    while (arguments := parallel.from_first(lambda: None)) is not None:
        train_model(**{**arguments, "folder": None})


def finish() -> None:
    """Let the processes that follow end."""
    parallel.from_first(lambda: None)
