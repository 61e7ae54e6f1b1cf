"""Normal modes of one molecule from two sources, mode beside mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from densnet_core.errors import InputError
from densnet_core.md.rigid import is_linear
from densnet_core.spectra.harmonic import NormalModes
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

FARTHEST: Final = 0.5 / BOHR_TO_ANGSTROM
"""Bohr; root mean square distance of the atoms beyond which two geometries are no longer one minimum."""


def check_same_molecule(one: Structure, two: Structure) -> None:
    """``InputError`` unless two structures have the same atoms, isotopes among them, in the same order."""
    if not np.array_equal(one.numbers, two.numbers):
        raise InputError(
            f"The modes are of {one.formula} and of {two.formula}, or their atoms come in another order; compare modes "
            "of one molecule with its atoms in one order."
        )
    if not np.array_equal(one.masses, two.masses):
        raise InputError(f"The two molecules of {one.formula} have other isotopes; compare modes of the same.")


@dataclass(frozen=True)
class MatchedModes:
    """A mode and the one of another source that is most like it.

    Parameters
    ----------
    mode, other : int
        Counted from 0 in each source.
    overlap : float
        Squared scalar product of the mass-weighted eigenvectors: 1 where both are the same motion.
    """

    mode: int
    other: int
    overlap: float


def match_modes(modes: NormalModes, other: NormalModes) -> tuple[list[MatchedModes], float]:
    """Pairs of modes with the largest sum of overlaps, and how far the two geometries are apart.

    The other geometry is turned onto this one first. Modes of nearly equal frequency mix freely, so that a small
    overlap says little there.

    Returns
    -------
    matches : list of MatchedModes
        In the order of ``modes``.
    distance : float
        Root mean square distance of the atoms, bohr.

    Raises
    ------
    InputError
        The atoms or the numbers of modes differ, or the geometries are those of two conformers.
    """
    one, two = modes.structure, other.structure
    check_same_molecule(one, two)
    if modes.n_modes != other.n_modes:
        raise InputError(
            f"{modes.n_modes} modes are to be compared with {other.n_modes}: one geometry is linear, the other is not."
        )
    centred = [s.positions - s.masses @ s.positions / s.masses.sum() for s in (one, two)]
    turn = _turn(centred[0], centred[1], one.masses)
    distance = float(np.sqrt(((turn.apply(centred[1]) - centred[0]) ** 2).sum(axis=1).mean()))
    if distance > FARTHEST:
        raise InputError(
            f"The geometries are {distance * BOHR_TO_ANGSTROM:.2f} angstrom apart (root mean square of the atoms): "
            "these are two conformers, or the atoms come in another order. Start both from the same geometry."
        )
    flat = modes.eigenvectors.reshape(modes.n_modes, -1)
    turned = turn.apply(other.eigenvectors.reshape(-1, 3)).reshape(other.n_modes, -1)
    overlaps = (flat @ turned.T) ** 2
    rows, columns = linear_sum_assignment(-overlaps)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [MatchedModes(row, column, float(overlaps[row, column])) for row, column in pairs], distance


def _turn(centred: Array, other: Array, masses: Array) -> Rotation:
    """The rotation of other positions (n_atoms, 3) onto these."""
    if len(masses) == 1:
        return Rotation.identity()
    if is_linear(masses, centred) and is_linear(masses, other):  # how it is turned about its axis is nobody's matter
        return Rotation.align_vectors(centred[-1] - centred[0], other[-1] - other[0])[0]
    return Rotation.align_vectors(centred, other, weights=masses)[0]


@dataclass(frozen=True)
class Deviations:
    """How far modes are from those of another source.

    Parameters
    ----------
    wavenumbers : (n,)
        This minus other, cm^-1.
    intensities : (n,)
        This minus other, km/mol.
    """

    wavenumbers: Array
    intensities: Array


def deviations(modes: NormalModes, other: NormalModes, matches: Sequence[MatchedModes]) -> Deviations:
    """Differences of matched modes, in the order of ``matches``."""
    here, there = [one.mode for one in matches], [one.other for one in matches]
    return Deviations(
        modes.wavenumbers[here] - other.wavenumbers[there], modes.intensities[here] - other.intensities[there]
    )
