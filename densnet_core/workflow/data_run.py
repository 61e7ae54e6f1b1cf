"""Training on frames that there are: a configuration with [data], several molecules and stores in one model.

Everything can be killed at any moment and called again: imports and fits go on frame by frame, training by checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from densnet_core.basis.base import GaussianBasis
from densnet_core.config import Config
from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.stored import dataset_of
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import ConfigError, InputError
from densnet_core.models.domain import Composition
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import Split
from densnet_core.structures import Structure
from densnet_core.training.evaluation import ErrorSummary
from densnet_core.workflow.atoms import atomic_energies
from densnet_core.workflow.data_stores import (
    Source,
    check_levels,
    common_prior,
    digest_of,
    fit_source,
    parts_together,
    source_of,
    split_source,
)
from densnet_core.workflow.evaluation import errors_of_frames
from densnet_core.workflow.folder import has_store, key_of, read_json, write_json
from densnet_core.workflow.keys import file_digest, training_keys
from densnet_core.workflow.labels import fit_name
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.staged import alone
from densnet_core.workflow.stores import backend_factory, import_file
from densnet_core.workflow.training_run import TrainingRun


class DataRun(TrainingRun):
    """The stages of a configuration with [data]: import, fits, training and held-out errors.

    >>> run = DataRun(load_config("molecules.toml"))
    >>> run.train()

    Parameters
    ----------
    config : Config
    reporter : Reporter, optional
        Receives the progress.
    manager : Manager, optional
        Where components are looked up.

    Raises
    ------
    ConfigError
        If the configuration has no [data], or refers to something that is not there.
    """

    def __init__(self, config: Config, reporter: Reporter | None = None, manager: Manager | None = None) -> None:
        super().__init__(config, reporter, manager)
        if config.data is None:
            raise ConfigError(f"{config.source.name}: there is no [data]; name stores of labelled frames in it.")
        self.data = config.data
        if config.basis.exponents == "element":
            raise ConfigError(
                f"{config.source.name}: basis.exponents = 'element' optimises for the molecule of a run. With [data], "
                "make a basis with 'densnet basis optimize' and name it in [basis] file."
            )
        for path in self.data.stores:
            if not has_store(path):
                raise ConfigError(f"{config.source.name}: data.stores: there is no store {path}.")
        for path in self.data.files:
            if not path.is_file():
                raise ConfigError(f"{config.source.name}: data.files: there is no file {path}.")

    # What the stores hold

    @cached_property
    def sources(self) -> list[Source]:
        """The stores, those of the files included, which are imported first."""
        paths = [*self.data.stores, *(self._imported(file) for file in self.data.files)]
        sources = [source_of(path) for path in paths]
        check_levels(sources)
        return sources

    def _imported(self, file: Path) -> Path:
        data = self.data
        key = key_of(file_digest(file), data.level, data.backend, data.charge, data.multiplicity)
        store, stage = self.folder.store(f"{file.stem}-{key}"), f"import-{key}"
        if not self.folder.is_current(stage, key, store):
            added, there, ignored = import_file(
                file, store, data.level, data.backend, data.charge, data.multiplicity, trust=data.trust
            )
            self.reporter.note(f"{file}: {added + there} frames, in {store}.")
            if ignored:
                self.reporter.note(f"{file}: not imported: {', '.join(ignored)}.")
            self.folder.finish(stage, key, 0.0)
        return store

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers in all stores, ascending."""
        return sorted({z for source in self.sources for z in source.elements})

    @cached_property
    def basis(self) -> GaussianBasis:
        """The density basis for all elements."""
        try:
            return self.config.basis.build(self.elements)
        except InputError as error:
            raise ConfigError(f"{self.config.source.name}: basis: {error}") from error

    @cached_property
    def specification(self) -> DensitySpecification:
        """What the density network predicts."""
        section = self.config.basis
        states = tuple(sorted({state for source in self.sources for state in source.states}))
        return DensitySpecification(
            self.basis, section.error_metric, self.basis.elements, section.range_of_factors, states
        )

    @cached_property
    def parts(self) -> list[Split]:
        """Content hashes of the frames of each store to train on, validate on and test on."""
        splits = [split_source(source, self.config.training, self.reporter) for source in self.sources]
        return parts_together(self.sources, splits, self.reporter)

    def _given_specification(self) -> DensitySpecification:
        return self.specification

    def _example(self) -> Structure:
        with ReferenceStore.open(self.sources[0].path) as store:
            return store.structure(0)

    @alone
    def check(self) -> None:
        """Read the stores, which imports those of [data] files, and see whether networks and stores fit each other.

        Raises
        ------
        InputError
            Stores are empty or of different levels of theory.
        ConfigError
            What is configured does not fit the stores.
        """
        super().check()

    @cached_property
    def _keys(self) -> dict[str, str]:
        digests = [
            [digest_of(source, own[part]) for part in ("train", "validation")]
            for source, own in zip(self.sources, self.parts, strict=True)
        ]
        held_out = [digest_of(source, own["test"]) for source, own in zip(self.sources, self.parts, strict=True)]
        labels = fit_name(self.specification.label_basis, self.config.basis.fit_method)
        states = [list(state) for state in self.specification.states]
        weights = self.data.weights_in_order
        data = ["data", labels, states, *([] if weights is None else [weights])]
        keys = training_keys(self.config, self.selection, data, digests)
        # the model names the stores in its errors
        names = [str(source.path) for source in self.sources]
        return {**keys, "train": key_of(keys["train"], held_out, names)}

    # Stages

    @alone
    def train(self) -> DenSNet:
        """The trained model, with the errors on held-out frames of each store and formula in its document."""
        self.check()
        if not self._is_current("train", self.folder.model, self.folder.evaluation):
            n_frames = sum(len(own["train"]) for own in self.parts)
            summary = f"networks for {n_frames} frames of {len(self.sources)} stores in the basis {self.basis.name}"
            with self._stage("train", summary):
                for path in (self.folder.model, self.folder.evaluation, self.folder.parity):
                    self._own(path, "train")
                prior, fits = self._fitted()
                model = self._train(prior, fits)
                record = self._errors(model, fits)
                model.document["metrics"] = {**model.document["metrics"], "held_out": record}
                write_json(self.folder.evaluation, record)
                model.save(self.folder.model)
        return DenSNet.load(self.folder.model, self.manager)

    @alone
    def evaluate(self) -> dict[str, Any]:
        """Errors on the held-out frames: of all, under "stores" of each store, under "formulas" of each formula."""
        self.train()
        return read_json(self.folder.evaluation)

    def _fitted(self) -> tuple[AtomicPrior, list[str | None]]:
        """One prior for all stores, and the name of each store's fit to it."""
        basis, method = self.specification.label_basis, self.config.basis.fit_method
        prior = common_prior(self.sources, self.elements, basis, method, self.executor)
        fits = [fit_source(source, basis, method, prior, self.executor, self.reporter) for source in self.sources]
        if not any(fits):
            raise InputError(
                "No frame of the stores has a density (orbitals, or coefficients in the basis of [basis]), and the "
                "density network learns from nothing else. Add a store that has, for example one that 'densnet "
                "reference' computed."
            )
        return prior, fits

    def _dataset(self, part: str, fits: Sequence[str | None]) -> Dataset:
        """The frames of all stores in a part; those to train on are drawn by the weights of the stores."""
        found, weights = [], []
        every = self.data.weights_in_order or [1.0] * len(self.sources)
        for source, own, name, weight in zip(self.sources, self.parts, fits, every, strict=True):
            if own[part]:
                with ReferenceStore.open(source.path) as store:
                    densities = {} if name is None else {"density": store.fit(name)}
                    found.append(dataset_of(store, own[part], self.labels, densities))
                    weights.append(weight)
        if not found:
            raise InputError(f"No frame of any store is for {part}; draw other splits with 'densnet data split'.")
        return Dataset.joined(found, weights if part == "train" and self.data.weights else None)

    def _train(self, prior: AtomicPrior, fits: Sequence[str | None]) -> DenSNet:
        first = self.sources[0]
        atoms = atomic_energies(
            self.config.training.energy.atoms,
            self.folder.atoms,
            first.level,
            lambda: backend_factory(first.backend, first.level),
            self.elements,
            self.reporter,
        )
        train, validation = (self._dataset(part, fits) for part in ("train", "validation"))
        return self._learn(train, validation, self.specification, prior, atoms, self._document())

    def _document(self) -> dict[str, Any]:
        """What the model says about its data."""
        stores = [
            {
                "path": str(source.path),
                "level_of_theory": str(source.level),
                "backend": source.backend,
                "versions": dict(source.versions),
                "frames": {part: len(own[part]) for part in ("train", "validation", "test")},
            }
            for source, own in zip(self.sources, self.parts, strict=True)
        ]
        return {
            "level_of_theory": str(self.sources[0].level),
            "backend": self.sources[0].backend,
            "stores": stores,
            "training_frames": [content for own in self.parts for content in (*own["train"], *own["validation"])],
        }

    def _errors(self, model: DenSNet, fits: Sequence[str | None]) -> dict[str, Any]:
        """Errors on the held-out frames of all stores, of each, and of each formula with its charge."""
        advance = self.reporter.task("evaluating", sum(len(own["test"]) for own in self.parts))
        everything, formulas, stores = ErrorSummary(), dict[str, ErrorSummary](), dict[str, ErrorSummary]()
        unlearned: dict[str, None] = {}
        for source, own, name in zip(self.sources, self.parts, fits, strict=True):
            if not own["test"]:
                self.reporter.note(f"{source.path} holds no frame out, so it has no errors.")
                continue
            of_store = stores.setdefault(str(source.path), ErrorSummary())
            with ReferenceStore.open(source.path) as store:
                indices = [store.index_of(bytes.fromhex(content)) for content in own["test"]]
                for frame in errors_of_frames(model, store, None if name is None else store.fit(name), indices):
                    of_formula = formulas.setdefault(_species(frame.structure), ErrorSummary())
                    for summary in (everything, of_store, of_formula):
                        summary.add(frame)
                    if not model.domain.knows_energy(Composition.of(frame.structure)):
                        unlearned[frame.structure.formula] = None
                    advance(len(everything.frames), "frames")
        if unlearned:
            self.reporter.note(
                f"Energies and forces of {', '.join(unlearned)} are not evaluated: no training frame fixes the origin "
                "of their energies."
            )
        if not everything.frames:
            return {"frames": 0, "stores": {}, "formulas": {}}
        everything.draw_parity(self.folder.parity)
        return {
            **everything.to_dict(),
            "stores": {path: summary.to_dict() for path, summary in stores.items()},
            "formulas": {name: summary.to_dict() for name, summary in sorted(formulas.items())},
        }


def _species(structure: Structure) -> str:
    """Formula with charge and, of an open shell, multiplicity: ``"HO-"``, ``"H2O"``, ``"CH3 (multiplicity 2)"``."""
    charge = structure.charge
    sign = "" if not charge else ("+" if charge > 0 else "-") + (str(abs(charge)) if abs(charge) > 1 else "")
    spin = "" if structure.multiplicity == 1 else f" (multiplicity {structure.multiplicity})"
    return f"{structure.formula}{sign}{spin}"
