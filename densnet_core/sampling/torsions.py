"""Torsion scans: rigid rotations of one side of a bond against the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.checks import BONDED, defect, reached, relative_distances
from densnet_core.sampling.config import TorsionOptions, TorsionScanOptions
from densnet_core.sampling.distinct import distinct, on_hash_grid
from densnet_core.structures import Structure

Array = NDArray[np.float64]
Bond = tuple[int, int]
"""Two atoms, counted from 0."""

MAX_COMBINATIONS = 100_000


class TorsionScanSampler(Sampler):
    """All combinations of equally spaced rotations about given bonds, beginning with the geometry as it is.

    Bond lengths and angles stay. Geometries in which atoms collide are refused.

    Parameters
    ----------
    options : TorsionScanOptions
        ``bonds`` counted from 1, ``steps`` per bond, ``count`` and ``seed``.
    """

    options: TorsionScanOptions

    def __init__(self, options: TorsionScanOptions | None = None) -> None:
        if options is None:
            raise InputError("The sampler 'torsion-scan' needs the bonds to rotate about; none were given.")
        super().__init__(options)
        self.random = options.count is not None

    def most(self, structure: Structure) -> int | None:
        total = int(self.options.steps ** len(self.options.bonds))
        return total if self.options.count is None else min(self.options.count, total)

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """The scan.

        Raises
        ------
        InputError
            If a bond is none, is part of a ring, or has nothing that would turn; or all geometries are refused.
        """
        bonds: list[Bond] = []
        for pair in self.options.bonds:
            if len(pair) != 2:
                raise InputError(f"torsion-scan: a bond is a pair of atoms, found {pair}.")
            if not all(1 <= atom <= structure.n_atoms for atom in pair) or pair[0] == pair[1]:
                raise InputError(
                    f"torsion-scan: {pair} is no bond; expected two different atoms between 1 and {structure.n_atoms}."
                )
            bonds.append((pair[0] - 1, pair[1] - 1))
        return scan(structure, bonds, self.options, context or SamplingContext())


def scan(
    structure: Structure, bonds: Sequence[Bond], options: TorsionOptions, context: SamplingContext
) -> list[Structure]:
    """Rotations about all bonds, each by every multiple of 360 / ``options.steps`` degrees."""
    sides = [turning_atoms(structure, bond) for bond in bonds]
    angles = 2.0 * np.pi * np.arange(options.steps) / options.steps
    taken: list[Structure] = []
    n_made = 0
    for combination in _combinations(options, len(bonds), context.stream):
        positions = structure.positions
        for bond, side, step in zip(bonds, sides, combination, strict=True):
            if step:
                positions = rotated(positions, bond, side, float(angles[step]))
        geometry = on_hash_grid(structure.with_positions(positions))
        fault = defect(geometry, structure)
        n_made += 1
        if fault is None:
            taken.append(geometry)
        else:
            context.refused.add(fault)
    if not taken:
        raise InputError(f"The torsion scan gave no intact geometry out of {n_made}: {context.refused.example}.")
    return distinct(taken)


def _combinations(options: TorsionOptions, n_bonds: int, stream: int) -> Iterator[tuple[int, ...]]:
    """Steps of each bond, in order; a random part of them if there are more than ``options.count``."""
    shape = (options.steps,) * n_bonds
    total = prod(shape)
    wanted = total if options.count is None else min(options.count, total)
    if wanted > MAX_COMBINATIONS:
        raise InputError(
            f"{n_bonds} bonds with {options.steps} angles each are {total} geometries. Give a count, fewer bonds or "
            "fewer steps."
        )
    if wanted == total:
        yield from np.ndindex(*shape)
        return
    generator = np.random.default_rng((options.seed, stream))
    seen: set[tuple[int, ...]] = set()
    while len(seen) < wanted:  # without a list of all combinations, of which there may be billions
        combination = tuple(int(step) for step in generator.integers(options.steps, size=n_bonds))
        if combination not in seen:
            seen.add(combination)
            yield combination


def turning_atoms(structure: Structure, bond: Bond) -> list[int]:
    """The atoms that turn with the second atom of a bond, without that atom; the smaller side of the bond turns.

    Raises
    ------
    InputError
        If the two atoms are not bonded, the bond is part of a ring, or one of them has no other neighbour.
    """
    connected = relative_distances(structure) < BONDED
    np.fill_diagonal(connected, False)
    first, second = bond
    name = "-".join(f"{symbol(int(structure.numbers[atom]))}{atom + 1}" for atom in bond)
    if not connected[first, second]:
        raise InputError(f"{name} is not a bond: the atoms are too far apart.")
    connected[first, second] = connected[second, first] = False
    sides = [reached(connected, atom) for atom in bond]
    if first in sides[1]:
        raise InputError(f"The bond {name} is part of a ring; only bonds outside of rings can be rotated about.")
    if min(len(side) for side in sides) == 1:
        raise InputError(f"Nothing turns about {name}: one of the atoms has no other neighbour.")
    axis = 0 if len(sides[0]) < len(sides[1]) else 1
    return sorted(sides[axis] - {bond[axis]})


def rotated(positions: Array, bond: Bond, atoms: Sequence[int], angle: float) -> Array:
    """Positions (n_atoms, 3) with ``atoms`` turned about the axis of the bond by ``angle`` radians (Rodrigues)."""
    origin = positions[bond[0]]
    axis = positions[bond[1]] - origin
    axis = axis / np.linalg.norm(axis)
    arms = positions[list(atoms)] - origin
    along = (arms @ axis)[:, None] * axis
    result = positions.copy()
    result[list(atoms)] = origin + along + np.cos(angle) * (arms - along) + np.sin(angle) * np.cross(axis, arms)
    return result
