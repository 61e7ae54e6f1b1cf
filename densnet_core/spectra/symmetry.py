"""Rotational symmetry of a molecule: how many orientations cannot be told apart."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from densnet_core.md.rigid import is_linear
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

TOLERANCE: Final = 0.05 / BOHR_TO_ANGSTROM
"""Bohr; an optimised geometry keeps its symmetry far better, two conformers differ by more."""
_FIRST_GUESS: Final = 4.0  # tolerances; a rotation that two atoms define is only about right for the others


def symmetry_number(structure: Structure, tolerance: float = TOLERANCE) -> int:
    """Number of proper rotations, the identity among them, that map atoms onto like atoms.

    Like are atoms of one element and mass. A linear molecule has 2 if its ends are alike and else 1, an atom has 1.

    Parameters
    ----------
    structure : Structure
    tolerance : float
        Largest distance of an atom from the one it is mapped onto, bohr.
    """
    masses = structure.masses
    centred = structure.positions - masses @ structure.positions / masses.sum()
    kinds = np.unique(np.stack([structure.numbers, masses]), axis=1, return_inverse=True)[1].ravel()
    if structure.n_atoms == 1:
        return 1
    if is_linear(masses, structure.positions):
        return 1 + (_onto(-centred, centred, kinds, tolerance) is not None)
    first, second = _reference_atoms(centred, kinds, tolerance)
    frame = _frame(centred[first], centred[second])
    radii = np.linalg.norm(centred, axis=1)
    count = 0
    # A rotation is given by where it takes two atoms that are on no line with the centre: each pair of images is tried.
    for one in _like(first, kinds, radii, tolerance):
        for other in _like(second, kinds, radii, tolerance):
            apart = np.linalg.norm(centred[one] - centred[other]) - np.linalg.norm(centred[first] - centred[second])
            if one != other and abs(apart) <= 2.0 * tolerance:
                guess = _frame(centred[one], centred[other]) @ frame.T
                count += _is_symmetry(guess, centred, kinds, tolerance)
    return count


def _is_symmetry(guess: Array, centred: Array, kinds: NDArray[np.int64], tolerance: float) -> bool:
    """Whether the best rotation near ``guess`` maps all atoms onto like ones."""
    images = _onto(centred @ guess.T, centred, kinds, _FIRST_GUESS * tolerance)
    if images is None:
        return False
    best = Rotation.align_vectors(centred[images], centred)[0]
    return float(np.linalg.norm(best.apply(centred) - centred[images], axis=1).max()) <= tolerance


def _onto(moved: Array, centred: Array, kinds: NDArray[np.int64], tolerance: float) -> NDArray[np.int64] | None:
    """The atom that each moved atom lies on; None if there is none for one of them, or one twice."""
    distances = np.linalg.norm(moved[:, None] - centred[None], axis=-1)
    distances[kinds[:, None] != kinds[None]] = np.inf
    images = distances.argmin(axis=1)
    near = distances[np.arange(len(images)), images] <= tolerance
    return images if near.all() and len(set(images.tolist())) == len(images) else None


def _like(atom: int, kinds: NDArray[np.int64], radii: Array, tolerance: float) -> list[int]:
    """Atoms of the same kind as far from the centre."""
    same = (kinds == kinds[atom]) & (np.abs(radii - radii[atom]) <= 2.0 * tolerance)
    return [int(other) for other in np.flatnonzero(same)]


def _reference_atoms(centred: Array, kinds: NDArray[np.int64], tolerance: float) -> tuple[int, int]:
    """Two atoms that are not on a line with the centre, with few others like them."""
    radii = np.linalg.norm(centred, axis=1)
    sizes = np.array([len(_like(atom, kinds, radii, tolerance)) for atom in range(len(kinds))])
    areas = np.linalg.norm(np.cross(centred[:, None], centred[None]), axis=-1)
    wide = areas >= 0.3 * areas.max()
    cost = np.where(wide, sizes[:, None] * sizes[None], np.inf)
    first, second = np.unravel_index(int(cost.argmin()), cost.shape)
    return int(first), int(second)


def _frame(first: Array, second: Array) -> Array:
    """Right-handed orthonormal axes in columns, made from two vectors."""
    along = first / np.linalg.norm(first)
    across = np.cross(first, second)
    across = across / np.linalg.norm(across)
    return np.stack([along, across, np.cross(along, across)], axis=1)
