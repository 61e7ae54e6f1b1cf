"""A potential bound to given molecules: a function of their positions alone, traced once and fast from then on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from densnet_core.errors import DenSNetError, InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.potentials.base import Potential
from densnet_core.potentials.torchscript import export_torchscript, replica_metadata
from densnet_core.potentials.trace import flatten
from densnet_core.structures import Array, Structure


class BoundPotential:
    """Energies and forces of fixed molecules of one composition, for engines of molecular dynamics.

    All pairs of atoms of a molecule are in the graph, so it never changes; the potential takes those beyond its cutoff
    to zero.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
        Replicas: the same atoms in the same order, with the same charge and multiplicity.

    Raises
    ------
    InputError
        The molecules differ, or the potential does not know them.
    """

    def __init__(self, potential: Potential, structures: Sequence[Structure]) -> None:
        if not structures:
            raise InputError("Dynamics needs at least one molecule.")
        first = structures[0]
        for other in structures[1:]:
            if not (np.array_equal(other.numbers, first.numbers) and other.parts == first.parts):
                raise InputError(
                    f"The molecules differ ({first.formula} and {other.formula}, or their order, charge or "
                    "multiplicity); run each in a dynamics of its own."
                )
        potential.check([first])
        self.potential, self.structures = potential, tuple(structures)
        self.graph: Graph = graph_of(structures)
        self._flat: nn.Module | None = None

    @property
    def structure(self) -> Structure:
        """The first of the molecules."""
        return self.structures[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_replicas, n_atoms, 3)."""
        return len(self.structures), self.structure.n_atoms, 3

    def function(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n_replicas,) and forces of positions (n_replicas, n_atoms, 3), atomic units, as tensors."""
        graph = self.graph.with_positions(positions.reshape(-1, 3))
        found = self.potential.evaluate(graph, ("energy", "forces"))
        return found["energy"], found["forces"].reshape(positions.shape)

    def energy_and_forces(self, positions: Array) -> tuple[Array, Array]:
        """Energies (n_replicas,) in hartree and forces (n_replicas, n_atoms, 3) in hartree/bohr.

        Parameters
        ----------
        positions : (n_replicas, n_atoms, 3)
            Bohr.

        Raises
        ------
        DenSNetError
            The result is not finite; the message names the replica.
        """
        given = torch.tensor(np.asarray(positions, dtype=np.float64))
        if tuple(given.shape) != self.shape:
            raise InputError(
                f"Positions must have shape {self.shape} (replicas, atoms of {self.structure.formula}, axes), not "
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
        """Write a TorchScript file for openmm-torch, see ``export_torchscript``; it needs torch only."""
        metadata = {**replica_metadata(self.structures), **self.potential.metadata()}
        n_replicas, n_atoms, _ = self.shape
        export_torchscript(self.function, n_replicas, n_atoms, path, metadata, self.structure.positions)
