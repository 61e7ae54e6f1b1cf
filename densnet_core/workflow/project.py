"""What a configuration names, each part made when it is first asked for: what the stages of a run work on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.library import basis_from_file
from densnet_core.config import Chosen, Config, select
from densnet_core.config.data import DataSection
from densnet_core.config.inputs import basis_for, molecule_of
from densnet_core.density.specification import DensitySpecification, states_of
from densnet_core.elements import refuse_unknown
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.runner import BackendFactory
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.structures import Structure, read_xyz
from densnet_core.workflow.folder import RunFolder, key_of, read_json
from densnet_core.workflow.keys import file_digest
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.sampling import SamplingPlan

if TYPE_CHECKING:
    from densnet_core.potentials.densnet import DenSNet
    from densnet_core.reference.executors import Executor
    from densnet_core.stores.splits import Split
    from densnet_core.workflow.data_stores import Source


_READING = ("level", "backend", "charge", "multiplicity")


class Project:
    """A configuration with its folder, and everything that it names.

    Nothing is read or computed before it is asked for, so a stage needs the sections that it uses and no other. Parts
    that stand on the result of a stage may be asked for when that stage is current.

    Parameters
    ----------
    config : Config
    reporter : Reporter or None
        Receives the progress.
    manager : Manager or None
        Where components are looked up.

    Raises
    ------
    ConfigError
        If the configuration names a component that is not there.
    """

    def __init__(self, config: Config, reporter: Reporter | None = None, manager: Manager | None = None) -> None:
        self.config, self.reporter = config, reporter or Reporter()
        self.manager = manager or get_manager()
        self.selection = select(config, self.manager)
        self.folder = RunFolder(config.output_directory)

    @property
    def name(self) -> str:
        """Name of the configuration file, for messages."""
        return self.config.source.name

    # The molecule and how it is computed

    @cached_property
    def structure(self) -> Structure:
        """The molecule of [system]."""
        return molecule_of(self.config, self.manager)

    @property
    def level(self) -> LevelOfTheory:
        return self.config.needed_reference().level

    @property
    def backend(self) -> Chosen:
        self.config.needed_reference()
        assert self.selection.backend is not None  # select() finds it wherever there is [reference]
        return self.selection.backend

    @cached_property
    def factory(self) -> BackendFactory:
        """Makes the reference backend, here or in a worker."""
        chosen = self.backend
        self.manager.load(chosen.component)  # a missing program is an error here, not in a worker
        options = chosen.options.model_dump(mode="json")
        return BackendFactory(chosen.component.target, self.level, options, chosen.component.config)

    @cached_property
    def executor(self) -> Executor:
        chosen = self.selection.executor
        executor: Executor = self.manager.load(chosen.component)(chosen.options)
        return executor

    @cached_property
    def sampling(self) -> SamplingPlan:
        """What makes the geometries."""
        section, chosen = self.config.sampling, self.selection
        first = chosen.sampling_start
        return SamplingPlan(
            self.manager.load(chosen.sampler.component)(chosen.sampler.options),
            None if first is None else self.manager.load(first.component)(first.options),
            section.min_difference,
            None if section.select is None else section.select.count,
        )

    @property
    def store_path(self) -> Path:
        """The store of the reference calculations; one for every backend, level of theory and set of options."""
        chosen = self.backend
        name = f"{chosen.component.name}-{self.level}".replace("/", "-").replace(" ", "_")
        if chosen.options != type(chosen.options)():
            name += f"-{key_of(chosen.options.model_dump(mode='json'))[:6]}"
        # Frames of a store are computed once: those without a property cannot stand in for those with it.
        asked = self.config.needed_reference().properties
        return self.folder.store(name + "".join(f"-{wanted}" for wanted in asked if wanted != "spin_density"))

    @property
    def harmonic_store(self) -> Path:
        """The store of the calculations behind the second derivatives."""
        return self.store_path.with_suffix(".harmonic.zarr")

    def harmonic(self) -> HarmonicReference:
        """The result of the stage ``harmonic``."""
        from densnet_core.workflow.harmonic import harmonic_from

        return harmonic_from(read_json(self.folder.harmonic))

    def samples(self) -> list[Structure]:
        """The result of the stage ``sample``."""
        return read_xyz(self.folder.samples, self.structure.charge, self.structure.multiplicity)

    # What there is to learn from

    @property
    def data(self) -> DataSection | None:
        return self.config.data

    @cached_property
    def sources(self) -> list[Source]:
        """The stores to learn from: those of [data], or the one of the reference calculations."""
        from densnet_core.workflow.data_stores import check_levels, own_source, source_of

        if self.data is None:
            return [own_source(self.store_path, [int(z) for z in self.structure.numbers], states_of([self.structure]))]
        imported = [self.imported(file) for file in self.data.files]
        sources = [source_of(path) for path in (*self.data.stores, *imported)]
        check_levels(sources)
        return sources

    def imported(self, file: Path) -> Path:
        """The store of the frames of one of [data] files; another one if the file, or how it is read, changes."""
        said = [] if self.data is None else [getattr(self.data, name) for name in _READING]
        return self.folder.store(f"{file.stem}-{key_of(file_digest(file), *said)}")

    def factory_of(self, source: Source) -> BackendFactory:
        """Makes the backend that a store was made with."""
        if self.data is None:
            return self.factory
        from densnet_core.workflow.stores import backend_factory

        return backend_factory(source.backend, source.level)

    @cached_property
    def _splits(self) -> list[Split]:
        """Of each store, as it will be kept in it."""
        from densnet_core.workflow.data_stores import own_split, split_source

        training = self.config.training
        if self.data is None:
            return [own_split(self.sources[0], training, [s.content_hash().hex() for s in self.samples()])]
        return [split_source(source, training, self.reporter) for source in self.sources]

    @cached_property
    def parts(self) -> list[Split]:
        """Content hashes of the frames of each store to train on, validate on and test on."""
        from densnet_core.workflow.data_stores import parts_together, twins_of

        if self.data is None:
            return self._splits
        return parts_together(self.sources, self._splits, self.reporter, twins_of(self.sources))

    @cached_property
    def cheap_sources(self) -> list[Source]:
        """The stores of another level of theory to pretrain on; usually none."""
        section = self.config.training.pretraining
        if section is None:
            return []
        from densnet_core.workflow.data_stores import check_levels, source_of

        sources = [source_of(path) for path in section.stores]
        check_levels(sources)
        for source in sources:
            refuse_unknown(f"Pretraining on {source.path}: a model of this run", source.elements, self.elements)
        return sources

    @cached_property
    def cheap_frames(self) -> list[list[str]]:
        """Content hashes of the frames of each of them, without what the run holds out."""
        if not self.cheap_sources:
            return []
        from densnet_core.workflow.data_stores import not_held_out, twins_of

        twins = twins_of([*self.sources, *self.cheap_sources])
        return not_held_out(self.cheap_sources, self._splits, self.reporter, twins)

    def keep_splits(self) -> None:
        """Write down in the stores for what each frame is."""
        from densnet_core.workflow.data_stores import keep_split

        for source, split in zip(self.sources, self._splits, strict=True):
            keep_split(source, split)

    def digests(self, *parts: str) -> list[list[str]]:
        """Identity of the frames of some parts of each store, with their labels."""
        from densnet_core.workflow.data_stores import digest_of

        pairs = zip(self.sources, self.parts, strict=True)
        return [[digest_of(source, own[part]) for part in parts] for source, own in pairs]

    def cheap_digests(self) -> list[str]:
        """Identity of the frames to pretrain on, with their labels."""
        from densnet_core.workflow.data_stores import digest_of

        return [digest_of(source, own) for source, own in zip(self.cheap_sources, self.cheap_frames, strict=True)]

    # What the networks predict

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers that the model is for, ascending."""
        if self.data is None:
            return sorted({int(z) for z in self.structure.numbers})
        return sorted({z for source in self.sources for z in source.elements})

    @cached_property
    def given_basis(self) -> GaussianBasis:
        """The density basis of the configuration, for these elements."""
        return basis_for(self.config, self.elements)

    @property
    def optimises_basis(self) -> bool:
        """Whether the basis is a result of the run."""
        return self.config.needed_basis().exponents == "element"

    @cached_property
    def specification(self) -> DensitySpecification:
        """What the density network predicts."""
        return self.specification_in(basis_from_file(self.folder.basis) if self.optimises_basis else self.given_basis)

    def specification_in(self, basis: GaussianBasis) -> DensitySpecification:
        """The same in another basis; that of the configuration is known before the first stage."""
        section = self.config.needed_basis()
        if self.data is None:
            states = states_of([self.structure])
        else:
            states = tuple(sorted({state for source in self.sources for state in source.states}))
        return DensitySpecification(basis, section.error_metric, basis.elements, section.range_of_factors, states)

    def example(self) -> Structure:
        """A molecule on which the networks are tried out."""
        if self.data is None:
            return self.structure
        from densnet_core.stores.reference import ReferenceStore

        with ReferenceStore.open(self.sources[0].path) as store:
            return store.structure(0)

    def model(self) -> DenSNet:
        """The result of the stage ``train``."""
        from densnet_core.potentials.densnet import DenSNet

        return DenSNet.load(self.folder.model, self.manager)

    def networks(self) -> dict[str, Chosen]:
        """The components of both networks, by their slot in the selection."""
        slots = ("density_model", "density_backbone", "energy_model", "energy_backbone")
        return {slot: one for slot in slots if (one := getattr(self.selection, slot)) is not None}
