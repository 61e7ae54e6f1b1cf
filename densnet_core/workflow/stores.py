"""Work on stores outside of a run: importing files, and fits in other bases."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from densnet_core.basis.base import Metric
from densnet_core.basis.library import basis_by_name, compact_name
from densnet_core.density.method import FitMethod, Moment
from densnet_core.errors import DataError, InputError
from densnet_core.files.units import Keys
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.checks import check_distances
from densnet_core.reference.executors import Executor
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.properties import Quantity
from densnet_core.reference.runner import BackendFactory
from densnet_core.stores.exporting import sound_frames, write_npz, writing
from densnet_core.stores.extxyz import read_extxyz, write_extxyz
from densnet_core.stores.fits import Fit
from densnet_core.stores.importing import ImportedFrames, check_agrees, check_orthonormal, in_basis, read_npz
from densnet_core.stores.judging import judge
from densnet_core.stores.labels import announced_quantities, labels_of
from densnet_core.stores.merge import ORBITALS
from densnet_core.stores.published import read_published
from densnet_core.stores.qcschema import read_qcschema, write_qcschema
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import HELD_OUT, earlier_split, split_store
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.trajectory_export import export_trajectory
from densnet_core.stores.verify import open_store as open_any
from densnet_core.workflow.folder import has_store
from densnet_core.workflow.labels import (
    NO_BACKEND,
    elements_of,
    fit_into,
    fit_name_in,
    has_densities,
    n_unfitted,
    open_foreign_store,
    open_store,
)
from densnet_core.workflow.property_fits import fit_property_into
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.whole_densities import WholeDensities, is_whole, whole_fit

EXTENDED_XYZ: Final = (".xyz", ".extxyz")
FORMATS: Final = ".npz (NumPy archive), .xyz or .extxyz (extended XYZ) or .json (QCSchema)"
PUBLISHED: Final = ".npy"
"""NPY files with Python objects, which are read and not written."""
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


def import_file(
    file: Path,
    store: Path,
    level: str | None,
    backend: str,
    charge: int | None = None,
    multiplicity: int | None = None,
    keys: Keys | None = None,
    density: Path | None = None,
    trust: bool = False,
) -> tuple[int, int, list[str]]:
    """Import a NumPy archive, extended XYZ, QCSchema JSON or the authors' NPY files, by the file's suffix.

    Parameters
    ----------
    file, store : Path
    level : str or None
        ``METHOD/BASIS``; QCSchema files say it themselves.
    backend : str
        Reference backend of the store; orbitals are kept in its basis and order. "none": the level may be any, such as
        GFN2-xTB/minimal, and there are no densities.
    charge, multiplicity : int or None
        Of frames for which the file does not say; None means 0 and 1.
    keys : Keys or None
        Names and units of an extended XYZ file.
    density : Path or None
        Densities of the frames of an NPY file.
    trust : bool
        Import labels too that cannot be right (``densnet_core.stores.judging``).

    Returns
    -------
    tuple
        Frames added, frames that were there, and what was not imported.

    Raises
    ------
    InputError, DataError
        If the file or the level of theory is not understood, atoms coincide, orbitals are not orthonormal in the basis
        of the backend, labels differ from those of the same frame in the store, or cannot be right; the store is then
        as it was.
    """
    frames = _read(file, charge, multiplicity, keys, store, density)
    if level is None and frames.level is None:
        raise InputError(f"{file} does not say at what level of theory it was computed; name it with --level.")
    theory = frames.level if level is None else LevelOfTheory.parse(level)
    if theory is None or (frames.level is not None and str(theory).lower() != str(frames.level).lower()):
        raise InputError(f"{file} was computed at {frames.level}, not at {theory}.")
    named = frames.orbital_basis_name
    if named is not None and compact_name(named) != compact_name(theory.basis):
        raise InputError(f"The orbitals of {density} are in the basis {named!r}, not in {theory.basis!r} of --level.")
    made_here, densities = not has_store(store), WholeDensities(file, frames)
    has_orbitals = any("orbitals" in labels_of(result) for _, result in frames.records)
    factory = None if backend == NO_BACKEND else backend_factory(backend, theory)
    if factory is None and (has_orbitals or frames.coefficients):
        raise InputError(f"{file} has densities, and --backend {NO_BACKEND} is for energies and forces alone.")
    try:
        with open_foreign_store(store, theory) if factory is None else open_store(store, factory, backend) as opened:
            places, not_added = _places_of_new(file, frames, opened)
            if not trust:
                _refuse_suspicious(file, frames, opened)
            new = [frames.records[place] for place in places]
            if factory is not None and any("orbitals" in labels_of(result) for _, result in new):
                numbers = np.unique(np.concatenate([structure.numbers for structure, _ in new]))
                basis = factory.make().orbital_basis(numbers)
                if frames.orbital_basis is not None:
                    new = [(s, in_basis(s, result, frames.orbital_basis, basis)) for s, result in new]
                else:
                    for place, (structure, result) in zip(places, new, strict=True):
                        check_orthonormal(f"{file}, frame {place}", structure, np.asarray(result.orbitals), basis)
                opened.set_orbital_basis(basis)
            for start in range(0, len(new), IMPORT_BLOCK):
                opened.append(new[start : start + IMPORT_BLOCK], frames.quantities)
            densities.keep_in(opened)
    except (InputError, DataError):
        if made_here and has_store(store):  # an empty store with the wrong level of theory would be in the way
            shutil.rmtree(store)
        raise
    return len(new), len(frames.records) - len(new), [*frames.ignored, *densities.notes, *not_added]


def _refuse_suspicious(file: Path, frames: ImportedFrames, store: ReferenceStore) -> None:
    """``InputError`` with figures for frames whose labels cannot be right, alone or beside those of the store."""
    found, beside = judge(frames.records), ""
    new = [record for record in frames.records if record[0].content_hash() not in store]
    if not found and len(store) and new:
        there = [(store.structure(i), store.result(i, labels=_judged(store, i))) for i in range(len(store))]
        found = judge([*new, *there])
        beside = f" beside those of {store.path} (its frames are counted after the {len(new)} new ones)"
    if found:
        listed = "\n".join(f"  {sentence}" for sentence in found)
        raise InputError(
            f"The labels of {file} cannot be right{beside}; nothing is imported:\n{listed}\nCorrect the file, or say "
            "--trust (trust = true in [data]) if they are meant so."
        )


def _judged(store: ReferenceStore, index: int) -> list[str]:
    return [name for name in ("energy", "forces") if name in store.labels(index)]


def _places_of_new(file: Path, frames: ImportedFrames, store: ReferenceStore) -> tuple[list[int], list[str]]:
    """Which frames of a file the store lacks, and what of the others it lacks; checked against those it has."""
    places: dict[bytes, int] = {}
    lacking: Counter[str] = Counter()
    for place, (structure, result) in enumerate(frames.records):
        content, where = structure.content_hash(), f"{file}, frame {place}"
        if content in store:
            there = store.index_of(content)
            check_agrees(where, result, store.result(there, [n for n in store.labels(there) if n not in ORBITALS]))
            lacking.update(set(labels_of(result)) - set(store.labels(there)))
        elif places.setdefault(content, place) != place:
            raise InputError(f"{where} has the geometry of frame {places[content]}; remove one of them.")
        else:
            try:
                check_distances(structure)
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
    not_added = [
        f"{label} of {count} frames that were there already without (import into a new store and merge the two)"
        for label, count in sorted(lacking.items())
    ]
    return list(places.values()), not_added


def _read(
    file: Path,
    charge: int | None,
    multiplicity: int | None,
    keys: Keys | None,
    store: Path,
    density: Path | None,
) -> ImportedFrames:
    suffix = file.suffix.lower()
    if density is not None and suffix != PUBLISHED:
        raise InputError(f"Densities in a file of their own belong to geometries in {PUBLISHED}; {file} is none.")
    if keys is not None and suffix not in EXTENDED_XYZ:
        raise InputError(f"Keys and units are options for extended XYZ only; {file} is none.")
    if suffix == ".npz":
        return read_npz(file, charge or 0, 1 if multiplicity is None else multiplicity)
    if suffix in EXTENDED_XYZ:
        known = announced_quantities()
        if has_store(store):
            known |= ReferenceStore.open(store).quantities
        return read_extxyz(file, charge, multiplicity, keys, known)
    if suffix == ".json":
        if charge is not None or multiplicity is not None:
            raise InputError(f"{file} says charge and multiplicity itself; leave out the options.")
        return read_qcschema(file)
    if suffix == PUBLISHED:
        return read_published(file, density, charge, multiplicity)
    raise InputError(f"{file}: the suffix must be {FORMATS}, or {PUBLISHED} (the data of the paper).")


def export_file(
    path: Path, file: Path, every: int = 1, replica: int | None = None, small: bool = False
) -> dict[Path, int]:
    """Write the frames of a store to a file whose suffix says the format; returns the files and their frames.

    Parameters
    ----------
    path, file : Path
    every, replica : int, int or None
        Of a trajectory, see ``export_trajectory``.
    small : bool
        Of a NumPy archive, see ``write_npz``.

    Raises
    ------
    InputError
        If the suffix is not known, or the frames do not fit the format.
    DataError
        If the store is damaged.
    """
    suffix = file.suffix.lower()
    if small and suffix != ".npz":
        raise InputError(f"{file}: only a NumPy archive (.npz) can be small; leave out --small.")
    with open_any(path) as store:
        if isinstance(store, TrajectoryStore):
            return dict.fromkeys(export_trajectory(store, file, every, replica), len(range(0, len(store), every)))
        if every != 1 or replica is not None:
            raise InputError(f"{path} holds labelled frames and no trajectory; leave out --every and --replica.")
        if not len(store):
            raise InputError(f"{path} holds no frames.")
        records = sound_frames(store)
        if suffix in EXTENDED_XYZ:
            with writing(file) as out:
                write_extxyz(out, records, store.quantities, level_of_theory=str(store.level))
        elif suffix == ".json":
            with writing(file) as out:
                write_qcschema(out, records, store.level, store.orbital_basis)
        elif suffix == ".npz":
            write_npz(file, list(records), small)
        else:
            raise InputError(f"{file}: the suffix must be {FORMATS}.")
        return {file: len(store)}


@contextmanager
def fit_for(path: Path, model: DenSNet, reporter: Reporter) -> Iterator[tuple[ReferenceStore, Fit | None]]:
    """A store and its fit in the basis of a model, made first if it is not there yet; None if no frame has a density.

    The fit floor then uses the model's own atoms as prior. The reporter is told if model and store are of different
    levels of theory: the errors then contain the difference of the levels.

    Raises
    ------
    InputError
        If the store is empty or holds an element that the model does not know.
    """
    specification = model.specification
    method = model.label_method
    with ReferenceStore.open(path) as store:
        if not len(store):
            raise InputError(f"{path} holds no frames; nothing can be evaluated.")
        name = fit_name_in(store, specification.label_basis, method, model.prior)
        model.check([store.structure(i) for i in range(len(store))])
        trained_on = model.document.get("level_of_theory")
        if trained_on != str(store.level):
            reporter.note(
                f"The model was trained on {trained_on}, {path} holds {store.level}: what is printed is the error of "
                "the model plus the difference of the two."
            )
        missing = n_unfitted(store, name) if has_densities(store, specification.label_basis, method) else 0
        if not missing:
            yield store, store.fit(name) if name in store.fit_names() else None
            return
        factory = backend_factory(store.backend, store.level)
    with ReferenceStore.open(path, writable=True) as store:
        advance = reporter.task("fits of the density", missing)
        basis, executor = specification.label_basis, default_executor()
        yield store, fit_into(store, factory, basis, method, executor, model.prior, advance)


def require_orbitals(store: ReferenceStore, whole: Fit | None = None) -> None:
    """Refuse a store from whose frames no density can be made, as of an extended XYZ file.

    Parameters
    ----------
    whole : Fit or None
        A fit of whole densities (``whole_fit``), which stands for orbitals in a fit in its own basis.

    Raises
    ------
    InputError
        Saying how many frames lack orbitals and where those come from.
    """
    first = 0 if whole is None else len(whole)
    missing = [index for index in range(first, len(store)) if "orbitals" not in store.labels(index)]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(store)} frames of {store.path} have no orbitals (first frame {missing[0]}), "
            "and a density is fitted from orbitals. Import a file that has them, merge with a store that has them, or "
            f"compute the geometries with a reference backend.{_bases_of_whole_fits(store)}"
        )


def _bases_of_whole_fits(store: ReferenceStore) -> str:
    names = {fit.basis.name for fit in map(store.fit, store.fit_names()) if is_whole(fit)}
    return f" Without them densities are known in the basis {' or '.join(sorted(names))} only." if names else ""


def project_store(
    path: Path,
    basis: str,
    metric: Metric,
    reporter: Reporter,
    quantity: Quantity = "density",
    exact: Moment = "dipole",
) -> tuple[str, int]:
    """Fit all frames of a store in another basis; returns the name of the fit and the number of frames.

    ``exact`` is the highest moment that fits of the density hold; other quantities have constraints of their own.
    """
    with ReferenceStore.open(path, writable=True) as store:
        density_basis = basis_by_name(basis, elements_of(store))
        require_orbitals(store, whole_fit(store, density_basis, metric) if quantity == "density" else None)
        factory = backend_factory(store.backend, store.level)
        advance = reporter.task(f"fits of the {quantity.replace('_', ' ')}", len(store))
        what = (store, factory, density_basis)
        if quantity == "density":
            method = FitMethod(metric, exact)
            fit = fit_into(*what, method, default_executor(), advance=advance)
        else:
            fit = fit_property_into(*what, metric, quantity, default_executor(), advance)
        return fit.name, len(fit)


def split_into(
    path: Path, train: int | None, validation: int, test: int, seed: int, redraw: bool = False
) -> dict[str, int]:
    """Split the frames of a store, ``train`` None meaning all the others; returns the size of each part.

    Raises
    ------
    DataError
        If the store had a split that was lost and ``redraw`` is False.
    InputError
        If there are too few frames.
    """
    with ReferenceStore.open(path, writable=True) as store:
        hashes = {content.hex() for content in store.hashes}
        if train is None:
            previous = earlier_split(store, redraw)
            held_out = hashes & {*previous[HELD_OUT], *previous["test"]} if previous else set()
            train = len(hashes) - max(len(held_out), test) - validation
        split = split_store(
            store, {"train": max(train, 0), "validation": validation, "test": test}, seed, redraw=redraw
        )
    return {part: len(contents) for part, contents in split.items()}
