"""Fits in a store hold the moments of the frames' labels, and refuse labels that are not those of the orbitals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.library import basis_by_name
from densnet_core.datasets.stored import dataset_of
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.method import MOMENTS, FitMethod, FitMetric, Moment
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import DataError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory, atomic_densities
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.testing.reference import BENT
from densnet_core.workflow.labels import fit_into, fit_name, label_into
from densnet_core.workflow.moments import reference_moments, response_dipoles

LEVEL = LevelOfTheory("HF", "6-31G")
FACTORY = BackendFactory(
    "densnet_pyscf.backend:PySCFBackend",
    LEVEL,
    {},
    "densnet_pyscf.config:PySCFOptions",
    properties=("quadrupole", "polarizability", "density_response"),
)
BASIS = basis_by_name("densnet-s", [1, 8])
EXECUTOR = LocalExecutor(LocalExecutorOptions(workers=1))
ION = Structure(BENT.numbers, BENT.positions + 5.0, charge=1, multiplicity=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferenceStore]:
    """Water, and its cation elsewhere."""
    with ReferenceStore.create(tmp_path_factory.mktemp("moments") / "water.zarr", LEVEL, "pyscf", {}) as created:
        assert label_into(created, FACTORY, [BENT, ION], EXECUTOR) == []
        yield created


@pytest.fixture(scope="module")
def prior() -> AtomicPrior:
    return AtomicPrior.fit(atomic_densities(FACTORY, [1, 8], EXECUTOR))


@pytest.mark.parametrize(
    ("metric", "exact"),
    [("coulomb", "charge"), ("coulomb", "dipole"), ("coulomb", "quadrupole"), ("weighted", "dipole")],
)
def test_prior_and_fit_have_the_moments_of_the_labels(
    store: ReferenceStore, prior: AtomicPrior, metric: FitMetric, exact: Moment
) -> None:
    method = FitMethod(metric, exact)
    told: list[str] = []
    fit = fit_into(store, FACTORY, BASIS, method, EXECUTOR, prior, note=told.append)
    assert fit.name == fit_name(BASIS, method)
    assert fit.name.endswith(f"{metric}-difference-" + "+".join(method.constraints))
    assert fit.constraints == method.constraints
    assert all(f"{moment} " in told[0] for moment in method.constraints)
    for index in range(len(store)):
        result, structure = store.result(index, labels=("dipole", "quadrupole")), store.structure(index)
        found = ExpandedDensity(structure, BASIS, fit.coefficients(index), AtomicPrior.from_dict(fit.prior))
        assert found.electron_count() == pytest.approx(structure.n_electrons, abs=1e-10)
        off = np.abs(found.dipole() - result.dipole).max(), np.abs(found.second_moments() - result.quadrupole).max()
        assert off[0] < 1e-10 if exact != "charge" else off[0] > 1e-5
        assert off[1] < 1e-9 if exact == "quadrupole" else off[1] > 1e-5


def test_orbitals_give_the_moments_that_a_frame_has_no_labels_of(
    store: ReferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = [
        (*reference_moments(store, i, ("charge", "dipole", "quadrupole")), response_dipoles(store, i)) for i in (0, 1)
    ]
    monkeypatch.setattr(ReferenceStore, "labels", lambda self, index: ("orbitals", "occupations", "response"))
    for index, expected in enumerate(labelled):
        found = (*reference_moments(store, index, MOMENTS), response_dipoles(store, index))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5)
        assert reference_moments(store, index, ("charge",)) == (None, None)


def test_frames_without_a_dipole_label_learn_that_of_the_fit(
    store: ReferenceStore, prior: AtomicPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PySCF's own dipole moments, of the ion too; a fit that holds the charge alone does not have them."""
    exact, plain = (
        fit_into(store, FACTORY, BASIS, FitMethod("coulomb", e), EXECUTOR, prior) for e in ("dipole", "charge")
    )
    hashes, names = [content.hex() for content in store.hashes], ("density", "dipole")
    given = [store.result(index, labels=("dipole",)).dipole for index in (0, 1)]
    monkeypatch.setattr(ReferenceStore, "labels", lambda self, index: ("orbitals", "occupations"))
    data = dataset_of(store, hashes, names, {"density": exact})
    assert data.having("dipole") == [0, 1]
    for index in (0, 1):
        np.testing.assert_allclose(data.value("dipole", index), given[index], atol=1e-9)
        assert np.abs(given[index]).max() > 0.1
    assert dataset_of(store, hashes, names, {"density": plain}).having("dipole") == []


def test_a_dipole_that_is_not_that_of_the_orbitals_is_refused(
    store: ReferenceStore, prior: AtomicPrior, tmp_path: Path
) -> None:
    """Of an ion about another origin, as some programs print it."""
    with ReferenceStore.create(tmp_path / "wrong.zarr", LEVEL, "pyscf", {}) as wrong:
        wrong.set_orbital_basis(store.orbital_basis)
        result = store.result(1)
        wrong.append([(ION, replace(result, dipole=result.dipole - ION.positions.mean(0)))])
        with pytest.raises(DataError, match=r"Frame 0 of .* has the dipole .* of an ion about the origin"):
            fit_into(wrong, FACTORY, BASIS, FitMethod(), EXECUTOR, prior)
        assert len(wrong.fit(fit_name(BASIS, FitMethod()))) == 0
