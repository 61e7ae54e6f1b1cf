"""Starts at constant energy whose vibrations together have the energies that the temperature gives them.

A molecule at constant energy keeps what energy its modes happen to have. Of R replicas drawn from the canonical
ensemble the mean energy of a harmonic mode is off by 1/sqrt(R), and with it the intensity of its band. Here the
replicas come from the bath as they are; then the velocities of all of them along each direction are multiplied by one
factor, until their mean kinetic energy along it is kT/2. Harmonic energies drawn from the canonical ensemble and
multiplied by a common factor are distributed as those drawn with their sum given, so nothing but the sum over the
replicas is fixed.

Mean kinetic energies are those over a short piece at constant energy, so that no potential energy needs to be known:
kT/2 along every direction holds for any potential. Directions are the normal modes, turned with each replica. Where
they lose their meaning (another conformer, free rotation) they are still directions, in which kT/2 times the share of
them that is no overall motion of the replica is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.md.base import MDEngine, Recording
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.md.velocities import remove_overall_motion
from densnet_core.potentials.base import Potential
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Structure
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS

Array = NDArray[np.float64]
PIECES: Final = 6
GOOD: Final = 0.02
"""Largest relative deviation of the mean kinetic energy along a direction that is left alone."""
STRENGTH: Final = 1.5
"""Energy given per kinetic energy missing: a harmonic motion needs 2, a free one 1; with this both converge."""
LARGEST_FACTOR: Final = 4.0
"""Of a kinetic energy in one piece."""


class Directions:
    """Orthonormal directions of motion of a molecule, turned with it.

    Parameters
    ----------
    reference : Structure
        The geometry at which they are given.
    vectors : (n_directions, n_atoms, 3)
        Mass-weighted and orthonormal, such as ``NormalModes.eigenvectors``, without overall motion.
    linear : bool
        The molecule is linear where it rests, see ``densnet_core.md.rigid.is_linear``.
    """

    def __init__(self, reference: Structure, vectors: Array, linear: bool = False) -> None:
        self.masses, self.linear = reference.masses, linear
        self.reference = _centred(reference.positions[None], self.masses)[0]
        self.vectors = np.asarray(vectors, dtype=np.float64)
        if self.vectors.ndim != 3 or self.vectors.shape[1:] != reference.positions.shape:
            raise InputError(
                f"Directions of {reference.n_atoms} atoms have shape (n, {reference.n_atoms}, 3), not "
                f"{self.vectors.shape}."
            )
        self.roots = np.sqrt(self.masses * DALTON_TO_ELECTRON_MASS)[:, None]

    def __len__(self) -> int:
        return len(self.vectors)

    def turned(self, positions: Array) -> Array:
        """(n_replicas, n_directions, n_atoms, 3) in the orientation of each replica.

        The rotation is the one that brings the reference nearest, mass-weighted: Eckart's (Kudin and Dymarsky, J. Chem.
        Phys. 122, 224105, 2005), by Kabsch's singular values.
        """
        moved = _centred(positions, self.masses)
        left, _, right = np.linalg.svd(np.einsum("rai,aj,a->rij", moved, self.reference, self.masses))
        signs = np.ones((len(moved), 3))
        signs[:, 2] = np.sign(np.linalg.det(left @ right))  # no reflection
        rotations = np.einsum("rij,rj,rjk->rik", left, signs, right)
        return np.asarray(np.einsum("rij,kaj->rkai", rotations, self.vectors))

    def speeds(self, positions: Array, velocities: Array) -> Array:
        """(n_replicas, n_directions) mass-weighted velocities; half their squares are kinetic energies in hartree."""
        return np.asarray(np.einsum("rkai,rai->rk", self.turned(positions), self.roots * velocities))

    def with_speeds_changed(self, positions: Array, velocities: Array, change: Array) -> Array:
        """Velocities with ``change`` (n_replicas, n_directions) added to the speeds, and no overall motion."""
        added = np.einsum("rk,rkai->rai", change, self.turned(positions)) / self.roots
        return remove_overall_motion(velocities + added, self.masses, positions, self.linear)

    def internal(self, positions: Array) -> Array:
        """(n_replicas, n_directions) share of each direction that is no overall motion at these positions."""
        rows = self.turned(positions).reshape(len(positions), len(self), -1)
        shares = []
        for row, position in zip(rows, positions, strict=True):
            rigid = rigid_body_vectors(self.masses, position, linear_tolerance=1e-6, linear=self.linear)
            shares.append(1.0 - ((row @ rigid.T) ** 2).sum(axis=1))
        return np.array(shares)


def _centred(positions: Array, masses: Array) -> Array:
    return np.asarray(positions - np.einsum("a,rai->ri", masses, positions)[:, None] / masses.sum())


@dataclass(frozen=True, eq=False)
class ThermalStart:
    """Replicas from which a run at constant energy may start, and what they have.

    Parameters
    ----------
    state : MDState
    kinetic_energies : (n_replicas, n_directions)
        Means over the last piece, hartree; kT/2 on average over replicas.
    temperatures : (n_directions,)
        Kelvin, of all replicas together.
    pieces : int
        Pieces at constant energy that were run.
    """

    state: MDState
    kinetic_energies: Array
    temperatures: Array
    pieces: int


def thermal_replicas(
    engine: MDEngine,
    potential: Potential,
    structures: Sequence[Structure],
    start: MDState,
    piece: MDStage,
    directions: Directions,
    outputs: tuple[str, ...] = (),
    progress: Callable[[int], None] | None = None,
) -> ThermalStart:
    """Bring the mean kinetic energy of the replicas along every direction to that of a temperature.

    Parameters
    ----------
    engine : MDEngine
    potential : Potential
    structures : sequence of Structure
        Replicas of one molecule.
    start : MDState
        Drawn from the canonical ensemble, without overall motion.
    piece : MDStage
        A piece at constant energy, and the temperature. A period of the slowest motion is long enough.
    directions : Directions
    outputs : tuple of str
        Outputs of the potential that its calls give too, if what follows records them: the same compiled call then
        serves both.
    progress : callable or None
        Called with the number of steps done; there are at most ``PIECES`` pieces of them.

    Returns
    -------
    ThermalStart
        After the last change there is one more piece, so that what it says was measured, not hoped for.
    """
    state, half = MDState(0, start.positions, start.velocities), 0.5 * BOLTZMANN * piece.temperature
    pieces, recording = 0, Recording(block_frames=1, outputs=outputs)
    while True:
        frames = [block.end for block in engine.run(potential, structures, piece, state, recording)]
        if progress is not None:
            progress((pieces + 1) * piece.n_steps)
        speeds = np.array([directions.speeds(frame.positions, frame.velocities) for frame in frames])
        shares = np.mean([directions.internal(frame.positions) for frame in frames], axis=0)
        energies = 0.5 * np.mean(speeds**2, axis=0)
        pieces += 1
        wanted, found = half * shares.sum(axis=0), energies.sum(axis=0)
        if pieces == PIECES or np.abs(found / wanted - 1.0).max() <= GOOD:
            temperatures = piece.temperature * found / wanted
            return ThermalStart(MDState(0, frames[-1].positions, frames[-1].velocities), energies, temperatures, pieces)
        state = _changed(frames, speeds, wanted, found, directions)


def _changed(frames: Sequence[MDState], speeds: Array, wanted: Array, found: Array, directions: Directions) -> MDState:
    """One of the frames, with velocities multiplied so that kinetic energies found become those wanted."""
    now = 0.5 * (speeds**2).sum(axis=1)
    # Where all replicas turn back in a direction there is nothing to multiply: take the frame that has most in each.
    best = int(np.argmax((now / np.maximum(found, 1e-300)).min(axis=1)))
    ratio = 1.0 + STRENGTH * (wanted - found) / np.maximum(now[best], 1e-3 * wanted)
    factors = np.sqrt(np.clip(ratio, 1.0 / LARGEST_FACTOR, LARGEST_FACTOR))
    frame, change = frames[best], speeds[best] * (factors - 1.0)
    return MDState(0, frame.positions, directions.with_speeds_changed(frame.positions, frame.velocities, change))
