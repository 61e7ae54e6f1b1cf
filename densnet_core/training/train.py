"""From labelled frames to a model in one call: the density network, the energy network on top of it, then both."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from densnet_core import __version__
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.density import DensityModel
from densnet_core.models.domain import Domain
from densnet_core.models.energy import EnergyModel
from densnet_core.models.inputs import check_data, check_taught
from densnet_core.models.statistics import undetermined
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.choice import STANDARD, NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.threads import torch_threads
from densnet_core.training import parallel
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.joint import JointObjective
from densnet_core.training.loop import TrainingLoop
from densnet_core.training.native import wants_native
from densnet_core.training.plan import PRECISIONS, Plan, device_of, stage_name
from densnet_core.training.terms import Wanted

COMPILED: Final = "The steps of the training are compiled: a minute or two for each kind of molecule, the first time."
VALIDATED: Final = 20
"""One of so many frames to pretrain on is validated on."""


class Listener(Protocol):
    """Who hears of the progress."""

    def note(self, text: str) -> None: ...

    def task(self, description: str, total: int) -> Callable[[int, str], None]: ...


class _Silent:
    def note(self, text: str) -> None:
        pass

    def task(self, description: str, total: int) -> Callable[[int, str], None]:
        return lambda done, note: None


class _Objective(Protocol):
    """What training needs of the objective of a density or an energy model, or of both."""

    @property
    def module(self) -> nn.Module: ...

    def prepare(self) -> None: ...

    def start(self) -> None: ...

    def want(self, wanted: Sequence[Wanted]) -> None: ...

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]: ...

    def metrics(self, dataset: Dataset) -> dict[str, float]: ...


def train_model(
    dataset: Dataset,
    validation: Dataset,
    specification: DensitySpecification,
    prior: AtomicPrior,
    plan: Plan | None = None,
    choices: tuple[NetworkChoice, NetworkChoice] | None = None,
    *,
    pretraining: Dataset | None = None,
    start: DenSNet | None = None,
    folder: str | Path | None = None,
    keys: Mapping[str, str] | None = None,
    document: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
    manager: Manager | None = None,
) -> DenSNet:
    """Train a model on labelled frames; goes on from checkpoints in ``folder`` if they belong to the same training.

    Under torchrun every process calls it with the same arguments and takes its part of each batch.

    >>> model = train_model(train, validation, specification, prior, Plan(batch_size=5), folder="runs/water")
    >>> model.save("runs/water/model")

    Parameters
    ----------
    dataset, validation : Dataset
        Frames to learn from, and frames that decide which model is the best. Energies of isolated atoms are those of
        ``start``, of elements that it lacks those of the first (``Dataset.atomic_energies``); the others are fitted.
    specification : DensitySpecification
    prior : AtomicPrior
        The superposed atoms that the densities are differences to.
    plan : Plan or None
    choices : pair of NetworkChoice or None
        The density and the energy network; None: those of ``start``, or the standard ones.
    pretraining : Dataset or None
        Frames with energies and forces of another level of theory, for the stages of ``plan.pretraining``; every
        twentieth is validated on.
    start : DenSNet or None
        A finished model of the same architecture to start from; it may lack elements.
    folder : path or None
        Of checkpoints, logs and pictures; None: nothing is kept.
    keys : mapping or None
        Identity of what the result depends on, for "density", "energy" and "joint"; None: made from the arguments.
    document : mapping or None
        Goes into the document of the model: level of theory, origin of the data. The versions of the code are added to
        its "provenance" and the numbers of frames to its "metrics".
    listener : Listener or None

    Raises
    ------
    InputError
        Data, networks and the model to start from do not fit each other, or there is no such device.
    """
    plan = plan or Plan()
    before, adopted = (None, {}) if start is None else (start.domain, start.energy.element_energies)
    domain = Domain.of_data(dataset, specification, before, adopted)
    choices = choices or ((start.density_choice, start.energy_choice) if start else STANDARD)
    plan = replace(plan, shared=choices[1].learns_with_density(manager))
    if start is not None:
        check_start(start, choices, specification)
        known = {**dataset.atomic_energies, **start.energy.element_energies}
        dataset = replace(dataset, atomic_energies=known)
    with parallel.process_group(), torch_threads(plan.threads), _kept(folder) as kept:
        device = device_of(plan.device)
        keys = keys or _keys(dataset, validation, pretraining, specification, plan, choices, start)
        run = _Training(dataset, validation, plan, kept, keys, device)
        run.listener, run.manager = listener or _Silent(), manager
        density = run.density(choices, specification, start, pretraining)
        energy = run.energy(choices[1], density, start)
        if plan.joint:
            how = (run.first("joint"), plan.batch_size, plan.seed, manager, device, run.native("joint", dataset))
            joint = JointObjective(density, energy, dataset, *how)
            run.stages("joint", joint)
    given = document or {}
    versions = {"densnet-core": __version__, "torch": torch.__version__}
    counts = {"training_frames": len(dataset), "validation_frames": len(validation)}
    told = {
        "config": {},
        **given,
        "provenance": {**versions, **given.get("provenance", {})},
        "metrics": {**counts, **given.get("metrics", {})},
        "atomic_energies": {
            "hartree": {symbol(z): value for z, value in energy.element_energies.items()},
            "given": [symbol(z) for z in sorted(dataset.atomic_energies)],
            "unknown": run.unknown,
        },
    }
    return DenSNet(density.cpu(), energy.cpu(), prior, *choices, told, manager, domain)


class _Training:
    """What the stages of one training share."""

    def __init__(
        self,
        train: Dataset,
        validation: Dataset,
        plan: Plan,
        folder: Path,
        keys: Mapping[str, str],
        device: torch.device,
    ) -> None:
        self.train, self.validation, self.plan, self.folder = train, validation, plan, folder
        self.keys, self.device = keys, device
        self.listener: Listener = _Silent()
        self.manager: Manager | None = None
        self.unknown: str | None = None
        self.told = False
        self.pretrained: dict[str, Tensor] = {}

    def first(self, name: str) -> list[Wanted]:
        return self.plan.wanted(name, self.plan.stages[name][0], self.manager)

    def native(self, name: str, dataset: Dataset, batches: int = 1) -> bool:
        """Whether the stages of a name are compiled; says so."""
        steps, batch_size = sum(stage.options.steps for stage in self.plan.stages[name]), batches * self.plan.batch_size
        found = wants_native(self.plan.compile, dataset, batch_size, steps, self.device)
        if found and not self.told:
            self.listener.note(COMPILED)
            self.told = True
        return found

    def density(
        self,
        choices: tuple[NetworkChoice, NetworkChoice],
        specification: DensitySpecification,
        start: DenSNet | None,
        pretraining: Dataset | None,
    ) -> DensityModel:
        plan = self.plan
        torch.manual_seed(plan.seed)
        model: DensityModel = choices[0].build(Kind.DENSITY_MODEL, specification, self.manager)[0]
        cast_parameters(model, PRECISIONS[plan.precision])
        check_data(model, self.validation)
        check_taught(model, self.train, None if start is None else start.density)
        native = self.native("density", self.train)
        given = (self.first("density"), plan.batch_size, plan.seed, self.manager, self.device, native)
        objective = DensityObjective(model, self.train, *given)
        objective.prepare()
        if start is not None:
            model.adopt(start.density)
        if pretraining is not None and plan.pretraining:
            self.pretrain(choices[1], model, start, pretraining)
        self.stages("density", objective)
        return model

    def pretrain(self, choice: NetworkChoice, density: DensityModel, start: DenSNet | None, frames: Dataset) -> None:
        """Both networks on energies and forces of another level, beside the densities of the frames of the run."""
        plan, n_frames = self.plan, len(frames)
        energy = self.new_energy(choice, density)
        held = list(range(0, n_frames, VALIDATED))
        rest = sorted(set(range(n_frames)) - set(held))
        known = {name: values for name, values in self.train.labels.items() if name not in frames.labels}
        parts = [replace(self.train, labels=known, shares=None, atomic_energies={}), frames.subset(rest)]
        learned = Dataset.joined(parts, [1.0, 1.0])
        native = self.native("pretraining", learned, 2)
        given = (self.first("pretraining"), 2 * plan.batch_size, plan.seed, self.manager, self.device, native)
        objective = JointObjective(density, energy, learned, *given)
        if start is not None:
            energy.adopt(start.energy)
        objective.prepare()  # after it, for the energies of atoms are those of the cheap level
        self.stages("pretraining", objective, frames.subset(held))
        self.pretrained = {name: value.detach().clone() for name, value in energy.named_parameters()}

    def new_energy(self, choice: NetworkChoice, density: DensityModel) -> EnergyModel:
        torch.manual_seed(self.plan.seed + 1)
        model: EnergyModel = choice.build(Kind.ENERGY_MODEL, density.specification, self.manager, density)[0]
        cast_parameters(model, PRECISIONS[self.plan.precision])
        return model

    def energy(self, choice: NetworkChoice, density: DensityModel, start: DenSNet | None) -> EnergyModel:
        plan, specification = self.plan, density.specification
        model = self.new_energy(choice, density)
        self.unknown = undetermined(self.train, specification.elements, specification.states)
        if self.unknown:
            self.listener.note(self.unknown)
        given = (self.first("energy"), plan.batch_size, plan.seed, self.manager, self.device)
        objective: JointObjective | EnergyObjective
        if plan.shared:
            objective = JointObjective(density, model, self.train, *given, self.native("energy", self.train))
        else:
            for dataset in (self.train, self.validation):
                dataset.release()  # metrics, which this stage does not need; linearised densities take their place
            steps = sum(stage.options.steps for stage in plan.energy)
            objective = EnergyObjective(model, density, self.train, *given, steps)
        objective.prepare()
        if start is not None:
            model.adopt(start.energy)
        model.load_state_dict(self.pretrained, strict=False)  # parameters; the energies of atoms are those of the run
        self.stages("energy", objective)
        return model

    def stages(self, name: str, objective: _Objective, validation: Dataset | None = None) -> None:
        """All stages of one kind, one after the other; validated on the frames of the run unless others are given."""
        validation = validation or self.validation
        objective.start()
        for number, stage in enumerate(self.plan.stages[name]):
            if number:
                objective.want(self.plan.wanted(name, stage, self.manager))
            own = stage_name(name, number)
            loop = TrainingLoop(
                own,
                objective.module,
                objective.step,
                lambda: objective.metrics(validation),
                stage.options,
                self.folder,
                self.keys[name],
            )
            what = "both networks" if self.plan.trains_both(name) else f"the {name} network"
            resumed = loop.resume()
            if resumed > 0 and not loop.finished:
                self.listener.note(f"Training of {what} goes on from step {resumed}.")
            verb = "pretraining" if name == "pretraining" else "training"
            advance = self.listener.task(f"{verb} {what}" + (", next stage" if number else ""), stage.options.steps)
            loop.run(lambda step, metrics, tell=advance: tell(step, _short(metrics)))  # type: ignore[misc]


def check_start(start: DenSNet, choices: tuple[NetworkChoice, NetworkChoice], new: DensitySpecification) -> None:
    """``InputError`` if a model cannot hand what it learned to one of this architecture and specification.

    Options that only add something to a density model (``DensityModel.additions``) may differ: what the new one lacks
    is left out, what it has besides begins anew.
    """
    for name, own, wanted in zip(
        ("density", "energy"), (start.density_choice, start.energy_choice), choices, strict=True
    ):
        kind = f"{name}_model"
        free = start.density.additions if name == "density" else frozenset()
        before, now = (one.completed(kind).to_dict() for one in (own, wanted))
        for one in (before, now):
            one["options"] = {key: value for key, value in one["options"].items() if key not in free}
        if before != now:
            raise InputError(
                f"The model to start from has another {name} network ({own.to_dict()}) than [{name}] asks for "
                f"({wanted.to_dict()}). Give its options, or train from the start."
            )
    old = start.specification
    shared = [z for z in new.elements if z in old.elements]
    other = [symbol(z) for z in shared if old.basis.shells(z) != new.basis.shells(z)]
    if other or old.metric != new.metric or old.largest_factor != new.largest_factor:
        raise InputError(
            f"The model to start from expands densities in the basis {old.basis.name!r}, metric {old.metric}; this "
            f"training in {new.basis.name!r}, metric {new.metric}"
            + (f", with other functions on {', '.join(other)}" if other else "")
            + ". Take the basis of the model."
        )


@contextmanager
def _kept(folder: str | Path | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _keys(
    train: Dataset,
    validation: Dataset,
    pretraining: Dataset | None,
    specification: DensitySpecification,
    plan: Plan,
    choices: Sequence[NetworkChoice],
    start: DenSNet | None,
) -> dict[str, str]:
    """Identity of a training that nobody named."""
    known = specification
    what = (
        replace(plan, device="auto", compile="auto"),
        [one.to_dict() for one in choices],
        sorted(train.atomic_energies.items()),
        (known.basis.content_hash(), known.metric, known.elements, known.largest_factor, known.states, known.levels),
    )
    digest = hashlib.sha256(repr(what).encode())
    for dataset in (train, validation, *([] if pretraining is None else [pretraining])):
        for structure in dataset.structures:
            digest.update(structure.content_hash() + repr(structure.fragments).encode())
        if dataset.shares is not None:
            digest.update(repr((dataset.shares.part.tolist(), dataset.shares.weights)).encode())
        for name, values in sorted(dataset.labels.items()):
            digest.update(name.encode())
            for value in values:
                digest.update(b"none" if value is None else np.ascontiguousarray(value).tobytes())
    if start is not None:
        for network in (start.density, start.energy):
            for name, tensor in network.state_dict().items():
                digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return dict.fromkeys(plan.stages, digest.hexdigest()[:16])


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
