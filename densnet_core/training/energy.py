"""Training of the energy model on energies and forces, through a density model that is kept fixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.frames import LabelledFrames, batches
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.equivariant_energy import EquivariantEnergyModel
from densnet_core.potentials.forces import common_cutoff, energies_and_forces
from densnet_core.units import EV_PER_ANGSTROM, HARTREE_TO_EV


class EnergyObjective:
    """Squared errors of forces and energies per atom, in units of the training forces' spread.

    Parameters
    ----------
    model : EnergyModel
    density : DensityModel
        Trained; its parameters are not changed.
    frames : LabelledFrames
    force_weight : float
        Weight of the force term; that of the energy term is one.
    batch_size, seed : int
    """

    def __init__(
        self,
        model: EnergyModel,
        density: DensityModel,
        frames: LabelledFrames,
        force_weight: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.model, self.density, self.frames = model, density, frames
        self.force_weight, self.batch_size, self.seed = force_weight, batch_size, seed
        self.density.requires_grad_(False)
        self.unit = max(float(np.sqrt(np.mean(np.concatenate(list(frames.forces)) ** 2))), 1e-6)

    def prepare(self) -> None:
        """Set the model's statistics: amplitude spreads, least-squares atomic energies, the unit of energy."""
        if not isinstance(self.model, EquivariantEnergyModel) or not isinstance(self.density, EquivariantDensityModel):
            return
        elements = self.model.specification.elements
        counts = np.array([[np.sum(s.numbers == z) for z in elements] for s in self.frames.structures], dtype=float)
        # minimum-norm when the composition does not determine them, as for one kind of molecule
        atomic, *_ = np.linalg.lstsq(counts, self.frames.energies, rcond=1e-8)
        self.model.set_statistics(self.density.scale, self.density.offset, torch.tensor(atomic), self.unit)

    def errors(self, indices: Sequence[int], training: bool) -> tuple[Tensor, Tensor]:
        """Energy errors per atom (n,) hartree and force errors (n_atoms_total, 3) hartree/bohr."""
        graph = self.frames.graph(indices, common_cutoff(self.density, self.model))
        energies, forces = energies_and_forces(self.density, self.model, graph, training)
        sizes = torch.tensor([self.frames.structures[int(i)].n_atoms for i in indices])
        wanted = torch.tensor(np.array([self.frames.energies[int(i)] for i in indices]))
        wanted_forces = torch.tensor(np.concatenate([self.frames.forces[int(i)] for i in indices]))
        return (energies - wanted) / sizes, forces - wanted_forces

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step and its parts."""
        chosen = batches(len(self.frames), self.batch_size, number, self.seed)
        energy, force = self.errors([int(i) for i in chosen], training=True)
        energy_term, force_term = (energy**2).mean() / self.unit**2, (force**2).mean() / self.unit**2
        loss = energy_term + self.force_weight * force_term
        return loss, {
            "loss": loss.item(),
            "force_rms_mev_per_angstrom": force_term.item() ** 0.5 * self.unit * 1e3 * EV_PER_ANGSTROM,
        }

    def metrics(self) -> dict[str, float]:
        """Mean absolute errors of all frames of this objective."""
        parts = [self.errors(portion, training=False) for portion in self.frames.portions()]
        energy, force = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
        return {
            "energy_mae_mev_per_atom": float(energy.abs().mean()) * 1e3 * HARTREE_TO_EV,
            "force_mae_mev_per_angstrom": float(force.abs().mean()) * 1e3 * EV_PER_ANGSTROM,
        }
