"""Training data without quantum chemistry, for the suites of networks: smooth labels that turn with the molecule.

The densities are superposed Gaussians on atoms and at the middle of bonds, fitted in the basis as real ones are; the
dipole moments follow from the fits; energies are those of Morse bonds, free atoms and charges, with their forces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.basis.base import GaussianBasis, Metric, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import EvenTempered, even_tempered
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.fitting import fit_density
from densnet_core.density.specification import NEUTRAL_SINGLET, DensitySpecification, State
from densnet_core.fragments import Fragment
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_ANGSTROM

ELEMENTS: Final = (1, 6, 7, 8)
CATION: Final[State] = (1, 1)
ANION: Final[State] = (-1, 1)
RADICAL: Final[State] = (0, 2)

_HEAVY: Final = {"s": (0.25, 2.5, 4), "p": (0.3, 2.4, 3), "d": (0.45, 2.2, 2), "f": (0.8, 2.0, 1)}
_HYDROGEN: Final = {"s": (0.2, 2.6, 3), "p": (0.5, 2.2, 1)}
BASIS: Final[GaussianBasis] = even_tempered(
    {z: {key: EvenTempered(*series) for key, series in (_HYDROGEN if z == 1 else _HEAVY).items()} for z in ELEMENTS}
)
"""A small basis with l up to 3 on heavy atoms and up to 1 on hydrogen."""

_SOURCE: Final = GaussianBasis("source", {1: (Shell(0, (0.9,), (1.0,)),)})
_BOND, _TRANSFER, _REACH = 0.25, 0.12, 2.8
_DEPTH, _STEEPNESS = 0.15, 1.0


def _attraction(number: int) -> float:
    """For electrons, of an element; no more than something that tells elements apart."""
    return 2.0 + 0.17 * (number % 10)


def _radius(number: int) -> float:
    """Bohr."""
    return 0.7 if number == 1 else 1.35


def _atomic_energy(number: int) -> float:
    """Hartree; right to a tenth for light elements."""
    return float(-0.5 * number**2.39)


def molecule(text: str, state: State = NEUTRAL_SINGLET) -> Structure:
    """From lines ``atomic number x y z`` in angstrom."""
    rows = np.array([[float(value) for value in line.split()] for line in text.strip().splitlines()])
    return Structure(rows[:, 0].astype(np.int64), rows[:, 1:] / BOHR_TO_ANGSTROM, *state)


# None has any symmetry, and neither has the order of the atoms.
WATER: Final = molecule("1 0.80 0.62 0.10\n8 0.00 0.10 0.00\n1 -0.71 0.70 -0.22")
FORMALDEHYDE: Final = molecule("6 0.00 0.00 -0.50\n8 0.10 0.00 0.70\n1 0.90 0.20 -1.10\n1 -0.92 0.05 -1.00")
AMMONIA: Final = molecule("1 0.95 0.05 0.30\n7 0.00 0.10 0.05\n1 -0.45 0.85 0.40\n1 -0.50 -0.80 0.33")
HYDROGEN_CYANIDE: Final = molecule("7 0.05 1.16 0.02\n6 0.00 0.00 0.10\n1 0.20 -1.05 0.00")
HYDRONIUM: Final = molecule("8 0.00 0.00 0.10\n1 0.90 0.10 0.35\n1 -0.50 0.80 0.30\n1 -0.42 -0.81 0.42", CATION)
AMMONIUM: Final = molecule("7 0 0 0\n1 0.60 0.62 0.55\n1 -0.60 -0.55 0.60\n1 0.55 -0.65 -0.6\n1 -0.6 0.6 -0.58", CATION)
HYDROXIDE: Final = molecule("1 0.00 0.30 0.90\n8 0.10 0.00 0.00", ANION)
AMIDE: Final = molecule("7 0.00 0.00 0.00\n1 0.80 0.62 0.10\n1 -0.85 0.55 -0.05", ANION)
AMINO: Final = molecule("1 0.78 0.60 0.00\n7 0.02 0.00 0.05\n1 -0.80 0.66 0.05", RADICAL)
METHYL: Final = molecule("6 0.00 0.00 0.12\n1 1.05 0.10 0.00\n1 -0.50 0.95 0.10\n1 -0.55 -0.9 -0.05", RADICAL)
MOLECULES: Final[dict[State, tuple[Structure, ...]]] = {
    NEUTRAL_SINGLET: (WATER, FORMALDEHYDE, AMMONIA, HYDROGEN_CYANIDE),
    CATION: (HYDRONIUM, AMMONIUM),
    ANION: (HYDROXIDE, AMIDE),
    RADICAL: (AMINO, METHYL),
}


def states_for(inputs: frozenset[str]) -> tuple[State, ...]:
    """States of training data in which all that a model uses differs."""
    charged = (ANION, CATION) if "charge" in inputs else ()
    radical = (RADICAL,) if "multiplicity" in inputs else ()
    return tuple(sorted((NEUTRAL_SINGLET, *charged, *radical)))


@cache
def example_specification(
    states: tuple[State, ...] = (NEUTRAL_SINGLET,), largest_factor: float = 1.0, metric: Metric = "coulomb"
) -> DensitySpecification:
    """What a model of the molecules with these states predicts."""
    return DensitySpecification(BASIS, metric, ELEMENTS, largest_factor, states)


@cache
def example_data(specification: DensitySpecification) -> Dataset:
    """Two displaced copies of every molecule whose state is known to the specification; all labels."""
    random = np.random.default_rng(11)
    structures = [
        one.with_positions(one.positions + random.normal(scale=0.1, size=one.positions.shape))
        for state in specification.states
        for one in MOLECULES[state]
        for _ in range(2)
    ]
    return labelled(structures, specification)


def labelled(structures: Sequence[Structure], specification: DensitySpecification) -> Dataset:
    """Structures with the labels "energy", "forces", "density" and "dipole"."""
    labels: dict[str, list[Array | None]] = {name: [] for name in ("energy", "forces", "density", "dipole")}
    for structure in structures:
        energy, forces = _energy(structure)
        coefficients, dipole = _density(structure, specification)
        for name, value in (("energy", energy), ("forces", forces), ("density", coefficients), ("dipole", dipole)):
            labels[name].append(value)
    return Dataset(structures, labels)


def _energy(structure: Structure) -> tuple[Array, Array]:
    positions = torch.tensor(structure.positions, requires_grad=True)
    total = positions.sum() * 0.0 + sum(_atomic_energy(int(z)) for z in structure.numbers)
    for i, j in combinations(range(structure.n_atoms), 2):
        bond = sum(_radius(int(structure.numbers[k])) for k in (i, j))
        distance = torch.linalg.vector_norm(positions[i] - positions[j])
        total = total + _DEPTH * ((1.0 - torch.exp(-_STEEPNESS * (distance - bond))) ** 2 - 1.0)
    for part in structure.parts:
        total = total + 0.3 * part.charge**2 - 0.2 * part.charge + 0.1 * (part.multiplicity - 1)
    (gradient,) = torch.autograd.grad(total, positions)
    return np.asarray(total.detach().numpy()), np.asarray(-gradient.numpy())


def _density(structure: Structure, specification: DensitySpecification) -> tuple[Array, Array]:
    """Coefficients in the label basis, and the dipole moment they have."""
    positions = torch.tensor(structure.positions)
    centres, electrons = _sources(structure)
    sources = MolecularBasis(_SOURCE, [1] * len(centres))
    functions = MolecularBasis(specification.label_basis, structure.numbers)
    metric = two_center(specification.metric, functions, positions)
    projection = two_center(specification.metric, functions, positions, sources, centres)
    charge = moment_constraints(functions, positions, -float(structure.charge))
    fit = fit_density(metric, projection @ (electrons / sources.electron_counts()), charge)
    return fit.coefficients, np.asarray(-(torch.tensor(fit.coefficients) @ functions.dipoles(positions)).numpy())


def _sources(structure: Structure) -> tuple[Tensor, Tensor]:
    """Places (n, 3) of Gaussians on atoms and between them, and the electrons in each."""
    atoms = np.zeros(structure.n_atoms)
    middles, shared = [], []
    for part in structure.parts:
        atoms[list(part.atoms)] -= part.charge / len(part.atoms)
    for i, j in combinations(range(structure.n_atoms), 2):
        distance = np.linalg.norm(structure.positions[i] - structure.positions[j])
        nearness = float(np.exp(-((distance / _REACH) ** 2)))
        moved = _TRANSFER * nearness * (_attraction(int(structure.numbers[i])) - _attraction(int(structure.numbers[j])))
        atoms[i] += moved - 0.5 * _BOND * nearness
        atoms[j] -= moved + 0.5 * _BOND * nearness
        middles.append(0.5 * (structure.positions[i] + structure.positions[j]))
        shared.append(_BOND * nearness)
    centres = np.concatenate([structure.positions, np.array(middles).reshape(-1, 3)])
    return torch.tensor(centres), torch.tensor(np.concatenate([atoms, shared]))


def turned(structure: Structure, matrix: Array) -> Structure:
    """The molecule after an orthogonal transformation (3, 3) about the origin."""
    return structure.with_positions(structure.positions @ matrix.T)


def moved(structure: Structure, shift: Sequence[float] | Array) -> Structure:
    """The molecule elsewhere; ``shift`` in bohr."""
    return structure.with_positions(structure.positions + np.asarray(shift))


def renumbered(structure: Structure, order: Sequence[int]) -> Structure:
    """The molecule with its atoms in another order: first the atom ``order[0]``."""
    chosen = list(order)
    place = {old: new for new, old in enumerate(chosen)}
    fragments = tuple(replace(f, atoms=tuple(sorted(place[a] for a in f.atoms))) for f in structure.fragments)
    return replace(
        structure, numbers=structure.numbers[chosen], positions=structure.positions[chosen], fragments=fragments
    )


def together(one: Structure, other: Structure, gap: float, fragments: bool = True) -> Structure:
    """Two molecules whose nearest atoms are farther apart than ``gap`` bohr, as fragments or as one molecule."""
    distance = gap + sum(float(np.linalg.norm(s.positions, axis=1).max()) for s in (one, other))
    direction = np.array([0.6, 0.0, 0.8])
    n = one.n_atoms
    parts = (
        Fragment(tuple(range(n)), one.charge, one.multiplicity),
        Fragment(tuple(range(n, n + other.n_atoms)), other.charge, other.multiplicity),
    )
    return Structure(
        np.concatenate([one.numbers, other.numbers]),
        np.concatenate([one.positions, other.positions + distance * direction]),
        one.charge + other.charge,
        max(one.multiplicity, other.multiplicity),
        fragments=parts if fragments else (),
    )


def transformed_data(dataset: Dataset, specification: DensitySpecification, seed: int = 5) -> Dataset:
    """The same molecules, each turned, moved and renumbered, in another order, with labels made anew."""
    random = np.random.default_rng(seed)
    structures = []
    for index in random.permutation(len(dataset)):
        one = dataset.structures[int(index)]
        matrix, _ = np.linalg.qr(random.normal(size=(3, 3)))
        placed = moved(turned(one, matrix), random.normal(scale=20.0, size=3))
        structures.append(renumbered(placed, random.permutation(one.n_atoms).tolist()))
    return labelled(structures, specification)
