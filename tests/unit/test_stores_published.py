"""Reading the data of the paper: geometries and densities in NPY files with Python objects."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import DataError, InputError
from densnet_core.sampling.config import FileOptions
from densnet_core.sampling.files import FileSampler
from densnet_core.stores.dynamics import MDFrames, MDState
from densnet_core.stores.importing import read_npz
from densnet_core.stores.labels import labels_of
from densnet_core.stores.published import read_geometries, read_published
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.unpickling import read_object_array
from densnet_core.structures import Structure
from densnet_core.workflow.keys import file_digest

sys.path.insert(0, str(Path(__file__).parent))
from store_examples import trajectory_store

DATA = Path(__file__).parents[1] / "data"
GEOMETRY, DENSITY = DATA / "published" / "geometry.npy", DATA / "published" / "density.npy"
BOHR = 0.529177210903  # CODATA 2018, angstrom


def save(path: Path, value: Any) -> Path:
    """A 0-d object array of a dictionary, or an object array (n, 2) of pairs."""
    array = value
    if isinstance(value, dict):
        array = np.empty((), dtype=object)
        array[()] = value
    np.save(path, array, allow_pickle=True)
    return path


def geometries(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    contents = dict(read_object_array(GEOMETRY)[()])
    change(contents)
    return save(path, contents)


def densities(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any], frames: slice = slice(None)) -> Path:
    pairs = read_object_array(DENSITY)[frames]
    changed = np.empty(pairs.shape, dtype=object)
    for index, (molecule, results) in enumerate(pairs):
        changed[index, 0], changed[index, 1] = dict(molecule), dict(results)
        change(changed[index, 0], changed[index, 1])
    return save(path, changed)


def test_frames_are_those_of_the_archive_with_plain_arrays() -> None:
    """water5.npz was converted by others from the same files (shared/data/README.md)."""
    expected = read_npz(DATA / "water5.npz")
    found = read_published(GEOMETRY, DENSITY)
    assert len(found) == 5
    for (one, theirs), (two, ours) in zip(expected.records, found.records, strict=True):
        assert one.content_hash() == two.content_hash()
        assert np.array_equal(one.numbers, two.numbers)
        assert np.array_equal(one.positions, two.positions)
        assert theirs.energy == ours.energy
        assert np.array_equal(theirs.forces, ours.forces)
        assert np.array_equal(theirs.orbitals, ours.orbitals)
        assert np.array_equal(theirs.occupations, ours.occupations)
        assert labels_of(ours) == labels_of(theirs)
    assert list(found.coefficients) == ["augccpvqzjkfit"]
    assert np.array_equal(found.coefficients["augccpvqzjkfit"], expected.coefficients["augccpvqzjkfit"])
    assert found.orbital_basis_name == "augccpvdz"


def test_geometries_alone_have_energies_and_forces_in_their_own_order() -> None:
    found = read_published(GEOMETRY)
    structure, result = found.records[0]
    assert structure.numbers.tolist() == [1, 1, 8]
    assert labels_of(result) == ("energy", "forces")
    contents = read_object_array(GEOMETRY)[()]
    assert np.allclose(structure.positions * BOHR, contents["positions"][0], rtol=1e-15)
    assert np.allclose(result.forces / BOHR, contents["forces"][0], rtol=1e-15)
    assert result.energy == contents["energy"][0, 0]
    (ion, _), *_ = read_published(GEOMETRY, charge=1, multiplicity=2).records
    assert (ion.charge, ion.multiplicity) == (1, 2)


def test_molecules_of_different_size_are_lists_of_arrays(tmp_path: Path) -> None:
    positions = [np.eye(2, 3), np.eye(3, 3) * 0.9]
    ragged = np.empty(2, dtype=object)
    for index, numbers in enumerate((np.array([1, 1]), np.array([8, 1, 1]))):
        ragged[index] = numbers
    contents = {"positions": positions, "atom_numbers": ragged, "energy": [-1.0, np.array([-76.0])],
                "forces": [p * 0.1 for p in positions]}  # fmt: skip
    found = read_published(save(tmp_path / "g.npy", contents))
    assert [structure.formula for structure, _ in found.records] == ["H2", "H2O"]
    assert [result.energy for _, result in found.records] == [-1.0, -76.0]


def test_one_row_of_numbers_is_for_all_frames(tmp_path: Path) -> None:
    path = geometries(tmp_path / "g.npy", lambda c: c.update(atom_numbers=np.array([1, 1, 8])))
    assert [s.formula for s, _ in read_published(path).records] == ["H2O"] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("positions"), "lacks positions; found: energy, forces, atom_numbers, atom_types"),
        (lambda c: c.update(forces=c["forces"][:3]), "forces must be an array of numbers for each of 5 frames, found"),
        (lambda c: c.update(energy=np.zeros(4)), "energy must be a number for each of 5 frames, found an array"),
        (lambda c: c.update(forces=c["forces"][:, :2]), r"frame 0: expected finite positions and forces of shape \(3"),
        (lambda c: c.update(positions=np.full((5, 3, 3), np.inf)), "frame 0: expected finite"),
        (lambda c: c.update(atom_numbers=np.array([1.0, 1.0, 8.0])), "array of integers for each of 5 frames"),
        (lambda c: c.update(positions="x" * 10**6), "positions must be an array of numbers .* found 'xxx"),
        (lambda c: c.update(atom_numbers=c["atom_numbers"] * 0), "frame 0: "),
    ],
)
def test_geometries_that_are_not_whole_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = geometries(tmp_path / "g.npy", change)
    with pytest.raises((DataError, InputError), match=message) as error:
        read_published(path)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, r: r.update(energy=r["energy"] + 1e-3), "the two files do not belong together"),
        (lambda m, r: m.update(atom=[("N", m["atom"][0][1]), *m["atom"][1:]]), "of other atoms than its geometry"),
        (lambda m, r: m.update(unit="bohr"), "angstrom from where the geometry has it"),
        (lambda m, r: m.update(unit="parsec"), "the unit of positions is 'parsec'"),
        (lambda m, r: m.update(atom="O 0 0 0"), "atom is 'O 0 0 0'; expected a list"),
        (lambda m, r: m.update(atom=[m["atom"][0], m["atom"][1], ("H", "here")]), "an atom is a tuple of 2"),
        (lambda m, r: m.update(charge=0.5), "charge=0.5 is not a sensible whole number"),
        (lambda m, r: m.update(spin=1), "frame 0: "),
        (lambda m, r: r.pop("mo_occ"), "mo_occ None"),
        (lambda m, r: r.update(mo_occ=r["mo_occ"] / 2), "only closed shells"),
        (
            lambda m, r: r.update(mo_coeff=r["mo_coeff"][None]),
            r"mo_coeff is an array of float64 of shape \(1, 41, 41\)",
        ),
        (lambda m, r: r.update(df_coeff=None if r.pop("df_coeff") is None else [1.0]), "df_coeff is a list of 1"),
    ],
)
def test_densities_that_do_not_belong_to_the_geometries_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any], message: str
) -> None:
    with pytest.raises((DataError, InputError), match=message):
        read_published(GEOMETRY, densities(tmp_path / "d.npy", change))


@pytest.mark.parametrize("number", [0, 87, -1])
def test_numbers_that_are_no_elements_are_the_fault_of_the_file(tmp_path: Path, number: int) -> None:
    def change(contents: dict[str, Any]) -> None:
        numbers = contents["atom_numbers"].copy()
        numbers[3, 1] = number
        contents.update(atom_numbers=numbers)

    path = geometries(tmp_path / "g.npy", change)
    for read in (read_published, read_geometries):
        with pytest.raises(DataError, match=rf"g\.npy, frame 3: Atomic number {number} is not between"):
            read(path)


@pytest.mark.parametrize("key", ["positions", "forces", "energy"])
def test_values_that_are_not_finite_are_named_with_file_and_frame(tmp_path: Path, key: str) -> None:
    def change(contents: dict[str, Any]) -> None:
        values = contents[key].copy()
        values[2, 0] = np.nan
        contents.update({key: values})

    with pytest.raises(DataError, match=r"g\.npy, frame 2: .*finite"):
        read_published(geometries(tmp_path / "g.npy", change))


def with_atom(name: str, position: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """Another first atom in a frame of the densities."""
    return lambda molecule, results: molecule.update(atom=[(name, position), *molecule["atom"][1:]])


@pytest.mark.parametrize(
    ("name", "position", "message"),
    [
        ("Xx", np.zeros(3), "There is no element 'Xx'"),
        ("O", np.array([0.0, np.nan, 0.0]), "the position of an atom O is not finite"),
        ("O", [0.0, float("inf"), 0], "the position of an atom O is not finite"),
    ],
)
def test_atoms_of_densities_that_are_none_are_named_with_file_and_frame(
    tmp_path: Path, name: str, position: Any, message: str
) -> None:
    with pytest.raises(DataError, match=rf"d\.npy, frame 0: {message}"):
        read_published(GEOMETRY, densities(tmp_path / "d.npy", with_atom(name, position)))


def test_files_in_each_others_place_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pairs are densities: give the file of the geometries first"):
        read_published(DENSITY)
    with pytest.raises(DataError, match="expected pairs of dictionaries"):
        read_published(GEOMETRY, GEOMETRY)
    with pytest.raises(DataError, match="has 3 frames, the geometries are 5"):
        read_published(GEOMETRY, densities(tmp_path / "d.npy", lambda m, r: None, slice(3)))
    with pytest.raises(InputError, match="says charge and multiplicity itself"):
        read_published(GEOMETRY, DENSITY, charge=0)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    geometry = geometries(tmp_path / "g.npy", lambda c: c.update(velocities=c["positions"]))
    density = densities(tmp_path / "d.npy", lambda m, r: (r.update(mo_energy=1.0), r.pop("auxbasis")))
    found = read_published(geometry, density)
    assert found.ignored == ("velocities", "df_coeff", "mo_energy")
    assert not found.coefficients


def test_geometries_without_labels_are_for_a_sampler(tmp_path: Path) -> None:
    path = geometries(tmp_path / "g.npy", lambda c: (c.pop("energy"), c.pop("forces")))
    with pytest.raises(InputError, match=r'has no energy and no forces.*\[sampling\] method = "file"'):
        read_published(path)
    read = read_geometries(path)
    assert [s.content_hash() for s in read] == [s.content_hash() for s, _ in read_published(GEOMETRY).records]
    taken = FileSampler(FileOptions(path=path, stride=2)).sample(read[0])
    assert len(taken) == 3
    assert np.allclose(taken[1].positions, read[2].positions, atol=1e-7)


def test_the_sampler_takes_the_frames_of_a_trajectory(tmp_path: Path) -> None:
    path = trajectory_store(tmp_path / "nve.zarr")
    with TrajectoryStore.open(path) as store:
        positions = store.positions()
    # Frames of random numbers: a hydrogen molecule as long as the longest of them, so that none counts as broken.
    sampler = FileSampler(FileOptions(path=path))
    read = sampler._read(Structure(np.array([1, 1]), np.eye(2, 3)))
    assert np.array_equal([s.positions for s in read], positions.reshape(16, 2, 3))
    with pytest.raises(InputError, match="moves H2 with charge 0 and multiplicity 1; asked for are 1 and 2"):
        sampler.sample(Structure(np.array([1, 1]), np.eye(2, 3), 1, 2))


def test_a_run_notices_that_a_trajectory_it_samples_has_changed(tmp_path: Path) -> None:
    one, two = trajectory_store(tmp_path / "one.zarr"), trajectory_store(tmp_path / "two.zarr")
    assert file_digest(one) == file_digest(two)
    with TrajectoryStore.open(two, writable=True) as store:
        end = MDState(40, np.ones((2, 2, 3)), np.ones((2, 2, 3)))
        store.append(MDFrames(np.array([40]), np.ones((1, 2, 2, 3)), np.ones(1), np.ones(1), end))
    assert file_digest(one) != file_digest(two)
