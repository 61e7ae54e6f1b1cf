"""The record of a geometry: isotopes, fragments, and XYZ files that keep both."""

import numpy as np
import pytest

from densnet_core.errors import DataError, InputError
from densnet_core.fragments import Fragment
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.dynamics import MDStage
from densnet_core.stores.extxyz import read_extxyz, write_extxyz
from densnet_core.stores.labels import partial_result
from densnet_core.stores.molecules import structure_from, structure_record
from densnet_core.stores.qcschema import read_qcschema, write_qcschema
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure, read_xyz, write_xyz

D, T = 2.01410177812, 3.01604928  # dalton, NIST
POSITIONS = np.array([[0.0, 0.0, 0.2], [0.0, 1.4, -0.9], [0.0, -1.4, -0.9]])
WATER = Structure(np.array([8, 1, 1]), POSITIONS)
HEAVY = Structure(WATER.numbers, POSITIONS, isotope_masses=np.array([15.999, D, D]))
RARE = Structure(WATER.numbers, POSITIONS, isotope_masses=np.array([17.9991610, D, 1.008]))
PAIR = Structure(
    np.array([8, 1, 1, 11]),
    np.vstack([POSITIONS, [9.0, 0.0, 0.0]]),
    charge=1,
    isotope_masses=np.array([15.999, D, 1.008, 22.990]),
    fragments=(Fragment((0, 1, 2)), Fragment((3,), 1)),
)
RADICALS = Structure(
    np.array([1, 8, 1]),
    POSITIONS,
    charge=-1,
    multiplicity=2,
    fragments=(Fragment((0, 2), 0), Fragment((1,), -1, 2)),
)
LABELLED = partial_result({"energy": -76.0, "forces": np.ones((3, 3))})


def same(one, two):
    assert one.content_hash() == two.content_hash()
    assert np.array_equal(one.masses, two.masses)
    assert (one.isotope_masses is None) == (two.isotope_masses is None)
    assert one.fragments == two.fragments
    assert (one.charge, one.multiplicity) == (two.charge, two.multiplicity)


def test_masses_are_those_of_the_isotopes_and_labels_do_not_depend_on_them():
    assert WATER.masses.tolist() == [15.999, 1.008, 1.008]
    assert HEAVY.masses.tolist() == [15.999, D, D]
    assert HEAVY.content_hash() == WATER.content_hash()
    assert HEAVY.with_positions(POSITIONS + 1.0).masses.tolist() == [15.999, D, D]
    assert str(HEAVY).splitlines()[2].startswith("D ")
    assert HEAVY.formula == "H2O"


def test_parts_always_divide_the_atoms():
    assert WATER.parts == (Fragment((0, 1, 2)),)
    ion = Structure(np.array([8, 1]), POSITIONS[:2], charge=1, multiplicity=3)
    assert ion.parts == (Fragment((0, 1), 1, 3),)
    assert PAIR.parts == PAIR.fragments == PAIR.with_positions(PAIR.positions + 1.0).parts


@pytest.mark.parametrize(
    ("fragments", "message"),
    [
        ([Fragment((0, 1))], r"atoms \[2\] are in no fragment"),
        ([Fragment((0, 1, 2)), Fragment((2,))], "atoms of another fragment"),
        ([Fragment((0, 1)), Fragment((3,))], "indices from 0 to 2"),
        ([Fragment((0, 1), 1), Fragment((2,), 0, 2)], "add up to 1, the total charge is 0"),
        ([Fragment((0, 1), -1), Fragment((2,), 1, 2)], "Multiplicity 2 of fragment 1 is impossible with 0 electrons"),
        ([Fragment((0, 1), -1, 3), Fragment((2,), 1)], "couple to multiplicities 3 to 3, not to the total 1"),
    ],
)
def test_fragments_that_do_not_make_up_the_molecule_are_refused(fragments, message):
    with pytest.raises(InputError, match=message):
        Structure(WATER.numbers, POSITIONS, fragments=tuple(fragments))


@pytest.mark.parametrize("masses", [[1.0, 2.0], [1.0, 2.0, -1.0], [1.0, 2.0, np.nan]])
def test_masses_that_are_none_are_refused(masses):
    with pytest.raises(InputError, match="3 positive numbers in dalton"):
        Structure(WATER.numbers, POSITIONS, isotope_masses=np.array(masses))


@pytest.mark.parametrize("structure", [WATER, HEAVY, RARE, PAIR, RADICALS])
def test_nothing_is_lost_on_the_way_through_files(tmp_path, structure):
    file = tmp_path / "x.xyz"
    write_xyz(file, [structure, structure])
    for read in read_xyz(file, structure.charge, structure.multiplicity):
        same(read, structure)
    same(structure_from(structure_record(structure)), structure)
    labels = partial_result({"energy": -76.0, "forces": np.ones((structure.n_atoms, 3))})
    with file.open("w") as out:
        write_extxyz(out, [(structure, labels)])
    ((read, result),) = read_extxyz(file).records
    same(read, structure)
    assert result.forces == pytest.approx(labels.forces, rel=1e-14)
    with (tmp_path / "x.json").open("w") as out:
        write_qcschema(out, [(structure, labels)], LevelOfTheory("HF", "sto-3g"), None)
    same(read_qcschema(tmp_path / "x.json").records[0][0], structure)


def test_isotopes_of_files_made_by_hand(tmp_path):
    file = tmp_path / "x.xyz"
    file.write_text("3\n\nO 0 0 0\nD 0 0 1\nt 0 1 0\n")
    assert read_xyz(file)[0].masses.tolist() == [15.999, D, T]
    file.write_text("3\n\nO 0 0 0\n2H 0 0 1\n3H 0 1 0\n")
    assert read_xyz(file)[0].masses.tolist() == [15.999, D, T]
    file.write_text("2\nProperties=species:S:1:pos:R:3:forces:R:3:masses:R:1\nH 0 0 0 9 9 9 1.5\nD 0 0 1 9 9 9 2.5\n")
    assert read_xyz(file)[0].masses.tolist() == [1.5, 2.5]
    file.write_text("2\nProperties=species:S:1:pos:R:3:masses:R:2\nH 0 0 0 9 9\nD 0 0 1 9 9\n")
    with pytest.raises(DataError, match="masses must be one column"):
        read_xyz(file)
    file.write_text("2\nProperties=species:S:1:pos:R:3:masses:R:1\nH 0 0 0 1\nD 0 0 1\n")
    with pytest.raises(DataError, match=r"line 4: Properties announce 5 columns; there are 4. Found: 'D 0 0 1'"):
        read_xyz(file)


def test_atoms_are_symbols_or_atomic_numbers_in_both_readers(tmp_path):
    """And what is neither is named, with its line or frame."""
    file, header = tmp_path / "x.xyz", "Properties=species:S:1:pos:R:3:forces:R:3 energy=0"
    file.write_text(f"3\n{header}\n8 0 0 0 0 0 0\nD 0 0 1 0 0 0\n01 0 1 0 0 0 0\n")
    for structure in (read_xyz(file)[0], read_extxyz(file).records[0][0]):
        assert structure.numbers.tolist() == [8, 1, 1]
        assert structure.masses.tolist() == [15.999, D, 1.008]
    for name, reason in (
        ("0", "Atomic number 0 is not between 1 and 86"),
        ("87", "Atomic number 87 is not between 1 and 86"),
        ("9" * 5000, "There is no element '999"),
        ("Xx", "There is no element 'Xx'"),
        ("\u0668", "There is no element"),
    ):
        file.write_text(f"2\n{header}\nO 0 0 0 0 0 0\n{name} 0 0 1 0 0 0\n")
        for read in (read_xyz, read_extxyz):
            with pytest.raises(InputError, match=f"frame 0: atom 2 in line 4: {reason}"):
                read(file)


def test_masses_that_ase_writes_are_read_and_ours_are_read_by_ase(tmp_path):
    io = pytest.importorskip("ase.io")
    from ase import Atoms

    atoms = Atoms("OHH", POSITIONS, masses=[15.999, D, 1.008])
    io.write(tmp_path / "ase.xyz", atoms, format="extxyz")
    assert read_xyz(tmp_path / "ase.xyz")[0].masses.tolist() == pytest.approx([15.999, D, 1.008], abs=1e-8)
    with (tmp_path / "ours.xyz").open("w") as out:
        write_extxyz(out, [(HEAVY, LABELLED)])
    back = io.read(tmp_path / "ours.xyz")
    assert back.get_chemical_symbols() == ["O", "H", "H"]
    assert back.get_masses().tolist() == [15.999, D, D]


def test_fragments_of_files(tmp_path):
    file = tmp_path / "x.xyz"
    columns = "Properties=species:S:1:pos:R:3:fragment:I:1"
    atoms = "O 0 0 0 7\nH 0 0 1 7\nNa 0 9 0 -2\nH 0 1 0 7\n"
    file.write_text(f'4\n{columns} charge=1 fragment_charges="1 0"\n{atoms}')
    (read,) = read_xyz(file, charge=1)
    assert read.fragments == (Fragment((2,), 1), Fragment((0, 1, 3)))
    with pytest.raises(DataError, match=r"the frame has charge 1; ask for that charge, found -1"):
        read_xyz(file, charge=-1)
    file.write_text(f'4\n{columns} charge=-1 fragment_charges="1 0"\n{atoms}')
    with pytest.raises(InputError, match=r"frame 0: The charges of the fragments add up to 1, the total charge is -1"):
        read_xyz(file)
    file.write_text(f'4\n{columns} fragment_charges="1 0 0"\n{atoms}')
    with pytest.raises(InputError, match="There are 2 fragments and 3 charges"):
        read_xyz(file, charge=1)
    file.write_text(f'4\n{columns} fragment_charges="1 0.5"\n{atoms}')
    with pytest.raises(InputError, match="must be whole numbers"):
        read_xyz(file, charge=1)
    file.write_text(f"4\n{columns} charge=1\n" + atoms.replace("7", "3").replace("-2", "3"))
    assert read_xyz(file, charge=1)[0].fragments == (Fragment((0, 1, 2, 3), 1),)


def test_a_trajectory_keeps_its_isotopes(tmp_path):
    stage = MDStage("nve", 10, 20.0, 300.0, 0.0, 5, 1)
    TrajectoryStore.create(tmp_path / "t.zarr", PAIR, 1, stage, {}).close()
    same(TrajectoryStore.open(tmp_path / "t.zarr").structure, PAIR)
    with pytest.raises(DataError, match="record of a structure is damaged"):
        structure_from({**structure_record(HEAVY), "isotope_masses_dalton": [1.0]})
