"""Properties of frames in the store: round trips, refusals, fits of other densities, stores of older versions."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.errors import DataError, InputError
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.properties import density_orbitals, electrons_of, spins
from densnet_core.stores.labels import labels_of, partial_result
from densnet_core.stores.merge import merge_stores
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure

OLD = Path(__file__).parents[1] / "data" / "reference_store_v1.zip"
BASIS = GaussianBasis("b", {1: (Shell(0, (1.0,), (1.0,)), Shell(1, (1.0,), (1.0,)))})
LEVEL = LevelOfTheory("HF", "x")


def frame(seed: int) -> tuple[Structure, ReferenceResult]:
    """H2 with random labels, all of them."""
    values = np.random.default_rng([7, seed])
    return Structure(np.array([1, 1]), values.normal(size=(2, 3))), ReferenceResult(
        energy=values.normal(),
        forces=values.normal(size=(2, 3)),
        dipole=values.normal(size=3),
        orbitals=values.normal(size=(8, 1)),
        occupations=np.array([2.0]),
        quadrupole=values.normal(size=(3, 3)),
        polarizability=values.normal(size=(3, 3)),
        response=values.normal(size=(3, 8, 1)),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReferenceStore]:
    with ReferenceStore.create(tmp_path / "store.zarr", LEVEL, "pyscf", {}) as created:
        created.set_orbital_basis(BASIS)
        yield created


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of format version 1, written before there were properties."""
    path = tmp_path / "old.zarr"
    shutil.unpack_archive(OLD, path)
    return path


def test_properties_come_back_bit_for_bit_beside_frames_without(store: ReferenceStore) -> None:
    bare = replace(frame(1)[1], quadrupole=None, polarizability=None, response=None)
    store.append([frame(0), (frame(1)[0], bare), frame(2)])
    read = ReferenceStore.open(store.path)
    for index in (0, 2):
        found, sent = read.result(index), frame(index)[1]
        assert type(found) is ReferenceResult
        for name in ("quadrupole", "polarizability", "response"):
            assert getattr(found, name).tobytes() == getattr(sent, name).tobytes()
            assert getattr(found, name).shape == getattr(sent, name).shape
    assert read.labels(1) == ("energy", "forces", "dipole", "orbitals", "occupations")
    assert read.result(1).polarizability is None
    assert read.info()["labels"]["polarizability"] == 2
    assert verify(store.path) == []


def test_a_property_that_is_not_there_is_not_taken_for_none(store: ReferenceStore) -> None:
    structure, result = frame(0)
    store.append([(structure, partial_result({"energy": 1.0, "quadrupole": result.quadrupole}))])
    found = store.result(0)
    assert labels_of(found) == ("energy", "quadrupole")
    with pytest.raises(DataError, match="no polarizability; its labels are: energy, quadrupole"):
        found.polarizability  # noqa: B018
    with pytest.raises(DataError, match="has no response"):
        store.result(0, labels=("response",))
    store.append([frame(1)])
    assert labels_of(store.result(1, labels=("response",))) == ("orbitals", "occupations", "response")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quadrupole": np.zeros(3)}, r"quadrupole must have shape \(3, 3\)"),
        ({"polarizability": np.full((3, 3), np.nan)}, "polarizability .* not finite"),
        ({"response": np.zeros((3, 8, 2))}, r"response must have shape \(3, 8, 1\)"),
    ],
)
def test_wrong_properties_are_refused(store: ReferenceStore, change: dict, message: str) -> None:
    structure, result = frame(0)
    with pytest.raises(InputError, match=message):
        store.append([(structure, replace(result, **change))])
    with pytest.raises(InputError, match="belongs to the orbitals"):
        partial_result({"energy": 0.0, "response": result.response})


def test_fits_of_other_densities(store: ReferenceStore, tmp_path: Path) -> None:
    store.append([frame(0), frame(1)])
    fit = store.create_fit("r", BASIS, "coulomb", {}, ("charge", "dipole"), "density_response")
    vectors = np.random.default_rng(3).normal(size=(2, 3, 8))
    fit.append(list(vectors))
    with pytest.raises(InputError, match="one of density, density_response, spin_density"):
        store.create_fit("s", BASIS, "coulomb", {}, ("charge", "dipole"), "current")  # type: ignore[arg-type]
    read = ReferenceStore.open(store.path).fit("r")
    assert (read.quantity, read.info()["quantity"]) == ("density_response", "density_response")
    assert read.coefficients(1).tobytes() == vectors[1].tobytes()
    assert read.coefficients(1).shape == (3, 8)
    assert "whole density response" in repr(read)
    spin = store.create_fit("s", BASIS, "coulomb", {}, ("charge", "dipole"), "spin_density")
    with pytest.raises(InputError, match=r"must have shape \(8,\), not \(3, 8\)"):
        spin.append([vectors[0]])
    assert verify(store.path) == []


def test_a_store_of_an_older_version_opens_and_merges(old: Path, store: ReferenceStore, tmp_path: Path) -> None:
    opened = ReferenceStore.open(old)
    assert (len(opened), opened.attributes["format_version"]) == (3, 1)
    assert opened.result(1).energy == 1.0
    assert opened.result(1).response is None
    assert opened.labels(2) == ("energy",)
    assert opened.fit("f").quantity == "density"
    assert opened.fit("f").coefficients(2).tolist() == list(range(2, 10))
    with pytest.raises(DataError, match="format version 1, which is only read; 'densnet data upgrade"):
        ReferenceStore.open(old, writable=True)
    assert verify(old) == []
    store.append([frame(0)])
    store.close()
    report = merge_stores(tmp_path / "both.zarr", [old, store.path])
    assert report.frames == 4
    assert verify(tmp_path / "both.zarr") == []
    both = ReferenceStore.open(tmp_path / "both.zarr")
    assert both.result(1).energy == 1.0
    assert both.result(0).quadrupole is None
    assert both.result(3).response is not None


def test_spins_and_densities_of_orbitals() -> None:
    radical = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 2]]), charge=-1, multiplicity=2)
    values = np.random.default_rng(1)
    orbitals, change = values.normal(size=(8, 3)), values.normal(size=(3, 8, 3))
    result = ReferenceResult(0.0, np.zeros((2, 3)), np.zeros(3), orbitals, np.ones(3), response=change)
    assert spins(radical, result.occupations).tolist() == [1.0, 1.0, -1.0]
    assert spins(radical, np.array([2.0, 2.0])).tolist() == [0.0, 0.0]
    assert [electrons_of(radical, name) for name in ("density", "density_response", "spin_density")] == [3.0, 0.0, 1.0]
    pieces, occupations = density_orbitals(radical, result, "density_response")
    for axis in range(3):  # sum_i phi_i phi_i' + phi_i' phi_i
        expected = orbitals @ change[axis].T + change[axis] @ orbitals.T
        np.testing.assert_allclose((pieces * occupations[axis]) @ pieces.T, expected, atol=1e-12)
    with pytest.raises(InputError, match="no response"):
        density_orbitals(radical, replace(result, response=None), "density_response")
