"""Molecules that a periodic box has cut are put together, by the core and by the exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import InputError
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.torchscript import read_metadata
from densnet_core.potentials.whole import BondTree, bonds_of
from densnet_core.structures import Array
from densnet_core.testing.potentials import PairPotential, ValencePotential
from densnet_core.testing.springs import ETHANOL

BOHR = 0.0529177210903
BOXES = {
    "orthorhombic": np.diag([1.1, 1.3, 0.9]),
    "triclinic": np.array([[1.2, 0.0, 0.0], [0.4, 1.1, 0.0], [-0.3, 0.5, 1.0]]),
}
"""Nanometer; vectors in rows, as OpenMM has them."""


def cut(positions: Array, box: Array, shift: Array) -> Array:
    """Positions moved and then wrapped atom by atom into the box."""
    fractions = (positions + shift) @ np.linalg.inv(box)
    return (fractions - np.floor(fractions)) @ box


def distances(positions: Array) -> Array:
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_a_molecule_that_was_cut_is_what_it_was(box: Array) -> None:
    positions = ETHANOL.positions * BOHR
    tree = BondTree.of(9, bonds_of(ETHANOL))
    assert tree.n_molecules == 1
    were_cut = 0
    for seed in range(30):
        pieces = cut(positions, box, np.random.default_rng(seed).uniform(-3.0, 3.0, size=3))
        were_cut += not np.allclose(distances(pieces), distances(positions))
        np.testing.assert_allclose(distances(tree.whole(pieces, box)), distances(positions), atol=1e-12)
    assert were_cut > 10


def test_a_molecule_that_is_whole_stays_where_it_is() -> None:
    tree = BondTree.of(9, bonds_of(ETHANOL))
    positions = ETHANOL.positions * BOHR + 7.0
    assert tree.whole(positions, np.diag([2.0, 2.0, 2.0])) is positions


def test_bonds_divide_atoms_into_molecules() -> None:
    assert sorted(bonds_of(ETHANOL)) == [(0, 1), (0, 3), (0, 4), (0, 5), (1, 2), (1, 6), (1, 7), (2, 8)]
    assert BondTree.of(5, [(0, 3), (4, 1)]).n_molecules == 3
    ring = BondTree.of(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
    assert ring.parents.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_the_file_takes_a_subset_of_the_particles_in_a_box(box: Array, tmp_path: Path) -> None:
    bound = BoundPotential(ValencePotential.water(), [ValencePotential.water().structure] * 2)
    atoms = [7, 2, 4, 0, 9, 1]
    bound.save_torchscript(tmp_path / "water.pt", atoms)
    assert read_metadata(tmp_path / "water.pt")["atoms"] == atoms
    script = torch.jit.freeze(torch.jit.load(str(tmp_path / "water.pt")).eval())
    random = np.random.default_rng(2)
    molecules = bound.structure.positions + random.normal(scale=0.1, size=(2, 3, 3))
    energies, forces = bound.energy_and_forces(molecules)
    particles = random.uniform(-1.0, 1.0, size=(12, 3))
    for molecule, places in zip(molecules, (atoms[:3], atoms[3:]), strict=True):
        particles[places] = cut(molecule * BOHR, box, random.uniform(-2.0, 2.0, size=3))
    energy, found = script(torch.from_numpy(particles), torch.from_numpy(box))
    expected = np.zeros((12, 3))
    expected[atoms] = forces.reshape(-1, 3) * 2625.4996394799 / BOHR
    assert energy.item() == pytest.approx(energies.sum() * 2625.4996394799, rel=1e-9)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-7)


def test_the_file_says_what_it_cannot_do(tmp_path: Path) -> None:
    water = ValencePotential.water()
    BoundPotential(water, [water.structure]).save_torchscript(tmp_path / "all.pt")
    BoundPotential(water, [water.structure]).save_torchscript(tmp_path / "some.pt", [4, 5, 6])
    apart = ETHANOL.with_positions(ETHANOL.positions + np.where(np.arange(9) < 4, 0.0, 9.0)[:, None])
    BoundPotential(PairPotential(), [apart]).save_torchscript(tmp_path / "apart.pt")
    box = torch.eye(3, dtype=torch.float64)
    for name, particles, given, message in (
        ("all.pt", 4, None, "other particles"),
        ("some.pt", 6, None, "does not have"),
        ("apart.pt", 9, box, "several molecules"),
    ):
        script = torch.jit.freeze(torch.jit.load(str(tmp_path / name)).eval())
        with pytest.raises(torch.jit.Error, match=message):
            script(torch.rand(particles, 3, dtype=torch.float64), given)
    for atoms in ([0, 1], [0, 1, 1], [0, 1, -2]):
        with pytest.raises(InputError, match="3 different indices"):
            BoundPotential(water, [water.structure]).save_torchscript(tmp_path / "bad.pt", atoms)
