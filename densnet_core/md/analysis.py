"""Quality of a trajectory: how well the total energy is conserved, and whether it has the temperature asked for."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, HARTREE_TO_EV

Array = NDArray[np.float64]
LARGEST_DEVIATION: Final = 0.1
"""Relative; a temperature farther from the one asked for is told."""
GOOD_DEVIATION: Final = 0.05


@dataclass(frozen=True)
class EnergyConservation:
    """Straight-line fit to the total energy of a trajectory.

    Parameters
    ----------
    drift : float
        Slope, meV per atom per picosecond.
    drift_error : float
        Its standard error if the residuals were independent, same unit.
    fluctuation : float
        Root mean square of the residuals, meV per atom.
    duration : float
        Picoseconds from the first to the last frame.
    """

    drift: float
    drift_error: float
    fluctuation: float
    duration: float

    def __str__(self) -> str:
        return (
            f"energy drift {self.drift:+.2e} +- {self.drift_error:.0e} meV/atom/ps over {self.duration:.2f} ps, "
            f"fluctuation {self.fluctuation:.2e} meV/atom"
        )


def energy_conservation(times: Array, total_energies: Array, n_atoms: int) -> EnergyConservation:
    """Least-squares drift of the total energy.

    Parameters
    ----------
    times : (n_frames,)
        Atomic units of time, ascending, at least three.
    total_energies : (n_frames,)
        Kinetic plus potential energy, hartree, of all ``n_atoms``.
    n_atoms : int
        Number of atoms whose energy it is: atoms of a molecule times number of replicas.
    """
    times = np.asarray(times, dtype=np.float64)
    energies = np.asarray(total_energies, dtype=np.float64)
    if times.ndim != 1 or times.shape != energies.shape or times.size < 3:
        raise InputError(
            f"A drift needs at least three frames and one energy per time; found shapes {times.shape} and "
            f"{energies.shape}."
        )
    if n_atoms < 1 or not (np.diff(times) > 0).all():
        raise InputError(f"Times must ascend and the number of atoms ({n_atoms}) be positive.")
    picoseconds = (times - times[0]) * ATOMIC_TIME_TO_FEMTOSECOND * 1e-3
    # The mean goes first: a total energy of -1e4 Ha would take the digits of a drift of 1e-9.
    per_atom = (energies - energies[0]) * HARTREE_TO_EV * 1e3 / n_atoms
    centred = picoseconds - picoseconds.mean()
    spread = float(centred @ centred)
    slope = float(centred @ per_atom) / spread
    residuals = per_atom - per_atom.mean() - slope * centred
    squares = float(residuals @ residuals)
    return EnergyConservation(
        drift=slope,
        drift_error=float(np.sqrt(squares / (times.size - 2) / spread)),
        fluctuation=float(np.sqrt(squares / times.size)),
        duration=float(picoseconds[-1]),
    )


def temperature_warning(measured: float, asked: float, freedom: int, n_replicas: int) -> str | None:
    """A sentence where a trajectory at constant energy is far from the temperature asked for, with what would help.

    The energies that replicas start with are drawn from the canonical ensemble, in which f harmonic degrees of freedom
    have f k_B T with a relative standard deviation of 1/sqrt(f) (McQuarrie, Statistical Mechanics, section 3-3).

    Parameters
    ----------
    measured, asked : float
        Kelvin.
    freedom : int
        Vibrational degrees of freedom of one replica.
    n_replicas : int
    """
    if abs(measured / asked - 1.0) <= LARGEST_DEVIATION:
        return None
    usual = 1.0 / sqrt(freedom * n_replicas)
    needed = max(ceil(1.0 / (GOOD_DEVIATION**2 * freedom)), n_replicas + 1)
    return (
        f"The vibrations have {measured:.0f} K where {asked:.0f} K were asked for: with {n_replicas} replicas of "
        f"{freedom} vibrations a temperature is off by {usual:.0%} as a rule. Intensities are those of {measured:.0f} "
        "K, and one band may stand at several places, one for each replica's energy. [md] replicas = "
        f"{needed} brings it to {GOOD_DEVIATION:.0%} or better."
    )
