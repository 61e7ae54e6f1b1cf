"""Langevin dynamics of one molecule: the BAOAB splitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densnet_core.structures import Structure
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS

Array = NDArray[np.float64]
Forces = Callable[[Structure], Array]
"""Forces (n_atoms, 3) of a structure, hartree/bohr; raises ``ConvergenceError`` where there are none."""


@dataclass(frozen=True)
class HeatBath:
    """What drives the dynamics, atomic units: temperature in kelvin, friction and time step."""

    temperature: float
    friction: float
    time_step: float


@dataclass(frozen=True, eq=False)
class Motion:
    """Positions, velocities and forces of a molecule, each (n_atoms, 3), atomic units."""

    positions: Array
    velocities: Array
    forces: Array


def propagate(
    start: Motion,
    structure: Structure,
    forces: Forces,
    bath: HeatBath,
    n_steps: int,
    generator: np.random.Generator,
) -> Motion:
    """``n_steps`` of Langevin dynamics in the order B A O A B.

    Its positions sample the canonical distribution with an error of fourth order in the time step at high friction and
    none at all in a harmonic potential (B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013)).

    Parameters
    ----------
    start : Motion
    structure : Structure
        Gives atoms, charge and multiplicity to the forces.
    forces : Forces
        Called once per step.
    """
    masses = structure.masses[:, None] * DALTON_TO_ELECTRON_MASS
    half = 0.5 * bath.time_step
    kept = np.exp(-bath.friction * bath.time_step)
    kicks = np.sqrt((1.0 - kept**2) * BOLTZMANN * bath.temperature / masses)
    positions, velocities, force = start.positions, start.velocities, start.forces
    for _ in range(n_steps):
        velocities = velocities + half * force / masses
        positions = positions + half * velocities
        velocities = kept * velocities + kicks * generator.standard_normal(positions.shape)
        positions = positions + half * velocities
        force = np.asarray(forces(structure.with_positions(positions)), dtype=np.float64)
        velocities = velocities + half * force / masses
    return Motion(positions, velocities, force)
