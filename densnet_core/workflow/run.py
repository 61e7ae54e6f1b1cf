"""A run: the stages of a configuration in order, each done once and never twice.

Every stage asks for the stages before it, does nothing if its results are there and belong to the configuration, and
goes on where it was killed: labels and fits frame by frame, training by checkpoint, dynamics by block.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from densnet_core import __version__
from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.library import basis_from_file
from densnet_core.config import Chosen, Config, check_inputs, check_spectrum
from densnet_core.datasets.stored import dataset_of
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification, states_of
from densnet_core.errors import ConfigError, DenSNetError
from densnet_core.md.base import MDEngine
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.threads import torch_threads
from densnet_core.reference.level import PROPERTIES
from densnet_core.reference.runner import BackendFactory
from densnet_core.sampling.base import SamplingContext
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.harmonic import HarmonicReference, harmonic_reference
from densnet_core.stores.fits import Fit
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.scf_states import state_notes
from densnet_core.stores.splits import SPLIT, split_store
from densnet_core.structures import Structure, read_xyz, write_xyz
from densnet_core.workflow.atoms import atomic_energies
from densnet_core.workflow.dynamics import (
    add_dipoles,
    heating_stage,
    integrate,
    production_stage,
    spectrum_of,
    thermal_start,
    without_rotation,
    write_spectrum,
)
from densnet_core.workflow.element_basis import optimize_on_training_frames
from densnet_core.workflow.evaluation import evaluate, frames_to_evaluate
from densnet_core.workflow.feasible import check_calculation, check_sampling
from densnet_core.workflow.folder import key_of, read_json, write_json
from densnet_core.workflow.harmonic import harmonic_from, harmonic_record
from densnet_core.workflow.keys import plain, stage_keys
from densnet_core.workflow.labels import (
    calculator,
    fit_into,
    fit_name,
    label_into,
    n_unfitted,
    open_store,
    plugin_label,
)
from densnet_core.workflow.property_fits import FITTED, fit_properties, property_fit_name
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.sampling import SamplingPlan, summary
from densnet_core.workflow.staged import alone
from densnet_core.workflow.training_run import TrainingRun


class Run(TrainingRun):
    """All stages of one configuration.

    >>> run = Run(load_config("water.toml"))
    >>> run.spectrum()

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
        If the configuration refers to something that is not there.
    """

    def __init__(self, config: Config, reporter: Reporter | None = None, manager: Manager | None = None) -> None:
        super().__init__(config, reporter, manager)
        self.structure = check_inputs(config, self.manager)
        _, self._asked = config.to_make()
        self.backend = _there(self.selection.backend)
        self.level = self._asked.level

    def check(self) -> None:
        """Also whether what the run would begin with can be computed; a run that has begun needs no backend for it."""
        super().check()
        _ = self._can_begin

    @cached_property
    def _can_begin(self) -> bool:
        if not self.folder.samples.exists():
            check_calculation(self.config.source.name, self.factory, self.structure)
            check_sampling(self.config.source.name, self._sampling_plan(), self.structure)
        return True

    # What the configuration makes

    @cached_property
    def given_basis(self) -> GaussianBasis:
        """The density basis of the configuration, restricted to the elements of the molecule."""
        return self.config.basis.build(int(z) for z in self.structure.numbers)

    @cached_property
    def factory(self) -> BackendFactory:
        """Makes the reference backend, here or in a worker."""
        chosen = self.backend
        self.manager.load(chosen.component)  # a missing program is an error here, not in a worker
        options = chosen.options.model_dump(mode="json")
        return BackendFactory(chosen.component.target, self.level, options, chosen.component.config)

    def _given_specification(self) -> DensitySpecification:
        return self._specification(self.given_basis)

    def _example(self) -> Structure:
        return self.structure

    @property
    def store_path(self) -> Path:
        """The store of the reference calculations; one for every backend, level of theory and set of options."""
        chosen = self.backend
        name = f"{chosen.component.name}-{self.level}".replace("/", "-").replace(" ", "_")
        if chosen.options != type(chosen.options)():
            name += f"-{key_of(chosen.options.model_dump(mode='json'))[:6]}"
        # Frames of a store are computed once: those without a property cannot stand in for those with it.
        name += "".join(f"-{wanted}" for wanted in self._asked.properties if wanted != "spin_density")
        return self.folder.store(name)

    # Keys: what the result of each stage depends on

    @cached_property
    def _keys(self) -> dict[str, str]:
        return stage_keys(self.config, self.selection, self.structure, self.given_basis)

    # Stages

    @alone
    def harmonic(self) -> HarmonicReference:
        """Minimum, Hessian and dipole derivatives at the level of theory of the data."""
        path = self.folder.harmonic
        if not self._is_current("harmonic", path):
            with self._stage("harmonic", f"minimum and second derivatives of {self.structure.formula}, {self.level}"):
                store_path = self.store_path.with_suffix(".harmonic.zarr")
                advance = self.reporter.task("calculations", 0)
                with open_store(store_path, self.factory, self.backend.component.name) as store:
                    calculate = calculator(store, self.factory, self.executor, advance)
                    found = harmonic_reference(calculate, self.structure)
                self._own(path, "harmonic")
                write_json(path, harmonic_record(found))
        return harmonic_from(read_json(path))

    @alone
    def sample(self) -> list[Structure]:
        """The geometries that are to be labelled."""
        path = self.folder.samples
        if not self._is_current("sample", path):
            plan = self._sampling_plan()
            harmonic = self.harmonic() if plan.needs_harmonic else None
            with self._stage("sample", f"geometries by {self.selection.sampler.component.name}"):
                for result in (path, self.folder.sampling, self.folder.unfinished_sampling):
                    self._own(result, "sample")
                factory = self.factory if plan.needs_backend else None
                context = SamplingContext(
                    harmonic, factory, self.executor, self.folder.unfinished_sampling, task=self.reporter.task
                )
                structures, record = plan.carry_out(self.structure, context)
                write_json(self.folder.sampling, record)
                write_xyz(path, structures)
                shutil.rmtree(self.folder.unfinished_sampling, ignore_errors=True)
                if told := summary(record):
                    self.reporter.note(told)
        return read_xyz(path, self.structure.charge, self.structure.multiplicity)

    def _sampling_plan(self) -> SamplingPlan:
        section, chosen = self.config.sampling, self.selection
        first = chosen.sampling_start
        return SamplingPlan(
            self.manager.load(chosen.sampler.component)(chosen.sampler.options),
            None if first is None else self.manager.load(first.component)(first.options),
            section.min_difference,
            None if section.select is None else section.select.count,
        )

    @alone
    def reference(self) -> Path:
        """Labels, fits and the split of all sampled geometries; the path of the store."""
        structures = self.sample()
        path = self.store_path
        # Frames that failed are tried again when the executor has changed, for example its limits.
        incomplete = key_of("incomplete", self._keys["reference"], plain(self.selection.executor))
        is_news = "reference" not in self._told
        if self._is_current("reference", path, key=incomplete):
            if is_news:
                self.reporter.note(
                    "Some calculations failed and are left out; they are tried again when [executor] changes."
                )
        elif not self._is_current("reference", path):
            name = self.backend.component.name
            with (
                self._stage("reference", f"{len(structures)} calculations with {name}, {self.level}"),
                open_store(path, self.factory, name) as store,
            ):
                advance = self.reporter.task("calculations", len(structures))
                asked = self._asked.properties
                factory = replace(self.factory, properties=tuple(name for name in asked if name in PROPERTIES))
                known = self.manager.quantities()
                more = [plugin_label(known[name], self.manager) for name in asked if name not in PROPERTIES]
                failures = label_into(store, factory, structures, self.executor, advance, more)
                if failures:
                    self._incomplete["reference"] = incomplete
                    self.reporter.note(
                        f"{len(failures)} of {len(structures)} calculations failed and are left out; the first: "
                        f"{failures[0][1]}"
                    )
                for sentence in state_notes(store):
                    self.reporter.note(sentence)
                wanted, there = self.config.training.frames, len(structures) - len(failures)
                if failures and there < wanted:
                    raise DenSNetError(
                        f"{len(failures)} of {len(structures)} calculations failed; {there} frames are left and "
                        f"[training] asks for {wanted}. The first failure: {failures[0][1]}"
                    )
                metric = self.config.basis.error_metric
                fit_properties(store, factory, self.given_basis, metric, self.executor, self.reporter)
        return path

    def _split(self, store: ReferenceStore) -> None:
        """Bring the split of the store up to date with the configuration."""
        training = self.config.training
        counts = {"train": training.train, "validation": training.validation, "test": training.test}
        hashes = [h.hex() for h in (s.content_hash() for s in self.sample()) if h in store]
        split_store(store, counts, training.seed, hashes)

    @alone
    def basis(self) -> GaussianBasis:
        """The density basis: the given one, or the one that is optimised on training frames (exponents = 'element')."""
        path = self.reference()
        if self.config.basis.exponents != "element":
            return self.given_basis
        result = self.folder.basis
        if not self._is_current("basis", result):
            with self._stage("basis", f"functions like those of {self.given_basis.name}, optimised for this molecule"):
                with open_store(path, self.factory, self.backend.component.name) as store:
                    self._split(store)
                self._own(result, "basis")
                optimize_on_training_frames(
                    path, self.given_basis, self.config.basis.optimization, result, self.folder.root, self.reporter
                )
        return basis_from_file(result)

    @cached_property
    def specification(self) -> DensitySpecification:
        """What the density network predicts."""
        return self._specification(self.basis())

    def _specification(self, basis: GaussianBasis) -> DensitySpecification:
        section = self.config.basis
        states = states_of([self.structure])
        return DensitySpecification(basis, section.error_metric, basis.elements, section.range_of_factors, states)

    @property
    def _fit_name(self) -> str:
        return fit_name(self.specification.label_basis, self.config.basis.fit_method)

    def _fitted(self, store: ReferenceStore) -> None:
        """Bring the fit that training learns from up to date."""
        if missing := n_unfitted(store, self._fit_name):
            basis, method = self.specification.label_basis, self.config.basis.fit_method
            advance = self.reporter.task("fits of the density", missing)
            fit_into(store, self.factory, basis, method, self.executor, advance=advance, note=self.reporter.note)

    @alone
    def train(self) -> DenSNet:
        """The trained model."""
        path, basis = self.reference(), self.basis()
        if not self._is_current("train", self.folder.model):
            with self._stage("train", f"networks for {self.structure.formula} in the basis {basis.name}"):
                self._own(self.folder.model, "train")
                with open_store(path, self.factory, self.backend.component.name) as store:
                    self._fitted(store)
                    self._split(store)
                    model = self._train(store)
                model.save(self.folder.model)
        return DenSNet.load(self.folder.model, self.manager)

    def _train(self, store: ReferenceStore) -> DenSNet:
        fit, split = store.fit(self._fit_name), store.read_document(SPLIT)
        fits = {"density": fit, **self._property_fits(store)}
        train, validation = (dataset_of(store, split[part], self.labels, fits) for part in ("train", "validation"))
        document = {
            "level_of_theory": str(self.level),
            "backend": store.backend,
            "training_frames": split["train"] + split["validation"],
            "provenance": {"reference": store.versions},
        }
        prior = AtomicPrior.from_dict(fit.prior)
        return self._learn(train, validation, self.specification, prior, self._atoms(), document)

    def _atoms(self) -> dict[int, float]:
        """Energies of isolated atoms, hartree, as the configuration has them."""
        wanted, elements = self.config.training.energy.atoms, self.given_basis.elements
        return atomic_energies(wanted, self.folder.atoms, self.level, lambda: self.factory, elements, self.reporter)

    def _property_fits(self, store: ReferenceStore) -> dict[str, Fit]:
        """Fits of other densities than the total one, in the basis of the model."""
        basis, metric = self.specification.basis, self.config.basis.error_metric
        names = {quantity: property_fit_name(basis, metric, quantity) for quantity in FITTED}
        return {quantity: store.fit(name) for quantity, name in names.items() if name in store.fit_names()}

    @alone
    def evaluate(self) -> dict[str, Any]:
        """Errors on the held-out frames."""
        path, picture = self.folder.evaluation, self.folder.parity
        model = self.train()
        if not self._is_current("evaluate", path, picture):
            with (
                self._stage("evaluate", "errors on the held-out frames"),
                ReferenceStore.open(self.store_path) as store,
            ):
                indices, _ = frames_to_evaluate(model, store, "test")
                fit = store.fit(self._fit_name)
                advance = self.reporter.task("evaluating", len(indices))
                self._own(path, "evaluate")
                self._own(picture, "evaluate")
                write_json(path, evaluate(model, store, fit, indices, advance, picture))
        return read_json(path)

    @alone
    def export(self) -> Path:
        """The TorchScript file for OpenMM."""
        path = self.folder.potential
        if not self._is_current("export", path):
            model = self.train()
            with self._stage("export", "TorchScript for openmm-torch"):
                self._own(path, "export")
                BoundPotential(model, [self._minimum()]).save_torchscript(path)
        return path

    def _minimum(self) -> Structure:
        return self.harmonic().structure

    @alone
    def md(self) -> Path:
        """Dynamics with the model; the path of the production trajectory."""
        production = self.folder.production
        if not self._is_current("md", production):
            model, md = self.train(), self.config.md
            molecules = [self._minimum()] * md.replicas
            chosen = self.selection.engine
            engine: MDEngine = self.manager.load(chosen.component)(chosen.options)
            heating, running = heating_stage(md), production_stage(md)
            provenance = {"model_key": self._keys["train"], "engine": plain(chosen), "densnet-core": __version__}
            with (
                self._stage("md", f"{md.nvt_ps:g} ps NVT and {md.nve_ps:g} ps NVE of {md.replicas} replicas"),
                torch_threads(1),
            ):
                self._own(self.folder.heating, "md")
                self._own(production, "md")
                run = partial(
                    integrate,
                    engine=engine,
                    potential=model,
                    structures=molecules,
                    provenance=provenance,
                    strict=md.strict,
                )
                state = thermal_start(molecules, md.temperature, md.seed)
                if heating.n_steps:
                    state = run(
                        self.folder.heating, stage=heating, start=state, description="heating", reporter=self.reporter
                    )
                cold = without_rotation(state, molecules[0])
                run(production, stage=running, start=cold, description="production", reporter=self.reporter)
                add_dipoles(production, model, self.reporter)
        return production

    @alone
    def spectrum(self) -> dict[str, Any]:
        """The infrared spectrum; the record of spectrum.json."""
        check_spectrum(self.config)
        record, picture = self.folder.spectrum, self.folder.picture
        trajectory, harmonic = self.md(), self.harmonic()
        if not self._is_current("spectrum", record, picture):
            section = self.config.spectrum
            with self._stage("spectrum", "infrared spectrum"):
                result = spectrum_of(
                    trajectory,
                    harmonic,
                    lower=section.minimum,
                    upper=section.maximum,
                    window=section.window,
                    width=section.resolution,
                    temperature=section.temperature,
                )
                self._own(record, "spectrum")
                self._own(picture, "spectrum")
                write_spectrum(
                    result,
                    harmonic,
                    record,
                    picture,
                    title=f"{self.structure.formula}, DenSNet on {self.level}",
                    level=str(self.level),
                    lower=section.minimum,
                    upper=section.maximum,
                    experiment=self._experiment(),
                )
        return read_json(record)

    def _experiment(self) -> ExperimentalBands | None:
        given = self.config.spectrum.experiment
        if given is None:
            return None
        intensities = None if given.intensities is None else tuple(given.intensities)
        return ExperimentalBands(tuple(given.bands), given.source, intensities)

    @alone
    def all(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Every stage; the records of evaluation and spectrum."""
        check_spectrum(self.config)
        errors = self.evaluate()
        self.export()
        return errors, self.spectrum()


def _there(backend: Chosen | None) -> Chosen:
    if backend is None:
        raise ConfigError("The configuration names no reference backend; give [reference].")
    return backend
