"""How a configuration trains: its networks and whether they fit, its plan, and the processes that take part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

from densnet_core.config import Chosen, Config, Selection
from densnet_core.config.schema import TrainingSection
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import ConfigError, InputError
from densnet_core.models.inputs import check_specification
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.training import parallel
from densnet_core.training.plan import Plan, Stage, device_of
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.train import check_start, train_model


def network_choices(chosen: Selection) -> tuple[NetworkChoice, NetworkChoice]:
    """The density and the energy network that a configuration names."""
    density = _choice(chosen.density_model, chosen.density_backbone)
    return density, _choice(chosen.energy_model, chosen.energy_backbone)


def _choice(model: Chosen, backbone: Chosen | None) -> NetworkChoice:
    own = model.options.model_dump(mode="json")
    if backbone is None:
        return NetworkChoice(model.component.name, None, own)
    return NetworkChoice(model.component.name, backbone.component.name, own, backbone.options.model_dump(mode="json"))


def check_networks(
    config: Config,
    choices: tuple[NetworkChoice, NetworkChoice],
    specification: DensitySpecification,
    manager: Manager,
) -> list[Any]:
    """Build both networks, so that what does not fit the basis or the plan is refused before hours of work.

    Raises
    ------
    ConfigError
    """
    source = config.source.name
    built = []
    for section, choice in zip(("density", "energy"), choices, strict=True):
        try:
            with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not touched
                density = built[0] if built else None
                network, backbone = choice.build(f"{section}_model", specification, manager, density)
            check_specification(network)
            if backbone is not None:
                backbone.check()
        except InputError as error:
            raise ConfigError(f"{source}: {section}: {error}") from error
        given = getattr(config, section).model_fields_set & {"backbone", "backbone_options"}
        if backbone is None and given:
            raise ConfigError(
                f"{source}: {section}.{min(given)}: the model {choice.model!r} takes no backbone; leave it out."
            )
        built.append(network)
    try:
        plan = plan_of(config.training, choices, manager)
        plan.all_wanted(manager)
        device_of(plan.device)
        if config.training.start is not None and config.basis.exponents != "element":
            check_start(DenSNet.load(config.training.start, manager), choices, specification)
    except InputError as error:
        raise ConfigError(f"{source}: {error}") from error
    return built


def origins(selection: Selection, manager: Manager) -> dict[str, dict[str, Any]]:
    """Which code made a model: distribution and version (and a hash of the files) of every component."""
    components = {
        "reference": selection.backend,
        "density_model": selection.density_model,
        "density_backbone": selection.density_backbone,
        "energy_model": selection.energy_model,
        "energy_backbone": selection.energy_backbone,
    }
    held = {slot: one.component for slot, one in components.items() if one is not None}
    return {slot: {"name": one.name, **asdict(manager.origin(one))} for slot, one in held.items()}


def plan_of(section: TrainingSection, choices: tuple[NetworkChoice, NetworkChoice], manager: Manager) -> Plan:
    """The plan of a ``[training]`` table for these networks."""
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
        choices[1].learns_with_density(manager),
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
        Of ``train_model``, by name; what cannot be sent elsewhere (``listener``, ``manager``) and the model to start
        from, whose parameters are handed on, are used here only.
    """
    shared = {name: value for name, value in arguments.items() if name not in ("listener", "manager", "start")}
    parallel.from_first(lambda: shared)
    return train_model(**arguments)


def follow() -> None:
    """Take part in the trainings of the first process until it says that there are no more.

    Which data, plan and identity come from there; this process reads frames from the stores and writes no file.
    """
    while (arguments := parallel.from_first(lambda: None)) is not None:
        train_model(**{**arguments, "folder": None})


def finish() -> None:
    """Let the processes that follow end."""
    parallel.from_first(lambda: None)
