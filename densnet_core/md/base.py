"""Interfaces of molecular dynamics: the deployed potential and the engine that integrates it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.structures import Structure

Array = NDArray[np.float64]


class Potential(ABC):
    """Energy and forces of ``n_replicas`` independent copies of one molecule, in atomic units.

    Replicas never interact; atoms are ordered replica by replica.
    """

    structure: Structure
    n_replicas: int

    @abstractmethod
    def energy_and_forces(self, positions: Array) -> tuple[Array, Array]:
        """Energies (n_replicas,) in hartree and forces (n_replicas, n_atoms, 3) in hartree/bohr.

        ``positions`` has shape (n_replicas, n_atoms, 3), bohr. A non-finite result raises ``DenSNetError``
        naming the replica.
        """

    @abstractmethod
    def save_torchscript(self, path: Path) -> None:
        """Write a TorchScript file for openmm-torch.

        Its ``forward(positions)`` takes (n_replicas * n_atoms, 3) float64 positions in nanometer and returns the sum
        of the replicas' energies in kJ/mol (0-dim float64) and the forces (n_replicas * n_atoms, 3) in
        kJ/(mol nm): for ``TorchForce.setOutputsForces(True)``. It needs torch only, not densnet_core.
        """


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
    """

    steps: NDArray[np.int64]
    positions: Array
    potential_energy: Array
    kinetic_energy: Array
    end: MDState


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


class MDEngine(ABC):
    """Integrates the equations of motion of a potential.

    Parameters
    ----------
    options : object or None
        Validated options of the component (platform, route of the force).
    """

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def run(
        self,
        potential: Potential,
        stage: MDStage,
        start: MDState,
        block_frames: int,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[MDFrames]:
        """Continue from ``start`` (``start.step`` steps of the stage are done) to ``stage.n_steps``.

        Yields blocks of at most ``block_frames`` recorded frames (the frame at step 0 is recorded if
        ``start.step == 0``). Raises ``DenSNetError`` naming step and replica if a position, force or energy is not
        finite; everything yielded before stays valid.
        """
