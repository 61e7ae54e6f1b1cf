"""Interface of a potential."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

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
