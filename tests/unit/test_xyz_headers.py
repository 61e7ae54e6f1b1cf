"""One policy for all XYZ files: what bears on the geometry is read, or the frame is refused, whoever reads it."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase import Atoms

from densnet_core.errors import DataError, DenSNetError
from densnet_core.stores.extxyz import read_extxyz
from densnet_core.structures import Structure, read_geometry, read_xyz

COLUMNS = "Properties=species:S:1:pos:R:3"
WATER = "O 0 0 0\nH 0.757 0.586 0\nH -0.757 0.586 0\n"


def one(tmp_path: Path, header: str, rows: str = WATER, **asked: int) -> Structure:
    file = tmp_path / "x.xyz"
    file.write_text(f"{len(rows.splitlines())}\n{header}\n{rows}")
    return read_geometry(file, **asked)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f'{COLUMNS} Lattice="5 0 0 0 5 0 0 0 5" pbc="T T T"', "is periodic"),
        (f'{COLUMNS} Lattice="5 0 0 0 5 0 0 0 5"', "is periodic"),
        ("Lattice: 5 5 5", "is periodic"),
        (f"{COLUMNS} pbc=maybe", "is periodic"),
        (f"{COLUMNS} cell=5", "cell is not a known key.*'Lattice'|cell is not a known key.*Known: Lattice, pbc"),
        (f'{COLUMNS} charge=0 spin=3 pbc="F F F"', "spin is not a known key.*Known: charge, multiplicity"),
        ("spin: 3", "spin is not a known key"),
        (f"{COLUMNS} total_charge=-2", "total_charge is not .*Did you mean 'charge'"),
        (f"{COLUMNS} total_spin=1", "total_spin is not a known key"),
        (f"{COLUMNS} nelectrons=9", "nelectrons is not a known key"),
        (f"{COLUMNS} units=bohr", "units is not a known key"),
        ("units: bohr", "units is not a known key"),
        ("water, in Bohr", "the comment says 'Bohr'"),
        ("charge 1 spin 2", "the comment says 'charge 1'"),
        ("Charge: 1", "Charge is not a known key"),
        ("charge=0 charge=1", "charge=0 and 1 is not a sensible whole number"),
        (f"{COLUMNS} Multiplicity=3", "Did you mean 'multiplicity'"),
        (f"{COLUMNS} lattice=9", "lattice is not a known key"),
        (f"{COLUMNS} state=T1", "state is not a known key or column"),
        (f"{COLUMNS} scale=0.529", "scale is not a known key or column"),
        (f"{COLUMNS} length_unit=furlong", "length cannot be given in 'furlong'"),
        (f"{COLUMNS} energy=-1 energy_unit=hartree", "hartree|none of length"),
        (f"{COLUMNS} magmom=2.0", "magmom add up to multiplicity 3, but it would be read as 1"),
        (f"{COLUMNS} fragment_charges=1", "without a column fragment"),
    ],
)
def test_what_would_not_be_read_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DenSNetError, match=message):
        one(tmp_path, header)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ("", "H 0 0 0 1\nH 0 0 1 1\n", "expected 'symbol x y z' .other columns: name them"),
        ("mass:R:1", "H 0 0 0 2\nH 0 0 1 2\n", "mass is not a known key.*Did you mean 'masses'"),
        ("move_mask:L:1", "H 0 0 0 T\nH 0 0 1 T\n", "move_mask is not a known key or column"),
        ("Z:I:1", "H 0 0 0 1\nH 0 0 1 2\n", "atom 2 in line 4: species and Z are H and 2"),
        ("masses:R:1", "H 0 0 0 1837.5\nH 0 0 1 1837.5\n", "H has the mass 1837.5, usual is 1.008 dalton"),
        ("initial_magmoms:R:1", "H 0 0 0 1\nH 0 0 1 1\n", "add up to multiplicity 3"),
        ("initial_charges:R:1", "H 0 0 0 1\nH 0 0 1 1\n", "add up to charge 2"),
        ("charges:R:1", "H 0 0 x 1\nH 0 0 1 1\n", "charges is not a known key"),
    ],
)
def test_columns_that_would_not_be_read_are_refused(tmp_path: Path, columns: str, rows: str, message: str) -> None:
    with pytest.raises(DenSNetError, match=message):
        one(tmp_path, f"{COLUMNS}:{columns}" if columns else "", rows)


def test_triplet_oxygen_is_a_triplet(tmp_path: Path) -> None:
    oxygen = "O 0 0 0\nO 0 0 1.21\n"
    assert one(tmp_path, f"{COLUMNS} multiplicity=3", oxygen).multiplicity == 3
    assert one(tmp_path, "multiplicity=3", oxygen, multiplicity=3).multiplicity == 3
    with pytest.raises(DataError, match="the frame has multiplicity 3; ask for that multiplicity, found 1"):
        one(tmp_path, f"{COLUMNS} multiplicity=3", oxygen, multiplicity=1)
    atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.21]], magmoms=[1, 1])
    ase.io.write(tmp_path / "ase.xyz", atoms, format="extxyz")
    assert read_geometry(tmp_path / "ase.xyz", multiplicity=3).multiplicity == 3
    with pytest.raises(DataError, match="initial_magmoms add up to multiplicity 3, but it would be read as 1"):
        read_geometry(tmp_path / "ase.xyz")


def test_what_is_named_is_read(tmp_path: Path) -> None:
    read = one(
        tmp_path,
        "Properties=forces:R:3:species:S:1:pos:R:3:Z:I:1 length_unit=bohr forces_unit=eV/angstrom",
        "9 9 9 H 0 0 1.5 1\n" * 2,
    )
    assert read.positions.tolist() == [[0, 0, 1.5]] * 2
    assert one(tmp_path, "Properties=Z:I:1:pos:R:3", "8 0 0 0\n").numbers.tolist() == [8]
    assert one(tmp_path, "charge=1, multiplicity: 2").charge == 1


@pytest.mark.parametrize(
    "comment",
    [
        " energy: -5.070544440612 gnorm: 0.000057 xtb: 6.4.1 (23d549d)",
        " i =        3, time =        1.500, E =       -17.1644",
        "Coordinates from ORCA-job water E -76.359",
        "generated by VMD",
        "water.mol2\tEnergy: -3.2",
    ],
)
def test_comments_of_other_programs_are_text(tmp_path: Path, comment: str) -> None:
    assert one(tmp_path, comment).n_atoms == 3


def test_several_frames_are_not_one_geometry(tmp_path: Path) -> None:
    file = tmp_path / "x.xyz"
    file.write_text(f"3\n\n{WATER}" * 2)
    assert len(read_xyz(file)) == 2
    with pytest.raises(DataError, match="has 2 frames, and one geometry is wanted"):
        read_geometry(file)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "x.xyz"
    text = f"3\n{COLUMNS}:forces:R:3 energy=-1\n" + WATER.replace("\n", " 0 0 0\n")
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_text(text, encoding=encoding)
        assert read_xyz(file)[0].n_atoms == read_extxyz(file).records[0][0].n_atoms == 3
    file.write_text(text, encoding="utf-16")
    for reader in (read_xyz, read_extxyz):
        with pytest.raises(DataError, match="not text in UTF-8"):
            reader(file)
