"""Energies in a uniform electric field, from the predicted density."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel

Moments = Callable[[Graph, Mapping[str, Expansion], DensitySpecification], Tensor]


class EnergyInField(EnergyModel):
    """E - F . mu with the dipole moment mu (about the origin) of the predicted density: to first order in the field.

    So dE/dF = -mu, and forces have the share of the field, d(F . mu)/dR. What the field does to the density, the second
    order -1/2 F . alpha . F, is left out.

    Parameters
    ----------
    energy : EnergyModel
    dipole : callable
        Dipole moments (n_molecules, 3), e bohr, of a graph with its densities.
    degree : int or None
        The highest of the coefficients that they take; None: all.
    field : sequence of float
        (3,), hartree/(e bohr).
    """

    def __init__(self, energy: EnergyModel, dipole: Moments, degree: int | None, field: Sequence[float]) -> None:
        super().__init__(energy.specification)
        self.energy, self.dipole = energy, dipole
        self.inputs, self.outputs, self.cutoff = energy.inputs, energy.outputs, energy.cutoff
        self.densities = energy.densities | {"density"}
        self.long_range, self.long_range_from = energy.long_range, energy.long_range_from
        self.reads_invariants = energy.reads_invariants
        self.l_max = None if energy.l_max is None or degree is None else max(energy.l_max, degree)
        self.field: Tensor
        self.register_buffer("field", torch.tensor(list(field), dtype=torch.float64))

    @property
    def element_energies(self) -> dict[int, float]:
        return self.energy.element_energies

    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        self.energy.fit_statistics(dataset, density_model)

    def forward(self, graph: Graph, densities: Mapping[str, Expansion]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.energy(graph, densities)
        return {**found, "energy": found["energy"] - self.dipole(graph, densities, self.specification) @ self.field}
