"""The stage ``train``: fits of the densities, and the model that learns from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densnet_core.config.inputs import check_counts
from densnet_core.config.schema import DEFAULT_BACKBONE, DensitySection, EnergySection
from densnet_core.plugins.component import Kind
from densnet_core.workflow.folder import key_of
from densnet_core.workflow.keys import CODE, code_of, identity, start_path, weights_digest
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage
from densnet_core.workflow.stages.harmonic import molecule

if TYPE_CHECKING:
    from densnet_core.potentials.densnet import DenSNet


class Train(Stage):
    """Needs frames (from [system], [sampling] and [reference], or from [data]), [basis] and [training].

    What counts is the frames that are trained and validated on, with their labels, and not how they came about: other
    test frames, or more geometries beside them, train nothing.
    """

    name = "train"

    def needs(self, run: Project) -> tuple[str, ...]:
        first = "imports" if run.data is not None else "reference"
        return (first, "basis") if run.optimises_basis else (first,)

    def inherits(self, run: Project) -> tuple[str, ...]:
        return ()

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.model,)

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        from densnet_core.workflow.learning import plan_of

        keys = network_keys(self.key(run))
        names = plan_of(run.config.training).stage_names
        files = {path: keys[network] for network, name in names for path in run.folder.training_files(name)}
        return {run.folder.model: key, **files}

    def key(self, run: Project) -> dict[str, Any]:
        from densnet_core.workflow.labels import fit_name

        section, training = run.config.needed_basis(), run.config.training
        networks = {slot: identity(one, run.manager) for slot, one in run.networks().items()}
        weights = None if run.data is None else run.data.weights_in_order
        # Neither the device nor the number of threads or processes: they change the last digits, and a run may move.
        return {
            "frames": run.digests("train", "validation"),
            "labels": fit_name(run.specification.label_basis, section.fit_method),
            "factor": section.range_of_factors,
            "fragments": None if run.data is not None else molecule(run)["fragments"],
            "states": [list(state) for state in run.specification.states],
            "weights": weights,
            "objectives": _objectives(run),
            **{name: getattr(training, name) for name in ("seed", "batch_size", "precision")},
            "from": weights_digest(start_path(training)),
            "pretraining": _pretraining(run),
            **{name: _of(networks, name, training) for name in ("density", "energy")},
            "joint": None if training.joint is None else training.joint.model_dump(mode="json"),
        }

    def check(self, run: Project) -> None:
        basis = run.given_basis
        if run.data is None:
            sampler = run.selection.sampler
            if isinstance(getattr(sampler.options, "count", None), int):
                check_counts(run.config, run.sampling.made(run.structure))
        if run.data is None or not run.data.files:  # files are imported first, and elements are known after that
            _ = run.cheap_sources
        if not _known_to_fit(run):
            self._build(run, run.specification_in(basis))

    def prepare(self, run: Project) -> None:
        """Equivariance, gradient and export of both networks, once for each state of their code: before any label."""
        self.check(run)
        specification = run.specification_in(run.given_basis)
        networks = {slot: identity(one, run.manager) for slot, one in run.networks().items()}
        states = [list(state) for state in specification.states]
        key = key_of("networks", networks, specification.basis.to_dict(), states)
        if not run.folder.is_current("networks", key):
            from densnet_core.testing.quick import quick_check

            density, energy = self._build(run, specification)
            quick_check(density, energy, run.example())
            run.folder.finish("networks", key, 0.0)

    def _build(self, run: Project, specification: Any) -> list[Any]:
        from densnet_core.workflow.learning import check_networks, network_choices

        return check_networks(run.config, network_choices(run.selection), specification, run.manager)

    def summary(self, run: Project) -> str:
        n_frames = sum(len(own["train"]) for own in run.parts)
        stores = f" of {len(run.sources)} stores" if len(run.sources) > 1 else ""
        return f"networks for {n_frames} frames{stores} in the basis {run.specification.basis.name}"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.learning import train

        run.keep_splits()
        parts = self.key(run)
        train(run, {**network_keys(parts), "train": key_of(parts)}).save(run.folder.model)

    def result(self, run: Project) -> DenSNet:
        return run.model()


def network_keys(key: dict[str, Any]) -> dict[str, str]:
    """What the pretraining, the trainings of both networks, and that of both together each depend on."""
    stages = ("pretraining", "density", "energy", "joint")
    known = {name: part for name, part in key.items() if name not in stages}
    found = {}
    for name in stages:
        known[name] = key[name]
        found[name] = key_of(name, known)
    return found


def _of(networks: Mapping[str, Any], name: str, training: Any) -> dict[str, Any]:
    """A network and its training."""
    own = {slot: networks.get(f"{name}_{slot}") for slot in ("model", "backbone")}
    return {**own, "training": getattr(training, name).model_dump(mode="json")}


def _pretraining(run: Project) -> dict[str, Any] | None:
    section = run.config.training.pretraining
    if section is None:
        return None
    return {"training": section.model_dump(mode="json", exclude={"stores"}), "frames": run.cheap_digests()}


def _objectives(run: Project) -> dict[str, Any]:
    """The code of the objectives that plugins bring and that some stage of the training may want."""
    found = {}
    for stage in ("density", "energy"):
        for name, objective in run.manager.objectives(stage).items():
            weights = getattr(run.config.training, stage).weights
            if float(weights.get(name, objective.weight)) > 0.0:
                code = code_of(objective, run.manager)
                if code["distribution"] != "densnet-core":
                    found[f"{stage}.{name}"] = {CODE: code}
    return found


_STANDARD = {
    (Kind.DENSITY_MODEL, DensitySection().model),
    (Kind.ENERGY_MODEL, EnergySection().model),
    (Kind.BACKBONE, DEFAULT_BACKBONE),
}


def _known_to_fit(run: Project) -> bool:
    """Whether networks, basis and training are the standard ones, so that there is no need to build the networks."""
    training, basis = run.config.training, run.config.needed_basis()
    standard = all(
        (one.component.kind, one.component.name) in _STANDARD and one.options == type(one.options)()
        for one in run.networks().values()
    )
    named = basis.name is not None and basis.name.startswith("densnet-")
    stages = [stage for stage in (training.density, training.energy, training.joint) if stage is not None]
    plain = not any(stage.weights or stage.then for stage in stages) and training.device != "cuda"
    return standard and named and plain and training.start is None and training.pretraining is None
