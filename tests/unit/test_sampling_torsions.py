"""Rigid rotations about bonds."""

from __future__ import annotations

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.config import TorsionScanOptions
from densnet_core.sampling.torsions import TorsionScanSampler, turning_atoms
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

# H2O2: O-O 1.45, O-H 0.97 angstrom, angle 100 degrees, dihedral 115 degrees.
ANGLE, DIHEDRAL = np.radians(100.0), np.radians(115.0)
PEROXIDE = Structure(
    np.array([8, 8, 1, 1]),
    np.array(
        [
            [0.0, 0.0, 0.0],
            [1.45, 0.0, 0.0],
            [0.97 * np.cos(ANGLE), 0.97 * np.sin(ANGLE), 0.0],
            [
                1.45 - 0.97 * np.cos(ANGLE),
                0.97 * np.sin(ANGLE) * np.cos(DIHEDRAL),
                0.97 * np.sin(ANGLE) * np.sin(DIHEDRAL),
            ],
        ]
    )
    / BOHR_TO_ANGSTROM,
)


def dihedral(structure: Structure, a: int, b: int, c: int, d: int) -> float:
    """Degrees, in [0, 360)."""
    p = structure.positions
    axis = p[c] - p[b]
    first, second = np.cross(p[a] - p[b], axis), np.cross(p[d] - p[c], axis)
    sine = np.dot(np.cross(first, second), axis) / np.linalg.norm(axis)
    return float(np.degrees(np.arctan2(sine, np.dot(first, second))) % 360.0)


def scan(structure: Structure, bonds: list[list[int]], context: SamplingContext | None = None, **options: object):
    return TorsionScanSampler(TorsionScanOptions(bonds=bonds, **options)).sample(structure, context)


def chain(n_carbons: int) -> Structure:
    """A zigzag of carbons, 1.53 angstrom and 112 degrees, without hydrogens."""
    half = np.radians(56.0)
    rows = [[1.53 * np.sin(half) * i, 1.53 * np.cos(half) * (i % 2), 0.0] for i in range(n_carbons)]
    return Structure(np.full(n_carbons, 6), np.array(rows) / BOHR_TO_ANGSTROM)


def test_the_dihedral_angle_takes_every_value_and_nothing_else_changes():
    frames = scan(PEROXIDE, [[1, 2]], steps=8)
    start = dihedral(PEROXIDE, 2, 0, 1, 3)
    turned = sorted((dihedral(f, 2, 0, 1, 3) - start) % 360.0 for f in frames)
    assert np.sort(np.mod(np.add(turned, 1.0), 360.0)) == pytest.approx(np.arange(8) * 45.0 + 1.0, abs=1e-5)
    for frame in frames:
        for i, j in ((0, 1), (0, 2), (1, 3), (0, 3), (1, 2)):  # bonds, and 1-3 distances for the angles
            expected = np.linalg.norm(PEROXIDE.positions[i] - PEROXIDE.positions[j])
            assert np.linalg.norm(frame.positions[i] - frame.positions[j]) == pytest.approx(expected, abs=1e-7)


def test_the_first_geometry_is_the_molecule_and_several_bonds_combine():
    pentane = chain(5)
    context = SamplingContext()
    frames = scan(pentane, [[2, 3], [3, 4]], context, steps=4)
    assert frames[0].positions == pytest.approx(pentane.positions, abs=1e-8)
    # Two bonds with four angles each; those that bring the ends together are refused and counted.
    assert len(frames) + len(context.refused) == 16
    assert len(frames) == len({frame.content_hash() for frame in frames})


def test_the_smaller_side_turns():
    assert turning_atoms(chain(6), (1, 2)) == [0]
    assert turning_atoms(chain(6), (2, 1)) == [0]
    assert turning_atoms(chain(6), (3, 4)) == [5]


def test_a_random_part_of_many_combinations():
    long = chain(40)
    bonds = [[i, i + 1] for i in range(2, 38)]  # 12^36 combinations
    context = SamplingContext()
    frames = scan(long, bonds, context, steps=36, count=20, seed=3)
    assert len(frames) + len(context.refused) == 20
    again = scan(long, bonds, steps=36, count=20, seed=3)
    assert [f.content_hash() for f in frames] == [f.content_hash() for f in again]
    with pytest.raises(InputError, match="Give a count"):
        scan(long, bonds)


def test_clashes_are_refused_with_their_reason():
    # All cis, six carbons are more than a five-membered ring and less than a six-membered one: the ends meet.
    context = SamplingContext()
    assert len(scan(chain(6), [[2, 3], [3, 4], [4, 5]], context, steps=2)) == 7
    (record,) = context.refused.records()
    assert (record["reason"], record["count"]) == ("atoms too close", 1)
    assert "C1-C6" in record["example"]


@pytest.mark.parametrize(
    ("bonds", "message"),
    [
        ([[1]], r"a bond is a pair of atoms, found \[1\]"),
        ([[0, 1]], "between 1 and 4"),
        ([[2, 2]], "two different atoms"),
        ([[3, 4]], r"H3-H4 is not a bond"),
        ([[1, 3]], r"Nothing turns about O1-H3"),
    ],
)
def test_what_is_no_rotatable_bond_is_explained(bonds, message):
    with pytest.raises(InputError, match=message):
        scan(PEROXIDE, bonds)


def test_rings_do_not_turn():
    corners = 1.5 * np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0]])
    ring = Structure(np.full(3, 6), corners / BOHR_TO_ANGSTROM)
    with pytest.raises(InputError, match="C1-C2 is part of a ring"):
        scan(ring, [[1, 2]])
