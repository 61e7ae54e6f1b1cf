"""Training of the density model on reference densities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.frames import LabelledFrames, batches
from densnet_core.models.density import DensityModel
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.training.references import ReferenceDensities
from densnet_core.units import AU_TO_DEBYE


class DensityObjective:
    """Error of the predicted difference density in the metric, plus that of its dipole.

    loss = mean over molecules of (rho - rho_hat | M | rho - rho_hat) / unit + dipole_weight |mu - mu_hat|^2 / unit,
    the unit being the same norm of the training differences about their mean, so that both terms start near one. All
    of it is two-centre integrals, see ``ReferenceDensities``; no grid is involved.

    Parameters
    ----------
    model : DensityModel
    frames : LabelledFrames
        Training frames.
    dipole_weight : float
    batch_size, seed : int

    Raises
    ------
    InputError
        A frame's coefficients do not belong to the model's basis.
    """

    def __init__(
        self, model: DensityModel, frames: LabelledFrames, dipole_weight: float, batch_size: int, seed: int
    ) -> None:
        self.model, self.frames = model, frames
        self.dipole_weight, self.batch_size, self.seed = dipole_weight, batch_size, seed
        self.references = ReferenceDensities(frames, model.specification)
        self._density_unit, self._dipole_unit = self._units()

    def prepare(self) -> None:
        """Set the model's statistics from the training frames."""
        if not isinstance(self.model, EquivariantDensityModel):
            return
        layout = self.model.layout
        species = layout.species(torch.tensor(np.concatenate([s.numbers for s in self.frames.structures])))
        flat = torch.cat([self.references.coefficients(i) for i in range(len(self.frames))])
        self.model.set_statistics(species, layout.amplitudes(flat, species, layout.flat_places(species)))

    def _units(self) -> tuple[float, float]:
        groups: dict[bytes, list[int]] = {}
        for index, structure in enumerate(self.frames.structures):
            groups.setdefault(structure.numbers.tobytes(), []).append(index)
        density, dipole = 0.0, 0.0
        for indices in groups.values():
            stack = torch.stack([self.references.coefficients(i) for i in indices])
            away = stack if len(indices) == 1 else stack - stack.mean(0)
            metrics = [self.references.metric_matrix(i) for i in indices]
            density += sum(float(row @ metric @ row) for metric, row in zip(metrics, away, strict=True))
        for mu in self.frames.dipoles:
            dipole += float((mu**2).sum())
        return max(density / len(self.frames), 1e-12), max(dipole / len(self.frames), 1e-2)

    def errors(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Squared norms of the density error (hartree in the Coulomb metric) and of the dipole error (a.u.), (n,)."""
        return self.references.squared_errors(indices, self.model(self.frames.graph(indices, self.model.cutoff)))

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step and its parts."""
        chosen = batches(len(self.frames), self.batch_size, number, self.seed)
        norms, dipoles = self.errors([int(i) for i in chosen])
        density, dipole = norms.mean() / self._density_unit, dipoles.mean() / self._dipole_unit
        loss = density + self.dipole_weight * dipole
        return loss, {"loss": loss.item(), "density_error_relative": max(density.item(), 0.0) ** 0.5}

    def metrics(self) -> dict[str, float]:
        """Root-mean-square errors of all frames of this objective.

        The density's is in the metric, relative to the frames' own spread about their mean. Where exponents move it
        includes what the basis cannot represent, and is relative to the reference differences themselves. The dipole's
        is in debye.
        """
        unit = self._density_unit
        if self.model.specification.adapts_exponents:
            unit = self.references.mean_square()
        with torch.no_grad():
            parts = [self.errors(portion) for portion in self.frames.portions()]
        norms, dipoles = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
        return {
            "density_rms_error_relative": float(norms.mean().clamp(min=0.0) / unit) ** 0.5,
            "dipole_rms_debye": float(dipoles.mean()) ** 0.5 * AU_TO_DEBYE,
        }
