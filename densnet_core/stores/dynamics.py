"""Records of molecular dynamics: what engines give and trajectories keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MDState:
    """Positions and velocities of all replicas at one time; enough to continue.

    Parameters
    ----------
    step : int
        Steps done since the start of the stage.
    positions, velocities : (n_replicas, n_atoms, 3)
        Bohr, and bohr per atomic unit of time.
    """

    step: int
    positions: Array
    velocities: Array


@dataclass(frozen=True, eq=False)
class MDFrames:
    """A block of recorded frames of all replicas, atomic units, and the state at its end.

    Parameters
    ----------
    steps : (n_frames,) int64
    positions : (n_frames, n_replicas, n_atoms, 3) float64, bohr
    potential_energy, kinetic_energy : (n_frames,) float64
        Sum over the replicas, hartree.
    end : MDState
        The state at the last frame of the block.
    observables : mapping
        Outputs of the potential by name, as its call for the forces gave them, atomic units: (n_frames, n_replicas,
        ...) of molecules, (n_frames, n_replicas * n_atoms, ...) of atoms.
    """

    steps: NDArray[np.int64]
    positions: Array
    potential_energy: Array
    kinetic_energy: Array
    end: MDState
    observables: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class MDStage:
    """One piece of dynamics.

    Parameters
    ----------
    ensemble : {"nvt", "nve"}
        NVT is Langevin dynamics, NVE velocity Verlet.
    n_steps : int
    time_step : float
        Atomic units of time.
    temperature : float
        Kelvin; the bath of NVT, ignored by NVE.
    friction : float
        1 / atomic unit of time, NVT only.
    record_every : int
        Steps between recorded frames.
    seed : int
    """

    ensemble: str
    n_steps: int
    time_step: float
    temperature: float
    friction: float
    record_every: int
    seed: int
