"""What moves in a normal mode, in words: shares of stretches, bends, torsions and motions out of a plane.

The share of an internal coordinate s with force constant k is k s^2 divided by the sum over all coordinates, where s is
its change along the mode and the k are those of the force field that optimisations start from (``model_hessian``). That
is the potential-energy distribution of that force field without its couplings: enough to name a mode, not to assign
one. Like coordinates (all C-H stretches) count as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import nuclide_symbol
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.potentials.whole import BondTree, bonds_of
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.spectra.model_hessian import (
    BEND,
    STRETCH,
    TORSION,
    bend_gradients,
    screening_of,
    torsion_gradient,
)
from densnet_core.structures import Structure

Array = NDArray[np.float64]

OUT_OF_PLANE: Final = 0.05
"""Hartree per rad^2, before screening; between a bend's constant and a torsion's."""
_PLANAR: Final = 0.15  # rad, by which a centre with three neighbours may be out of their plane
_NAMED: Final = 0.2  # smaller shares are not named
_ALONE: Final = 0.9  # a larger share is named without its figure
_BETWEEN: Final = 0.5  # share of the kinetic energy in which whole molecules move against each other
_IN_PHASE, _OUT_OF_PHASE = 0.9, 0.1
_BETWEEN_MOLECULES: Final = "molecules against each other"
_OUT: Final = "out of plane"
_Term = tuple[str, tuple[int, ...], Array, float]
"""Kind, atoms, gradient (3 per atom) and force constant of an internal coordinate."""


@dataclass(frozen=True)
class Motion:
    """What a normal mode is.

    Parameters
    ----------
    text : str
        For people, for example ``"C-O stretch 55 %, C-C stretch 31 %"``.
    shares : mapping of str to float
        Share of each kind of internal coordinate, descending; they add up to one.
    kinetic : (n_atoms,)
        Share of each atom in the kinetic energy; they add up to one.
    """

    text: str
    shares: Mapping[str, float]
    kinetic: Array

    @property
    def moving(self) -> list[int]:
        """Atoms that have at least half the share of the one with the largest, ascending from 0."""
        return [int(atom) for atom in np.flatnonzero(self.kinetic >= 0.5 * self.kinetic.max())]


@dataclass(frozen=True, eq=False)
class _Coordinate:
    """An internal coordinate: its name, gradient (3 n_atoms,) and force constant."""

    name: str
    gradient: Array
    constant: float


def motions(modes: NormalModes) -> list[Motion]:
    """What moves in each mode; along bonds as ``potentials.whole.bonds_of`` finds them."""
    structure = modes.structure
    coordinates = _coordinates(structure)
    between = _between_molecules(structure)
    found = []
    for eigenvector, displacement in zip(modes.eigenvectors, modes.displacements, strict=True):
        kinetic = (eigenvector**2).sum(axis=1)
        if float(((between @ eigenvector.ravel()) ** 2).sum()) > _BETWEEN or not coordinates:
            found.append(Motion(_BETWEEN_MOLECULES, {_BETWEEN_MOLECULES: 1.0}, kinetic))
        else:
            found.append(_motion(coordinates, displacement.ravel(), kinetic))
    return found


def _motion(coordinates: list[_Coordinate], displacement: Array, kinetic: Array) -> Motion:
    changes: dict[str, list[float]] = {}
    for one in coordinates:
        changes.setdefault(one.name, []).append(float(np.sqrt(one.constant) * (one.gradient @ displacement)))
    energies = {name: float(np.square(own).sum()) for name, own in changes.items()}
    total = sum(energies.values())
    shares = {name: energies[name] / total for name in sorted(energies, key=lambda name: -energies[name])}
    largest = next(iter(shares))
    named = [largest, *(name for name, share in list(shares.items())[1:3] if share >= _NAMED)]
    words = []
    for name in named:
        percent = "" if shares[name] >= _ALONE else f" {100.0 * shares[name]:.0f} %"
        words.append(f"{name}{percent}{_phase(name, changes[name])}")
    return Motion(", ".join(words), shares, kinetic)


def _phase(name: str, changes: list[float]) -> str:
    """Whether several bonds stretch together or against each other; nothing where it is neither."""
    if len(changes) < 2 or not name.endswith("stretch"):
        return ""
    coherence = float(np.sum(changes) ** 2 / (len(changes) * np.square(changes).sum()))
    return " in phase" if coherence > _IN_PHASE else " out of phase" if coherence < _OUT_OF_PHASE else ""


def _coordinates(structure: Structure) -> list[_Coordinate]:
    """Stretches, bends, torsions along bonds, and motions of planar centres out of their plane."""
    names = [nuclide_symbol(int(z), float(m)) for z, m in zip(structure.numbers, structure.masses, strict=True)]
    bonds, positions, screening = bonds_of(structure), structure.positions, screening_of(structure)
    neighbours: list[list[int]] = [[] for _ in names]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    found = []
    for kind, atoms, part, constant in (
        *_stretches(positions, screening, bonds),
        *_at_centres(positions, screening, neighbours),
        *_torsions(positions, screening, bonds, neighbours),
    ):
        gradient = np.zeros(positions.size)
        gradient[(3 * np.array(atoms)[:, None] + np.arange(3)).ravel()] = part
        subject = names[atoms[1]] if kind == _OUT else _chain([names[atom] for atom in atoms])
        found.append(_Coordinate(f"{subject} {kind}", gradient, constant))
    return found


def _stretches(positions: Array, screening: Array, bonds: list[tuple[int, int]]) -> Iterator[_Term]:
    for i, j in bonds:
        direction = (positions[i] - positions[j]) / np.linalg.norm(positions[i] - positions[j])
        yield "stretch", (i, j), np.concatenate([direction, -direction]), STRETCH * float(screening[i, j])


def _at_centres(positions: Array, screening: Array, neighbours: list[list[int]]) -> Iterator[_Term]:
    """Bends, and where an atom has three neighbours and lies in their plane, its motion out of it."""
    for j, around in enumerate(neighbours):
        for i, k in combinations(around, 2):
            constant = BEND * float(screening[i, j] * screening[j, k])
            for gradient in bend_gradients(positions[i], positions[j], positions[k]):
                yield "bend", (i, j, k), gradient, constant
        if len(around) == 3 and _is_planar(positions[j], positions[around]):
            i, k, m = around
            # The dihedral angle of two of the bonds about the third is 180 degrees where all are in one plane.
            across = torsion_gradient(positions[i], positions[j], positions[k], positions[m])
            if across is not None:
                yield _OUT, (i, j, k, m), across, OUT_OF_PLANE * float(screening[j, around].prod())


def _torsions(
    positions: Array, screening: Array, bonds: list[tuple[int, int]], neighbours: list[list[int]]
) -> Iterator[_Term]:
    for j, k in bonds:
        for i, m in product(neighbours[j], neighbours[k]):
            if len({i, j, k, m}) == 4:
                torsion = torsion_gradient(positions[i], positions[j], positions[k], positions[m])
                if torsion is not None:
                    constant = TORSION * float(screening[i, j] * screening[j, k] * screening[k, m])
                    yield "torsion", (i, j, k, m), torsion, constant


def _is_planar(centre: Array, around: Array) -> bool:
    """Whether a centre is in the plane of its three neighbours (3, 3)."""
    arms = around - centre
    normal = np.cross(around[1] - around[0], around[2] - around[0])
    height = abs(float(arms[0] @ normal)) / float(np.linalg.norm(normal))
    return height < _PLANAR * float(np.linalg.norm(arms, axis=1).mean())


def _chain(names: list[str]) -> str:
    """Symbols along a chain of atoms, from the end that a chemist would begin with: C before others, H last."""

    def rank(one: Iterable[str]) -> list[tuple[bool, bool, str]]:
        return [(name in "HDT", name != "C", name) for name in one]

    return "-".join(min(names, names[::-1], key=rank))


def _between_molecules(structure: Structure) -> Array:
    """Rigid motions of each molecule that bonds hold together, (n, 3 n_atoms), mass-weighted; none of a single one."""
    tree = BondTree.of(structure.n_atoms, bonds_of(structure))
    if tree.n_molecules == 1:
        return np.empty((0, 3 * structure.n_atoms))
    roots = np.flatnonzero(tree.parents == np.arange(structure.n_atoms))
    rows = []
    for root in roots:
        atoms = np.flatnonzero(tree.paths[:, root])
        own = rigid_body_vectors(structure.masses[atoms], structure.positions[atoms])
        whole = np.zeros((len(own), structure.n_atoms, 3))
        whole[:, atoms] = own.reshape(len(own), -1, 3)
        rows.append(whole.reshape(len(own), -1))
    return np.concatenate(rows)
