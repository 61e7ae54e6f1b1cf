"""Fits of other densities than the total one: the first-order density in a field, and the spin density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch

from densnet_core.basis.base import Basis, Metric
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.fitting import fit_density
from densnet_core.density.method import Moment
from densnet_core.errors import InputError
from densnet_core.reference.executors import Executor
from densnet_core.reference.properties import Quantity, density_orbitals, electrons_of
from densnet_core.reference.runner import BackendFactory, Frame, project_many
from densnet_core.stores.fits import Fit
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Array, Structure
from densnet_core.workflow.labels import FitWriter
from densnet_core.workflow.moments import check_response, response_dipoles
from densnet_core.workflow.reporter import Advance, Reporter

FITTED: Final[tuple[Quantity, ...]] = ("density_response", "spin_density")
_LABELS: Final[dict[Quantity, tuple[str, ...]]] = {
    "density_response": ("orbitals", "occupations", "response"),
    "spin_density": ("orbitals", "occupations"),
}


_HELD: Final[dict[Quantity, tuple[Moment, ...]]] = {
    "density_response": ("charge", "dipole"),
    "spin_density": ("charge",),
}


def property_fit_name(basis: Basis, metric: Metric, quantity: Quantity) -> str:
    """Name of such a fit in a store: what it was made with."""
    return f"{basis.content_hash()[:12]}-{metric}-{quantity}-{'+'.join(_HELD[quantity])}"


def n_without(store: ReferenceStore, quantity: Quantity) -> int:
    """How many frames of a store lack labels that such a fit is made of."""
    return sum(not set(_LABELS[quantity]) <= set(store.labels(index)) for index in range(len(store)))


def fit_projection(
    structure: Structure,
    projection: Array,
    basis: Basis,
    metric: Metric,
    quantity: Quantity,
    dipoles: Array | None = None,
) -> tuple[Array, Array]:
    """Coefficients of the best fit to a projected density, its integral exact and its dipole where that is given.

    Parameters
    ----------
    projection : (n_functions,) or (n_densities, n_functions)
        ``ReferenceBackend.project`` of ``density_orbitals``.
    quantity : {"density_response", "spin_density"}
        A response holds no electrons, a spin density those unpaired; no atoms are subtracted from either.
    dipoles : (3,) or (n_densities, 3), optional
        Integrals of r times the densities, bohr: of a response minus the rows of the polarizability.

    Returns
    -------
    coefficients : array like ``projection``
    missed : (n_densities,)
        How far the dipoles of fits without constraints would be off; zero where none is given.
    """
    functions, positions = MolecularBasis(basis, structure.numbers), torch.tensor(structure.positions)
    matrix, electrons = two_center(metric, functions, positions), electrons_of(structure, quantity)
    rows = np.atleast_2d(projection)
    held = [None] * len(rows) if dipoles is None else list(torch.tensor(np.atleast_2d(dipoles)))
    fitted = [
        fit_density(matrix, torch.tensor(row), moment_constraints(functions, positions, electrons, dipole))
        for row, dipole in zip(rows, held, strict=True)
    ]
    missed = np.array([one.missed.get("dipole", 0.0) for one in fitted])
    return np.stack([one.coefficients for one in fitted]).reshape(projection.shape), missed


def fit_properties(
    store: ReferenceStore,
    factory: BackendFactory,
    quantities: Sequence[Quantity],
    basis: Basis,
    metric: Metric,
    executor: Executor,
    reporter: Reporter,
) -> None:
    """Fits of several such densities."""
    for quantity in quantities:
        advance = reporter.task(f"fits of the {quantity.replace('_', ' ')}", len(store))
        fit_property_into(store, factory, basis, metric, quantity, executor, advance)


def fit_property_into(
    store: ReferenceStore,
    factory: BackendFactory,
    basis: Basis,
    metric: Metric,
    quantity: Quantity,
    executor: Executor,
    advance: Advance = lambda done, note: None,
) -> Fit:
    """Fit the response or the spin density of every frame of the store that is not fitted yet; no SCF is repeated.

    Raises
    ------
    InputError
        A frame has no response, or the quantity is no such density.
    """
    if quantity not in FITTED:
        raise InputError(f"{quantity!r} cannot be fitted here; known: {', '.join(FITTED)}.")
    name = property_fit_name(basis, metric, quantity)
    there = name in store.fit_names()
    fit = store.fit(name) if there else store.create_fit(name, basis, metric, {}, _HELD[quantity], quantity)
    writer = FitWriter(store, fit)
    first = writer.first

    def keep(index: int, projection: Array) -> None:
        structure = store.structure(first + index)
        dipoles = response_dipoles(store, first + index) if "dipole" in _HELD[quantity] else None
        coefficients, missed = fit_projection(structure, projection, basis, metric, quantity, dipoles)
        if dipoles is not None:
            check_response(store, first + index, dipoles, missed)
        writer.add(index, coefficients)

    def frames() -> Iterator[Frame]:
        for index in range(first, len(store)):
            structure = store.structure(index)
            orbitals, occupations = density_orbitals(structure, store.result(index, labels=_LABELS[quantity]), quantity)
            yield structure, orbitals, occupations

    def tell(done: int) -> None:
        advance(done, "frames")

    if first < len(store):
        project_many(factory, frames(), basis, metric, executor, keep, writer.fail, tell)
    return fit
