"""Extended XYZ: what ASE writes is read, what is written ASE reads; units are named, and nothing is guessed."""

from __future__ import annotations

import io
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from densnet_core.errors import DataError, InputError
from densnet_core.files.units import Keys
from densnet_core.stores.extxyz import read_extxyz, write_extxyz
from densnet_core.stores.labels import labels_of, partial_result
from densnet_core.structures import Structure

VALUES = np.random.default_rng(0)
# ASE's constants are CODATA 2014, the core's 2018: they agree to 1e-8.
ANGSTROM, EV = 1 / ase.units.Bohr, 1 / ase.units.Hartree


def atoms(**labels: object) -> Atoms:
    water = Atoms("OH2", positions=VALUES.normal(size=(3, 3)))
    water.calc = SinglePointCalculator(water, **labels)
    return water


def frames(n: int = 3) -> list[Atoms]:
    return [
        atoms(energy=VALUES.normal(), forces=VALUES.normal(size=(3, 3)), dipole=VALUES.normal(size=3)) for _ in range(n)
    ]


def test_files_of_ase_are_read_in_its_units(tmp_path: Path) -> None:
    sent = frames()
    ase.io.write(tmp_path / "a.xyz", sent, format="extxyz")
    imported = read_extxyz(tmp_path / "a.xyz")
    assert len(imported) == 3
    for (structure, result), molecule in zip(imported.records, sent, strict=True):
        assert structure.numbers.tolist() == [8, 1, 1]
        assert np.allclose(structure.positions, molecule.positions * ANGSTROM, atol=1e-7)  # ASE writes eight decimals
        assert result.energy == pytest.approx(molecule.get_potential_energy() * EV, rel=1e-7)
        assert np.allclose(result.forces, molecule.get_forces() * EV / ANGSTROM, atol=1e-7)
        assert np.allclose(result.dipole, molecule.calc.results["dipole"] * ANGSTROM, atol=1e-7)
        assert labels_of(result) == ("energy", "forces", "dipole")


def test_what_is_written_ase_reads_and_so_do_we(tmp_path: Path) -> None:
    records = [
        (
            Structure(np.array([16, 1, 1]), VALUES.normal(size=(3, 3)), charge, multiplicity),
            partial_result({"energy": -399.25, "forces": VALUES.normal(size=(3, 3)), "dipole": VALUES.normal(size=3)}),
        )
        for charge, multiplicity in ((0, 1), (1, 2))
    ]
    file = tmp_path / "out.xyz"
    with file.open("w") as out:
        write_extxyz(out, records, level_of_theory="PBE/def2-SVP")
    header = file.read_text().splitlines()[1]
    for unit in ("energy_unit=eV", "length_unit=angstrom", "forces_unit=eV/angstrom", "dipole_unit=e*angstrom"):
        assert unit in header
    read = ase.io.read(file, index=":")
    for molecule, (structure, result) in zip(read, records, strict=True):
        assert np.allclose(molecule.positions * ANGSTROM, structure.positions, rtol=1e-8)
        assert molecule.get_potential_energy() == pytest.approx(result.energy / EV, rel=1e-8)
        assert np.allclose(molecule.get_forces() * EV / ANGSTROM, result.forces, rtol=1e-7)
        assert np.allclose(molecule.get_dipole_moment() * ANGSTROM, result.dipole, rtol=1e-7)
        assert molecule.info["charge"] == structure.charge
        assert molecule.info["level_of_theory"] == "PBE/def2-SVP"
        assert not molecule.pbc.any()
    for (structure, result), (sent_structure, sent) in zip(read_extxyz(file).records, records, strict=True):
        assert structure.content_hash() == sent_structure.content_hash()
        assert result.energy == pytest.approx(sent.energy, rel=1e-15)
        assert np.allclose(result.forces, sent.forces, rtol=1e-14)
        assert np.allclose(result.dipole, sent.dipole, rtol=1e-14)


def test_what_a_frame_lacks_is_left_out() -> None:
    out = io.StringIO()
    write_extxyz(out, [(Structure(np.array([1, 1]), np.eye(2, 3)), partial_result({"energy": -1.0}))])
    (molecule,) = ase.io.read(io.StringIO(out.getvalue()), index=":", format="extxyz")
    assert set(molecule.calc.results) == {"energy"}


def text(header: str, rows: str = "H 0 0 0 1 2 3\nH 0 0 0.74 -1 -2 -3", count: int = 2) -> str:
    return f"{count}\n{header}\n{rows}\n"


COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"


def read(tmp_path: Path, content: str, **options: object):
    (tmp_path / "f.xyz").write_text(content)
    return read_extxyz(tmp_path / "f.xyz", **options)  # type: ignore[arg-type]


def test_names_and_units_of_other_programs(tmp_path: Path) -> None:
    content = text('Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-737.5 mu="1 0 0" charge=0')
    keys = Keys(
        {"energy": "REF_energy", "forces": "REF_forces", "dipole": "mu"},
        {"energy": "kcal/mol", "forces": "kcal/mol/Ang", "dipole": "D"},
    )
    ((structure, result),) = read(tmp_path, content, keys=keys).records
    # 1 hartree = 627.509474 kcal/mol, 1 bohr = 0.529177211 angstrom, 1 e bohr = 2.541746 debye
    assert result.energy == pytest.approx(-737.5 / 627.509474, rel=1e-8)
    assert result.forces[0, 2] == pytest.approx(3 * 0.529177211 / 627.509474, rel=1e-8)
    assert result.dipole[0] == pytest.approx(1 / 2.541746473, rel=1e-8)
    assert structure.positions[1, 2] == pytest.approx(0.74 / 0.529177211, rel=1e-8)
    header = f"{COLUMNS} energy=-1.5 energy_unit=hartree length_unit=bohr forces_unit=hartree/bohr"
    ((structure, result),) = read(tmp_path, text(header)).records
    assert (result.energy, result.forces[0, 0], structure.positions[1, 2]) == (-1.5, 1.0, 0.74)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (COLUMNS, r"frame 0 lacks energy.*--energy-key.*Found: column species, column pos, column forces"),
        (f"{COLUMNS} REF_energy=-1", r"lacks energy.*Found: REF_energy, column"),
        (f"{COLUMNS} energy=nan", "energy is not finite. Found: energy, column species"),
        (f'{COLUMNS} energy=-1 dipole="inf 0 0"', "dipole is not finite"),
        (f"{COLUMNS} energy=abc", "energy is not made of numbers"),
        (f'{COLUMNS} energy=-1 dipoles="0 0 0"', "dipoles is not a known key; did you mean dipole"),
        (f'{COLUMNS} energy=-1 dipole="0 0"', r"dipole must have shape \(3,\), not \(2,\)"),
        (f'{COLUMNS} energy=-1 Lattice="9 0 0 0 9 0 0 0 9"', "is periodic"),
        (f'{COLUMNS} energy=-1 pbc="T F F"', "is periodic"),
        (f'{COLUMNS} energy=-1 pbc="1 1 1" Lattice="5 0 0 0 5 0 0 0 5"', "is periodic"),
        (f"{COLUMNS} energy=-1 energy_units=hartree", "energy_units is not .*Did you mean 'energy_unit'"),
        (f"{COLUMNS} energy=-1 Energy_Unit=hartree", "Energy_Unit is not .*Did you mean 'energy_unit'"),
        (f"{COLUMNS} energy=-1 force_unit=hartree/bohr", "force_unit is not .*Did you mean 'forces_unit'"),
        (f"{COLUMNS} energy=-1 units=bohr", "units is not .*Did you mean .*'length_unit'"),
        (f"{COLUMNS} energy=-1 unitsOfEnergy=eV", "unitsOfEnergy is not a known key"),
        (f"{COLUMNS} energy=-1 total_charge=2", "total_charge is not .*Did you mean 'charge'"),
        (f"{COLUMNS} energy=-1 Charge=2", "Charge is not .*Did you mean 'charge'"),
        (f"{COLUMNS} energy=-1 spin=3", "spin is not .*Known: charge, multiplicity"),
        (f"{COLUMNS} energy=-1 energy=-2", "line 2: the header has energy more than once"),
        (
            f"{COLUMNS} energy=-1 energy_unit=hartree length_unit=bohr",
            "of energy, length .*and none of forces; name all",
        ),
        ("Properties=species:S:0:pos:R:4:forces:R:3 energy=-1", "expected name:type:columns"),
        ("Properties=species:S:2:pos:R:3:forces:R:2 energy=-1", "species must be one column"),
        (f"{COLUMNS} energy=-1 charge=0.5", "charge=0.5 is not a sensible whole number"),
        ("Properties=species:S:1:pos:R:3:forces:R:4 energy=-1", r"announce 8 columns; there are 7. Found: 'H 0"),
        ("Properties=species:S energy=-1", "expected name:type:columns"),
        ("Properties=pos:R:3:forces:R:4 energy=-1", "lacks species"),
    ],
)
def test_what_is_missing_or_wrong_is_an_error_that_lists_the_keys(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text(header))


def test_units_that_contradict_or_are_unknown_are_refused(tmp_path: Path) -> None:
    content = text(f"{COLUMNS} energy=-1 energy_unit=hartree length_unit=angstrom forces_unit=hartree/bohr")
    with pytest.raises(DataError, match="header gives energy in hartree, the option in eV"):
        read(tmp_path, content, keys=Keys(units={"energy": "eV"}))
    read(tmp_path, content, keys=Keys(units={"energy": "Hartree"}))
    with pytest.raises(InputError, match="energy cannot be given in 'Rydberg'"):
        read(tmp_path, text(f"{COLUMNS} energy=-1 energy_unit=Rydberg"))


def test_units_of_other_quantities_and_charges_of_atoms_are_left_alone(tmp_path: Path) -> None:
    header = f'{COLUMNS} energy=-1 time=3 time_unit=fs mulliken_charges="0 0" pbc="0 0 0" Lattice="9 0 0 0 9 0 0 0 9"'
    imported = read(tmp_path, text(header))
    assert imported.ignored == ("mulliken_charges", "time", "time_unit")
    moments = np.arange(9.0).reshape(3, 3)
    partial = {"energy": -1.0, "forces": np.zeros((2, 3)), "quadrupole": moments}
    with (tmp_path / "out.xyz").open("w") as out:
        write_extxyz(out, [(Structure(np.array([1, 1]), np.eye(2, 3)), partial_result(partial))])
    imported = read_extxyz(tmp_path / "out.xyz")
    assert imported.ignored == ()
    assert np.array_equal(imported.records[0][1].quadrupole, moments)
    written = (tmp_path / "out.xyz").read_text()
    assert read(tmp_path, written.replace("quadrupole_unit=e*bohr^2", "")).ignored == ("quadrupole",)
    with pytest.raises(DataError, match=r"quadrupole is in 'buckingham'; it is read in 'e\*bohr\^2'"):
        read(tmp_path, written.replace("e*bohr^2", "buckingham"))


def test_files_that_are_not_whole_are_refused_with_the_line(tmp_path: Path) -> None:
    good = text(f"{COLUMNS} energy=-1")
    with pytest.raises(DataError, match="line 5: 3 atoms announced, 2 lines follow"):
        read(tmp_path, good + text(f"{COLUMNS} energy=-1", count=3))
    with pytest.raises(DataError, match="line 5: expected the number of atoms, found 'x'"):
        read(tmp_path, good + "x\n")
    with pytest.raises(DataError, match="give every frame the same labels"):
        read(tmp_path, text(f'{COLUMNS} energy=-1 dipole="0 0 0"') + good)
    with pytest.raises(DataError, match="holds no frame"):
        read(tmp_path, "\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_extxyz(tmp_path / "nothing.xyz")
    with pytest.raises(InputError, match="frame 0: Multiplicity 2 is impossible"):
        read(tmp_path, good, multiplicity=2)
    with pytest.raises(InputError, match="frame 0: atom 1 in line 3: There is no element 'Q'"):
        read(tmp_path, good.replace("H 0 0 0 1", "Q 0 0 0 1"))
