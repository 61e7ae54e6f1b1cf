"""The potential of a trained model: density, energy and forces of many replicas in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densnet_core.errors import DenSNetError, InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.potentials.base import Potential
from densnet_core.potentials.forces import energies_and_forces
from densnet_core.potentials.torchscript import export_torchscript, structure_metadata
from densnet_core.potentials.trace import flatten
from densnet_core.structures import Array, Structure


class ModelPotential(Potential):
    """Energy and forces of replicas of one molecule from a density and an energy model.

    All pairs of atoms of a molecule are edges, so the graph never changes; the backbone's envelope takes those beyond
    its cutoff to zero.

    Parameters
    ----------
    density : DensityModel
    energy : EnergyModel
    structure : Structure
    n_replicas : int
    metadata : mapping, optional
        Further provenance kept in an exported file.
    """

    def __init__(
        self,
        density: DensityModel,
        energy: EnergyModel,
        structure: Structure,
        n_replicas: int = 1,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.density, self.energy = density.eval(), energy.eval()
        self.structure, self.n_replicas, self.metadata = structure, n_replicas, dict(metadata or {})
        for module in (density, energy):
            module.requires_grad_(False)
        self.graph: Graph = graph_of([structure] * n_replicas)
        self._flat: torch.nn.Module | None = None

    def function(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n_replicas,) and forces of positions (n_replicas, n_atoms, 3), atomic units, as tensors."""
        graph = self.graph.with_positions(positions.reshape(-1, 3))
        energies, forces = energies_and_forces(self.density, self.energy, graph)
        return energies, forces.reshape(positions.shape)

    def energy_and_forces(self, positions: Array) -> tuple[Array, Array]:
        given = torch.tensor(np.asarray(positions, dtype=np.float64))
        expected = (self.n_replicas, self.structure.n_atoms, 3)
        if tuple(given.shape) != expected:
            raise InputError(
                f"Positions must have shape {expected} (replicas, atoms of {self.structure.formula}, axes), not "
                f"{tuple(given.shape)}."
            )
        if self._flat is None:
            self._flat = flatten(self.function, given)
        with torch.no_grad():
            energies, forces = self._flat(given)
        finite = torch.isfinite(energies) & torch.isfinite(forces).flatten(1).all(1)
        if not bool(finite.all()):
            replica = int((~finite).nonzero()[0])
            raise DenSNetError(f"Energy or forces of replica {replica} are not finite.")
        return energies.numpy(), forces.numpy()

    def save_torchscript(self, path: Path) -> None:
        metadata = {**structure_metadata(self.structure), **self.metadata}
        export_torchscript(
            self.function, self.n_replicas, self.structure.n_atoms, path, metadata, self.structure.positions
        )
