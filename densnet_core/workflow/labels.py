"""Reference data of a run: labels, the density fit and the split, all in one store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.basis.base import Basis, Metric
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.fitting import DensityFit, fit_difference
from densnet_core.density.method import FitMethod
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.weighted import fit_weighted_difference
from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.plugins.manager import Manager
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.executors import Executor
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.runner import BackendFactory, atomic_densities, label, project_many
from densnet_core.stores.fits import Fit
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Array, Structure
from densnet_core.workflow.folder import has_store, key_of
from densnet_core.workflow.moments import check_dipole, reference_moments
from densnet_core.workflow.reporter import Advance
from densnet_core.workflow.whole_densities import projection_from, whole_fit


def open_store(path: Path, factory: BackendFactory, backend: str) -> ReferenceStore:
    """The store of a backend and level of theory, opened for writing; made if it is not there."""
    return _opened(path, factory.level, backend, lambda: factory.make().versions())


NO_BACKEND: Final = "none"
"""In place of a backend's name in stores of programs that are none: energies and forces without densities."""


def open_foreign_store(path: Path, level: LevelOfTheory) -> ReferenceStore:
    """The same of frames that no backend here can compute; nothing is known of the level but its name."""
    return _opened(path, level, NO_BACKEND, dict)


def _opened(
    path: Path, level: LevelOfTheory, backend: str, versions: Callable[[], Mapping[str, str]]
) -> ReferenceStore:
    if has_store(path):
        store = ReferenceStore.open(path, writable=True)
        if store.level != level or store.backend != backend:
            there, found = store.level, store.backend
            store.close()
            raise InputError(f"{path} holds {there} from {found!r}, not {level} from {backend!r}.")
        return store
    path.parent.mkdir(parents=True, exist_ok=True)
    return ReferenceStore.create(path, level, backend, versions())


PluginLabel = tuple[str, Callable[[Structure, ReferenceResult, OrbitalDensity], Any]]
"""Name of a label, and what computes it from a finished calculation."""


def plugin_label(quantity: Quantity, manager: Manager) -> PluginLabel:
    """The label of a plugin's quantity; ``PluginError`` if what computes it cannot be imported."""
    if quantity.reference is None:
        raise InputError(f"Nothing computes the label {quantity.name!r}; a backend or imported data must give it.")
    return quantity.name, manager.load_target(quantity.reference, f"label {quantity.name!r}")


def label_into(
    store: ReferenceStore,
    factory: BackendFactory,
    structures: Sequence[Structure],
    executor: Executor,
    advance: Advance = lambda done, note: None,
    more: Sequence[PluginLabel] = (),
) -> list[tuple[Structure, Exception]]:
    """Compute the frames that the store does not have, commit each as it finishes, and return the failures.

    Parameters
    ----------
    advance : Advance
        Told how many frames are dealt with, and in words how many of them failed.
    more : sequence of PluginLabel
        Labels that plugins compute from every result.
    """
    failures: list[tuple[Structure, Exception]] = []
    pending = [s for s in structures if s.content_hash() not in store]
    if pending:
        numbers = np.unique(np.concatenate([s.numbers for s in pending]))
        store.set_orbital_basis(factory.make().orbital_basis(numbers))

    basis = store.orbital_basis

    def keep(structure: Structure, result: ReferenceResult) -> None:
        if more and basis is not None:
            density = OrbitalDensity(structure, basis, result.orbitals, result.occupations)
            labels = {name: np.asarray(compute(structure, result, density)) for name, compute in more}
            result = replace(result, more={**result.more, **labels})
        store.append([(structure, result)])

    def record(structure: Structure, error: Exception) -> None:
        store.append_failure(structure, error, 0.0)
        failures.append((structure, error))

    def tell(done: int) -> None:
        advance(done, f"frames, {len(failures)} failed" if failures else "frames")

    label(factory, structures, executor, keep, record, lambda content: content in store, tell)
    return failures


def calculator(
    store: ReferenceStore, factory: BackendFactory, executor: Executor, advance: Advance
) -> Callable[[list[Structure]], list[tuple[Any, ...]]]:
    """Energies, forces and dipoles of structures, from the store where it has them; raises the first failure.

    And polarizabilities, if they are among the properties of ``factory``, of several structures at once: a step of an
    optimisation needs none.
    """
    done = 0
    names = ("energy", "forces", "dipole", *({"polarizability"} & set(factory.properties)))

    def calculate(structures: list[Structure]) -> list[tuple[Any, ...]]:
        nonlocal done
        if len(structures) == 1:  # a step of an optimisation is not worth a process of its own
            (structure,) = structures
            if structure.content_hash() not in store:
                store.set_orbital_basis(factory.make().orbital_basis(structure.numbers))
                store.append([(structure, replace(factory, properties=()).compute(structure))])
            advance(done + 1, "optimising")
        else:
            start = done
            failures = label_into(
                store, factory, structures, executor, lambda count, _: advance(start + count, "second derivatives")
            )
            if failures:
                raise failures[0][1]
        done += len(structures)
        indices = [store.index_of(structure.content_hash()) for structure in structures]
        there = [set(names) & set(store.labels(index)) for index in indices]
        results = [store.result(index, labels=labels) for index, labels in zip(indices, there, strict=True)]
        return [
            tuple(getattr(result, name) if name in labels else None for name in names)
            for result, labels in zip(results, there, strict=True)
        ]

    return calculate


def fit_name(basis: Basis, method: FitMethod) -> str:
    """Name of a fit of difference densities in a store: what it was made with."""
    return "-".join(
        [basis.content_hash()[:12], method.metric, "difference", "+".join(method.constraints)]
        + ([] if method.tikhonov is None else [f"tikhonov{method.tikhonov:g}"])
    )


SAME_ATOMS: Final = 1e-6
"""Priors whose atoms differ by less than this part of their electrons are one."""


def fit_name_in(store: ReferenceStore, basis: Basis, method: FitMethod, prior: AtomicPrior | None) -> str:
    """Name of the fit of a store that was, or is to be, made with this prior.

    A store may have a fit of the same basis that was made with other atoms, by another backend say; one with these
    atoms then stands beside it under a name that says with which.

    Parameters
    ----------
    prior : AtomicPrior or None
        None: whichever the fit has.
    """
    name = fit_name(basis, method)
    if prior is None or name not in store.fit_names():
        return name
    there = AtomicPrior.from_dict(store.fit(name).prior)
    covered = set(there.basis.elements) >= set(elements_of(store))
    if covered and there.difference(prior) < SAME_ATOMS:
        return name
    return f"{name}-atoms{key_of(prior.to_dict())[:8]}"


def elements_of(store: ReferenceStore) -> list[int]:
    """Atomic numbers of a store's frames, ascending."""
    return sorted({int(z) for i in range(len(store)) for z in np.unique(store.numbers(i))})


class FitWriter:
    """Takes the coefficients of the frames that a fit lacks, in any order, and appends them in that of the store.

    Parameters
    ----------
    store : ReferenceStore
    fit : Fit
        One of its fits.
    """

    def __init__(self, store: ReferenceStore, fit: Fit) -> None:
        self.first = len(fit)
        """The frame that has index 0 here."""
        self._store, self._fit = store, fit
        self._waiting: dict[int, Array] = {}

    def add(self, index: int, coefficients: Array) -> None:
        """Keep the coefficients of frame ``first + index``; all that have no gap before them are committed."""
        self._waiting[self.first + index] = coefficients
        ready: list[Array] = []
        while len(self._fit) + len(ready) in self._waiting:
            ready.append(self._waiting.pop(len(self._fit) + len(ready)))
        if ready:
            self._fit.append(ready)

    def fail(self, index: int, error: Exception) -> None:
        """Raise ``DenSNetError`` naming the frame that could not be projected."""
        where = f"Frame {self.first + index} of {self._store.path}"
        raise DenSNetError(f"{where} could not be projected: {error}") from error


def has_densities(store: ReferenceStore, basis: Basis, method: FitMethod) -> bool:
    """Whether any frame of a store has a density that can be fitted in a basis."""
    if whole_fit(store, basis, method.metric) is not None:
        return True
    return any("orbitals" in store.labels(index) for index in range(len(store)))


def n_unfitted(store: ReferenceStore, name: str) -> int:
    """Frames of a store that are not in a fit yet, which need not be there."""
    return len(store) - (len(store.fit(name)) if name in store.fit_names() else 0)


def fit_into(
    store: ReferenceStore,
    factory: BackendFactory,
    basis: Basis,
    method: FitMethod,
    executor: Executor,
    prior: AtomicPrior | None = None,
    advance: Advance = lambda done, note: None,
    note: Callable[[str], None] | None = None,
) -> Fit:
    """Fit the difference density of every frame of the store that is not fitted yet.

    Densities are those of the orbitals; of frames without, those of a fit of the whole density in the same basis and
    metric, if the store has one. Frames with neither have no coefficients in the fit.

    Parameters
    ----------
    method : FitMethod
        The moments that it holds are those of the frames' labels; of the orbitals where a frame has no such label.
    prior : AtomicPrior or None
        None computes it with the backend, unless the fit in the store already has one; see ``fit_name_in``.
    note : callable or None
        Told how well the fits were conditioned, and what the constraints changed.

    Raises
    ------
    DataError
        The dipole of a frame is not that of its orbitals.
    """
    name = fit_name_in(store, basis, method, prior)
    if name in store.fit_names():
        fit = store.fit(name)
    else:
        prior = prior or AtomicPrior.fit(atomic_densities(factory, elements_of(store), executor))
        fit = store.create_fit(name, basis, method.metric, prior.to_dict(), method.constraints)
    atoms = AtomicPrior.from_dict(fit.prior)
    writer = FitWriter(store, fit)
    first = writer.first
    conditioning = _Conditioning()

    def tell(done: int) -> None:
        advance(done, "frames")

    def keep(index: int, made: DensityFit) -> None:
        check_dipole(store, first + index, made.missed)
        if note is not None:
            conditioning.add(made)
        writer.add(index, made.coefficients)

    def moments(index: int) -> tuple[Array | None, Array | None]:
        return reference_moments(store, first + index, method.constraints)

    whole = whole_fit(store, basis, method.metric)
    rest = [i for i in range(first, len(store)) if "orbitals" in store.labels(i)]
    without_orbitals = sorted(set(range(first, 0 if whole is None else len(whole))) - set(rest))
    gaps = set(range(first, len(store))) - set(rest) - set(without_orbitals)
    for gap in sorted(gaps, reverse=True):  # the last to come then releases all those behind it, in one commit
        writer.add(gap - first, np.zeros(0))
    frames = (
        (store.structure(i), result.orbitals, result.occupations)
        for i in rest
        for result in [store.result(i, labels=("orbitals", "occupations"))]
    )
    if rest or without_orbitals:
        if method.metric == "weighted":
            places = [frame - first for frame in rest]
            _fit_weighted(store, frames, places, moments, basis, atoms, method.tikhonov, keep, tell)
        else:
            metric: Metric = method.metric

            def keep_projection(frame: int, projection: Array) -> None:
                structure, held = store.structure(frame), moments(frame - first)
                made = fit_difference(structure, projection, basis, atoms, metric, *held, tikhonov=method.tikhonov)
                keep(frame - first, made)

            if whole is not None:
                for done, frame in enumerate(without_orbitals, start=1):
                    keep_projection(frame, projection_from(whole, store.structure(frame), frame))
                    tell(done)
            project_many(
                *(factory, frames, basis, metric, executor),
                lambda index, projection: keep_projection(rest[index], projection),
                lambda index, error: writer.fail(rest[index] - first, error),
                lambda done: tell(len(without_orbitals) + done),
            )
        if note is not None:
            note(conditioning.text(basis))
    return fit


def _fit_weighted(
    store: ReferenceStore,
    frames: Iterable[tuple[Structure, Array, Array]],
    places: Sequence[int],
    moments: Callable[[int], tuple[Array | None, Array | None]],
    basis: Basis,
    atoms: AtomicPrior,
    tikhonov: float | None,
    keep: Callable[[int, DensityFit], None],
    progress: Callable[[int], None],
) -> None:
    """Fits on the quadrature; orbitals are all they need of the backend."""
    orbital_basis = store.orbital_basis
    if orbital_basis is None:
        raise DataError(f"{store.path} has no orbitals, so its densities cannot be evaluated on a quadrature.")
    for done, (index, (structure, orbitals, occupations)) in enumerate(zip(places, frames, strict=True), start=1):
        density = OrbitalDensity(structure, orbital_basis, orbitals, occupations)
        keep(index, fit_weighted_difference(density, basis, atoms, *moments(index), tikhonov=tikhonov))
        progress(done)


class _Conditioning:
    """The largest condition numbers of fits, and how far the moments would be off without the constraints."""

    def __init__(self) -> None:
        self.metric, self.solved = 0.0, 0.0
        self.missed: dict[str, float] = {}

    def add(self, fit: DensityFit) -> None:
        self.metric = max(self.metric, fit.condition_number)
        self.solved = max(self.solved, fit.solved_condition_number)
        for name, value in fit.missed.items():
            self.missed[name] = max(self.missed.get(name, 0.0), value)

    def text(self, basis: Basis) -> str:
        told = f"Condition number of the scaled metric of {basis.name}: {self.metric:.1e} at most"
        if self.solved < 0.99 * self.metric:
            told += f", {self.solved:.1e} as solved"
        missed = ", ".join(f"{name} {value:.1e}" for name, value in self.missed.items())
        return f"{told}. Held exactly; free fits would be off by up to (atomic units): {missed}."
