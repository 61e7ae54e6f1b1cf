"""Work on stores outside of a run: importing files, and fits in other bases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from densnet_core.basis.integrals import Metric
from densnet_core.basis.library import basis_by_name
from densnet_core.errors import InputError
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.reference.base import LevelOfTheory
from densnet_core.reference.executors import Executor
from densnet_core.reference.properties import Quantity
from densnet_core.reference.runner import BackendFactory
from densnet_core.stores.fits import Fit
from densnet_core.stores.importing import read_npz
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import HELD_OUT, read_split, split_store
from densnet_core.workflow.folder import has_store
from densnet_core.workflow.labels import fit_into, fit_name, open_store
from densnet_core.workflow.model import TrainedModel
from densnet_core.workflow.property_fits import fit_property_into
from densnet_core.workflow.reporter import Reporter

IMPORT_BLOCK: Final = 256
"""Frames committed at once: an import that was killed goes on behind the last of them."""


def backend_factory(backend: str, level: LevelOfTheory) -> BackendFactory:
    """A backend by name with its default options; the error of a missing one has its install line."""
    manager = get_manager()
    component = manager.find(Kind.REFERENCE, backend)
    manager.load(component)
    return BackendFactory(component.target, level, {}, component.config)


def default_executor() -> Executor:
    """The executor ``local`` with one worker per core."""
    manager = get_manager()
    component = manager.find(Kind.EXECUTOR, "local")
    executor: Executor = manager.load(component)(manager.options(component, {}, where="executor"))
    return executor


def import_npz(
    file: Path, store: Path, level: str, backend: str, charge: int, multiplicity: int
) -> tuple[int, int, list[str]]:
    """Import a NumPy archive; returns frames added, frames that were there, and arrays that were not imported.

    Raises
    ------
    InputError, DataError
        If the file or the level of theory is not understood; the store is then as it was.
    """
    factory = backend_factory(backend, LevelOfTheory.parse(level))
    frames = read_npz(file, charge, multiplicity)
    made_here = not has_store(store)
    try:
        with open_store(store, factory, backend) as opened:
            new = [record for record in frames.records if record[0].content_hash() not in opened]
            if new:
                numbers = np.unique(np.concatenate([structure.numbers for structure, _ in new]))
                opened.set_orbital_basis(factory.make().orbital_basis(numbers))
                for start in range(0, len(new), IMPORT_BLOCK):
                    opened.append(new[start : start + IMPORT_BLOCK])
    except InputError:
        if made_here and has_store(store):  # an empty store with the wrong level of theory would be in the way
            shutil.rmtree(store)
        raise
    ignored = [*frames.ignored, *(f"{name} (coefficients; fits are made anew)" for name in frames.coefficients)]
    return len(new), len(frames.records) - len(new), ignored


@contextmanager
def fit_for(path: Path, model: TrainedModel, reporter: Reporter) -> Iterator[tuple[ReferenceStore, Fit]]:
    """A store and its fit in the basis of a model, made first if it is not there yet.

    The fit floor then uses the model's own atoms as prior. The reporter is told if model and store are of different
    levels of theory: the errors then contain the difference of the levels.

    Raises
    ------
    InputError
        If the store is empty or holds an element that the model does not know.
    """
    specification = model.specification
    metric, tikhonov = model.label_method
    name = fit_name(specification.label_basis, metric, tikhonov=tikhonov)
    with ReferenceStore.open(path) as store:
        if not len(store):
            raise InputError(f"{path} holds no frames; nothing can be evaluated.")
        model.check([store.structure(i) for i in range(len(store))])
        trained_on = model.document.get("level_of_theory")
        if trained_on != str(store.level):
            reporter.note(
                f"The model was trained on {trained_on}, {path} holds {store.level}: what is printed is the error of "
                "the model plus the difference of the two."
            )
        ready = name in store.fit_names() and len(store.fit(name)) == len(store)
        if ready:
            yield store, store.fit(name)
            return
        factory = backend_factory(store.backend, store.level)
    with ReferenceStore.open(path, writable=True) as store:
        advance = reporter.task("fits of the density", len(store))
        fit = fit_into(
            store,
            factory,
            specification.label_basis,
            metric,
            default_executor(),
            model.prior,
            lambda done: advance(done, "frames"),
            tikhonov,
        )
        yield store, fit


def project_store(
    path: Path, basis: str, metric: Metric, reporter: Reporter, quantity: Quantity = "density"
) -> tuple[str, int]:
    """Fit all frames of a store in another basis; returns the name of the fit and the number of frames."""
    with ReferenceStore.open(path, writable=True) as store:
        elements = sorted({int(z) for i in range(len(store)) for z in store.numbers(i)})
        factory = backend_factory(store.backend, store.level)
        advance = reporter.task(f"fits of the {quantity.replace('_', ' ')}", len(store))
        what = (store, factory, basis_by_name(basis, elements), metric)
        if quantity == "density":
            fit = fit_into(*what, default_executor(), progress=lambda done: advance(done, "frames"))
        else:
            fit = fit_property_into(*what, quantity, default_executor(), lambda done: advance(done, "frames"))
        return fit.name, len(fit)


def split_into(path: Path, train: int | None, validation: int, test: int, seed: int) -> dict[str, int]:
    """Split the frames of a store, ``train`` None meaning all the others; returns the size of each part."""
    with ReferenceStore.open(path, writable=True) as store:
        hashes = {content.hex() for content in store.hashes}
        if train is None:
            previous = read_split(store)
            held_out = hashes & {*previous[HELD_OUT], *previous["test"]} if previous else set()
            train = len(hashes) - max(len(held_out), test) - validation
        split = split_store(store, {"train": max(train, 0), "validation": validation, "test": test}, seed)
    return {part: len(contents) for part, contents in split.items()}
