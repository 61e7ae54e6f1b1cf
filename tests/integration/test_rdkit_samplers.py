"""Molecules and chains from SMILES, torsion scans of detected bonds, and a run that begins with SMILES."""

from __future__ import annotations

import json

import numpy as np
import pytest
from densnet_rdkit.chains import ChainSampler, chain
from densnet_rdkit.config import ChainOptions, ConformerOptions, RotatableBondOptions
from densnet_rdkit.conformers import ConformerSampler
from densnet_rdkit.torsions import RotatableBondSampler, rotatable_bonds
from rdkit import Chem
from tiny_run import CONFIG, densnet

from densnet_core.errors import InputError
from densnet_core.sampling.checks import BONDED, relative_distances
from densnet_core.structures import Structure, read_xyz
from densnet_core.units import BOHR_TO_ANGSTROM

THIOPHENE = "*c1ccc(*)s1"


def conformers(smiles: str, charge: int = 0, multiplicity: int = 1, **options: object) -> list[Structure]:
    return ConformerSampler(ConformerOptions(smiles=smiles, **options)).build(charge, multiplicity)


def bonds(structure: Structure) -> list[tuple[int, int]]:
    """Pairs of atoms within bonding distance, ascending."""
    first, second = np.nonzero(np.triu(relative_distances(structure) < BONDED, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def test_thiophene_oligomers_from_one_line():
    options = ChainOptions(unit=THIOPHENE, units=[1, 2, 3, 4, 5, 6])
    made = ChainSampler(options).build(0, 1)
    assert len(made) == 6
    for n, molecule in enumerate(made, start=1):
        counts = {z: int((molecule.numbers == z).sum()) for z in (6, 16, 1)}
        assert counts == {6: 4 * n, 16: n, 1: 2 * n + 2}
        pairs = bonds(molecule)
        kinds = sorted(tuple(sorted(molecule.numbers[list(pair)].tolist())) for pair in pairs)
        # Per ring two C-S and three C-C bonds; one C-C bond between rings; one bond to each hydrogen.
        assert kinds.count((6, 16)) == 2 * n
        assert kinds.count((6, 6)) == 3 * n + n - 1
        assert kinds.count((1, 6)) == 2 * n + 2
        assert len(kinds) == 8 * n + 1
        joints = rotatable_bonds(molecule)
        assert len(joints) == n - 1
        lengths = [np.linalg.norm(np.subtract(*molecule.positions[list(joint)])) * BOHR_TO_ANGSTROM for joint in joints]
        assert all(1.40 < length < 1.50 for length in lengths)  # experiment: 1.45 angstrom


@pytest.mark.parametrize(
    ("unit", "length", "smiles"),
    [
        (THIOPHENE, 3, "c1ccsc1-c1sc(cc1)-c1cccs1"),
        ("*CC*", 4, "CCCCCCCC"),
        ("*O*", 1, "O"),
        ("*c1ccc(*)cc1", 2, "c1ccccc1-c1ccccc1"),
        ("*C(=O)CN*", 2, "O=CCNC(=O)CN"),
        # The last centre has its hydrogen twice and is none any more.
        ("*N[C@@H](C)C*", 2, "N[C@@H](C)CN[C@@H](C)C"),
    ],
)
def test_chains_are_joined_head_to_tail(unit, length, smiles):
    assert Chem.MolToSmiles(chain(unit, length)) == Chem.MolToSmiles(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize("unit", ["c1ccsc1", "*C", "*C(*)C*", "*=CC=*", "**"])
def test_a_unit_needs_two_open_ends(unit):
    with pytest.raises(InputError, match="must have two open ends"):
        chain(unit, 2)


def test_conformers_are_different_minima_and_reproducible():
    made = conformers("CCCCO", count=12, seed=2)
    assert len(made) > 3
    assert [s.content_hash() for s in made] == [s.content_hash() for s in conformers("CCCCO", count=12, seed=2)]
    assert {s.content_hash() for s in made}.isdisjoint(s.content_hash() for s in conformers("CCCCO", count=12, seed=3))
    assert {s.formula for s in made} == {"C4H10O"}
    assert {tuple(bonds(s)) for s in made} == {tuple(bonds(made[0]))}


def test_conformers_relaxed_with_xtb_are_minima_of_xtb():
    from densnet_xtb.method import GFN2

    (methanol,) = conformers("CO", count=1, relax="gfn2-xtb")
    assert np.abs(GFN2()(methanol)).max() < 5e-4
    (force_field,) = conformers("CO", count=1)
    assert np.abs(GFN2()(force_field)).max() > 1e-3


def test_ions_and_radicals():
    (ammonium,) = conformers("[NH4+]", charge=1, count=1)
    assert (ammonium.charge, ammonium.n_atoms, len(bonds(ammonium))) == (1, 5, 4)
    (methyl,) = conformers("[CH3]", multiplicity=2, count=1)
    assert methyl.multiplicity == 2


def test_isotopes_of_smiles():
    (heavy,) = conformers("[2H]O[2H]", count=1)
    assert sorted(heavy.masses) == [2.01410177812, 2.01410177812, 15.999]
    (carbon,) = conformers("[13CH4]", count=1)
    assert carbon.masses == pytest.approx([13.00335, 1.008, 1.008, 1.008, 1.008], abs=1e-5)
    assert conformers("O", count=1)[0].isotope_masses is None


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C1CC", "does not understand the SMILES 'C1CC'"),
        ("CC(C)(C)(C)C", "valence"),
        ("*C", "open end"),
        ("O.O", "2 molecules"),
        ("[NH4+]", r"charge \+1, \[system\] says \+0"),
        ("[CH3]", "Multiplicity 1 is impossible"),
    ],
)
def test_what_cannot_be_built_is_explained(smiles, message, capfd):
    with pytest.raises(InputError, match=message):
        conformers(smiles, count=1)
    assert capfd.readouterr() == ("", "")


def test_rotatable_bonds_are_found_in_the_geometry():
    (butanol,) = conformers("CCCCO", count=1)
    assert rotatable_bonds(butanol) == [(1, 2), (2, 3)]
    assert rotatable_bonds(butanol, hydrogens=True) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    (amide,) = conformers("CC(=O)NC", count=1)
    assert rotatable_bonds(amide) == [(1, 3)]
    (alkyne,) = conformers("CCC#CCC", count=1)
    assert rotatable_bonds(alkyne) == []


def test_a_scan_of_detected_bonds():
    (dimer,) = ChainSampler(ChainOptions(unit=THIOPHENE, units=[2])).build(0, 1)
    frames = RotatableBondSampler(RotatableBondOptions(steps=6)).sample(dimer)
    assert len(frames) == 6
    assert {tuple(bonds(frame)) for frame in frames} == {tuple(bonds(dimer))}
    (ethanol,) = conformers("CCO", count=1)
    with pytest.raises(InputError, match=r"no rotatable bond in C2H6O\. Set hydrogens = true"):
        RotatableBondSampler().sample(ethanol)


SMILES_RUN = CONFIG.replace('geometry = "water.xyz"', 'smiles = "O"')


def test_a_run_from_smiles_samples_without_a_geometry_file(tmp_path):
    sampling = """
[sampling]
method = "xtb-langevin"
count = 40
walkers = 2
interval_fs = 10.0
equilibration_fs = 20.0
[sampling.start]
method = "conformers"
smiles = "O"
count = 1
[sampling.select]
count = 24
"""
    text = SMILES_RUN.replace("[sampling]\ncount = 24\nseed = 1\n", sampling)
    assert sampling in text
    (tmp_path / "water.toml").write_text(text)
    done = densnet("sample", "water.toml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["made"], record["geometries"], record["not_selected"]) == (40, 24, 16)
    assert "16 not selected" in done.stderr
    assert len(read_xyz(tmp_path / "out" / "samples.xyz")) == 24
    assert not (tmp_path / "out" / "sampling").exists()
    again = densnet("sample", "water.toml", cwd=tmp_path)
    assert "current" in again.stderr
