"""A potential with known answers: what engines of molecular dynamics are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densnet_core.errors import DenSNetError
from densnet_core.potentials.base import Potential
from densnet_core.potentials.torchscript import export_torchscript, structure_metadata
from densnet_core.structures import Array, Structure


class ValencePotential(Potential):
    """Morse bonds and harmonic angles: V = sum D (1 - exp(-a (r - r0)))^2 + sum k/2 (theta - theta0)^2.

    The minimum is at energy zero. Forces come from ``torch.autograd``, as those of a network do.

    Parameters
    ----------
    structure : Structure
        The minimum; r0 and theta0 are measured on it.
    n_replicas : int
    bonds : sequence of (i, j, D, a)
        Atom indices, well depth in hartree and width parameter in 1/bohr.
    angles : sequence of (i, apex, j, k)
        Atom indices and force constant in hartree/rad^2.
    torn_beyond : float
        A bond longer than this (bohr) makes the energy of its replica, and the forces on it, not a number.
    """

    def __init__(
        self,
        structure: Structure,
        n_replicas: int,
        bonds: Sequence[tuple[int, int, float, float]],
        angles: Sequence[tuple[int, int, int, float]] = (),
        torn_beyond: float = 1e6,
    ) -> None:
        self.structure = structure
        self.n_replicas = n_replicas
        self.torn_beyond = torn_beyond
        self.first, self.second = (torch.tensor([bond[k] for bond in bonds]) for k in (0, 1))
        self.depth, self.width = (torch.tensor([bond[k] for bond in bonds], dtype=torch.float64) for k in (2, 3))
        corners = [[angle[k] for angle in angles] for k in range(3)]
        self.left, self.apex, self.right = (torch.tensor(corner, dtype=torch.int64) for corner in corners)
        self.stiffness = torch.tensor([angle[3] for angle in angles], dtype=torch.float64)
        minimum = torch.from_numpy(structure.positions)[None]
        self.length, self.angle = self._lengths(minimum), self._angles(minimum)

    @classmethod
    def water(cls, n_replicas: int, torn_beyond: float = 1e6) -> ValencePotential:
        """A water molecule (O, H, H) with frequencies near the real ones."""
        positions = np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]])
        bonds = [(0, 1, 0.1866, 1.21), (0, 2, 0.1866, 1.21)]
        return cls(Structure(np.array([8, 1, 1]), positions), n_replicas, bonds, [(1, 0, 2, 0.16)], torn_beyond)

    @classmethod
    def hydrogen_fluoride(cls, n_replicas: int) -> ValencePotential:
        """A Morse oscillator, whose harmonic frequency is a sqrt(2 D / mu): 4138 cm-1 in the molecule HF."""
        structure = Structure(np.array([1, 9]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.7325]]))
        return cls(structure, n_replicas, [(0, 1, 0.2250, 1.1741)])

    def _lengths(self, positions: Tensor) -> Tensor:
        return (positions[:, self.first] - positions[:, self.second]).square().sum(-1).sqrt()

    def _angles(self, positions: Tensor) -> Tensor:
        one = positions[:, self.left] - positions[:, self.apex]
        other = positions[:, self.right] - positions[:, self.apex]
        cosine = (one * other).sum(-1) / (one.square().sum(-1) * other.square().sum(-1)).sqrt()
        return torch.acos(cosine)

    def function(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(n_replicas, n_atoms, 3) bohr to energies (n_replicas,) hartree and forces, hartree/bohr."""
        positions = positions.detach().requires_grad_(True)
        lengths = self._lengths(positions)
        morse = self.depth * (1.0 - torch.exp(-self.width * (lengths - self.length))).square()
        bend = 0.5 * self.stiffness * (self._angles(positions) - self.angle).square()
        torn = 0.0 * (self.torn_beyond - lengths).sqrt()
        energies = (morse + torn).sum(-1) + bend.sum(-1)
        (gradient,) = torch.autograd.grad(energies.sum(), positions)
        return energies.detach(), -gradient

    def energy_and_forces(self, positions: Array) -> tuple[Array, Array]:
        energies, forces = (value.numpy() for value in self.function(torch.from_numpy(positions)))
        broken = ~(np.isfinite(energies) & np.isfinite(forces).all(axis=(1, 2)))
        if broken.any():
            raise DenSNetError(f"Energy or forces of replica {int(broken.argmax())} are not finite.")
        return energies, forces

    def save_torchscript(self, path: Path) -> None:
        structure = self.structure
        export_torchscript(
            self.function,
            self.n_replicas,
            structure.n_atoms,
            path,
            structure_metadata(structure),
            structure.positions,
        )
