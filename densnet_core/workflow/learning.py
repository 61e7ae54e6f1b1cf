"""How a configuration trains: its networks and whether they fit, its plan, and the processes that take part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from densnet_core.config import Chosen, Config, Selection
from densnet_core.config.load import backbones_in_vain
from densnet_core.config.schema import TrainingSection
from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.stored import dataset_of
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import ConfigError, InputError
from densnet_core.models.inputs import check_specification
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.properties import Quantity
from densnet_core.stores.reference import ReferenceStore
from densnet_core.training import parallel
from densnet_core.training.plan import Plan, Stage, device_of
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.terms import wanted_labels
from densnet_core.training.train import check_start, train_model
from densnet_core.workflow.atoms import atomic_energies
from densnet_core.workflow.data_stores import common_prior, fit_source
from densnet_core.workflow.keys import code_of, start_path
from densnet_core.workflow.labels import n_unfitted
from densnet_core.workflow.project import Project
from densnet_core.workflow.property_fits import FITTED, fit_properties, n_without, property_fit_name


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
    built: list[Any] = []
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
        if backbone is None and (problems := backbones_in_vain(config, section)):
            raise ConfigError(problems[0])
        built.append(network)
    if config.data is None and config.reference is not None and config.training.start is None:
        asked = config.reference.properties
        if missing := [name for name in FITTED if name in built[0].densities and name not in asked]:
            wanted = [*asked, *(["polarizability"] if "density_response" in missing else []), *missing]
            names = ", ".join(f'"{name}"' for name in dict.fromkeys(wanted))
            raise ConfigError(
                f"{source}: the density model predicts {missing[0]!r}, which no calculation would make: [reference] "
                f"properties = [{names}]."
            )
    try:
        plan = plan_of(config.training, choices[1].learns_with_density(manager))
        plan.all_wanted(manager)
        device_of(plan.device)
        start = start_path(config.training)
        if start is not None and config.needed_basis().exponents != "element":
            check_start(DenSNet.load(start, manager), choices, specification)
    except InputError as error:
        raise ConfigError(f"{source}: {error}") from error
    return built


def plan_of(section: TrainingSection, shared: bool = False) -> Plan:
    """The plan of a ``[training]`` table; ``shared``: of an energy model that learns with the density model."""
    joint, before = ([] if own is None else _stages(own) for own in (section.joint, section.pretraining))
    return Plan(
        _stages(section.density),
        _stages(section.energy),
        joint,
        section.batch_size,
        section.seed,
        section.device,
        section.precision,
        section.threads,
        shared,
        before,
        section.compile,
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


def train(run: Project, keys: Mapping[str, str]) -> DenSNet:
    """The model of a run, its densities fitted first; goes on from checkpoints with these keys.

    Raises
    ------
    InputError
        No frame has a density, or a part of the split is empty.
    """
    prior, fits = _fitted(run)
    plan = plan_of(run.config.training, network_choices(run.selection)[1].learns_with_density(run.manager))
    labels = wanted_labels(plan.all_wanted(run.manager))
    learned, validation = (_dataset(run, part, labels, fits) for part in ("train", "validation"))
    first, start = run.sources[0], start_path(run.config.training)
    atoms = atomic_energies(
        run.config.training.energy.atoms,
        run.folder.atoms,
        first.level,
        lambda: run.factory_of(first),
        run.elements,
        run.reporter,
    )
    return train_together(
        {
            "dataset": replace(learned, atomic_energies=atoms),
            "validation": validation,
            "specification": run.specification,
            "prior": prior,
            "plan": plan,
            "choices": network_choices(run.selection),
            "pretraining": _cheap_frames(run),
            "start": None if start is None else DenSNet.load(start, run.manager),
            "folder": run.folder.training,
            "keys": keys,
            "document": _document(run, keys["train"]),
            "listener": run.reporter,
            "manager": run.manager,
        }
    )


def _fitted(run: Project) -> tuple[AtomicPrior, list[dict[str, str]]]:
    """One prior for all stores, and the names of each store's fits by what they fit."""
    section, specification = run.config.needed_basis(), run.specification
    basis, method = specification.label_basis, section.fit_method
    prior = common_prior(run.sources, run.elements, basis, method, run.executor, run.factory_of)
    predicted = frozenset[str]() if run.data is None else _predicted(run)
    fits: list[dict[str, str]] = []
    for source in run.sources:
        factory = run.factory_of(source)
        name = fit_source(source, factory, basis, method, prior, run.executor, run.reporter)
        own = {} if name is None else {"density": name}
        with ReferenceStore.open(source.path) as store:
            every = {one: property_fit_name(specification.basis, section.error_metric, one) for one in FITTED}
            asked = [one for one in _to_fit(run, store, predicted) if n_unfitted(store, every[one])]
        if asked:
            how = (specification.basis, section.error_metric, run.executor, run.reporter)
            with ReferenceStore.open(source.path, writable=True) as store:
                fit_properties(store, factory, asked, *how)
        with ReferenceStore.open(source.path) as store:
            fits.append({**own, **{kind: name for kind, name in every.items() if name in store.fit_names()}})
    if not any("density" in own for own in fits):
        raise InputError(
            "No frame of the stores has a density (orbitals, or coefficients in the basis of [basis]), and the "
            "density network learns from nothing else. Add a store that has, or compute the densities of these "
            "geometries: [sampling] method = \"file\" with path = their XYZ file, and 'densnet reference'."
        )
    return prior, fits


def _predicted(run: Project) -> frozenset[str]:
    """The densities that the density network gives."""
    with torch.random.fork_rng(devices=[]):
        network, _ = network_choices(run.selection)[0].build(Kind.DENSITY_MODEL, run.specification, run.manager)
    found: frozenset[str] = network.densities
    return found


def _to_fit(run: Project, store: ReferenceStore, predicted: frozenset[str]) -> list[Quantity]:
    """The further densities of a store that are fitted: those its run computed, or those that the network learns."""
    if run.data is None:
        asked = run.config.needed_reference().properties
        return [quantity for quantity in FITTED if quantity in asked]
    found: list[Quantity] = []
    for quantity in FITTED:
        if quantity not in predicted:
            continue
        if not (missing := n_without(store, quantity)):
            found.append(quantity)
        elif missing < len(store):
            run.reporter.note(
                f"{missing} of {len(store)} frames of {store.path} lack what {quantity!r} is made of; it is learned "
                "from none of this store."
            )
    return found


def _dataset(run: Project, part: str, labels: Sequence[str], fits: Sequence[Mapping[str, str]]) -> Dataset:
    """The frames of all stores in a part; those to train on are drawn by the weights of the stores."""
    found, weights = [], []
    given = None if run.data is None else run.data.weights_in_order
    every = given or [1.0] * len(run.sources)
    for source, own, names, weight in zip(run.sources, run.parts, fits, every, strict=True):
        if own[part]:
            with ReferenceStore.open(source.path) as store:
                densities = {kind: store.fit(name) for kind, name in names.items()}
                found.append(dataset_of(store, own[part], labels, densities))
                weights.append(weight)
    if not found:
        raise InputError(f"No frame of any store is for {part}; draw other splits with 'densnet data split'.")
    return Dataset.joined(found, weights if part == "train" and given else None)


def _cheap_frames(run: Project) -> Dataset | None:
    """The frames to pretrain on."""
    found = []
    for source, own in zip(run.cheap_sources, run.cheap_frames, strict=True):
        if not own:
            raise InputError(f"[training.pretraining]: the run holds out every geometry of {source.path}.")
        with ReferenceStore.open(source.path) as store:
            found.append(dataset_of(store, own, ["energy", "forces"], {}))
    if sum(map(len, found)) == 1:
        raise InputError("[training.pretraining]: one frame is too few; one is validated on, the others are learned.")
    return Dataset.joined(found) if found else None


def _document(run: Project, key: str) -> dict[str, Any]:
    """What the model says about its data, and about the code that made it."""
    first = run.sources[0]
    stores = [
        {
            "path": str(source.path),
            "level_of_theory": str(source.level),
            "backend": source.backend,
            "versions": dict(source.versions),
            "frames": {part: len(own[part]) for part in ("train", "validation", "test")},
        }
        for source, own in zip(run.sources, run.parts, strict=True)
    ]
    components = {**({} if run.data is not None else {"reference": run.backend}), **run.networks()}
    made_by = {
        slot: {"name": one.component.name, **code_of(one.component, run.manager)} for slot, one in components.items()
    }
    return {
        "name": run.folder.root.name,
        "config": run.config.model_dump(mode="json", by_alias=True),
        "labels": asdict(run.config.needed_basis().fit_method),
        "level_of_theory": str(first.level),
        "backend": first.backend,
        "stores": stores,
        "pretraining": [
            {"path": str(source.path), "level_of_theory": str(source.level), "frames": len(own)}
            for source, own in zip(run.cheap_sources, run.cheap_frames, strict=True)
        ],
        "training_frames": [content for own in run.parts for content in (*own["train"], *own["validation"])],
        "provenance": {"reference": dict(first.versions), "training_key": key, "made_by": made_by},
    }


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
