"""Forces: minus the gradient of the energy through the energy model and the density model."""

from __future__ import annotations

import torch
from torch import Tensor

from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel


def common_cutoff(density: DensityModel, energy: EnergyModel) -> float | None:
    """Distance in bohr beyond which no pair of atoms matters to either of two models, or None."""
    cutoffs = [model.cutoff for model in (density, energy) if model.cutoff is not None]
    return max(cutoffs) if len(cutoffs) == 2 else None


def energies_and_forces(
    density: DensityModel, energy: EnergyModel, graph: Graph, training: bool = False
) -> tuple[Tensor, Tensor]:
    """Energies (n_molecules,) hartree and forces (n_atoms, 3) hartree/bohr, float64.

    Parameters
    ----------
    training : bool
        Keep the graph, so that a loss on the forces can be differentiated.
    """
    with torch.enable_grad():  # type: ignore[no-untyped-call]
        positions = graph.positions.detach().requires_grad_()
        moved = graph.with_positions(positions)
        energies = energy(moved, density(moved))
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=training)
    if not training:
        energies = energies.detach()
    return energies, -gradient
