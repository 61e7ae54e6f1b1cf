"""Densities and energies in a uniform electric field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DENSITIES, DensityModel, densities_up_to
from densnet_core.models.energy import EnergyModel
from densnet_core.models.response import RESPONSE

Moments = Callable[[Graph, Mapping[str, Expansion], DensitySpecification], Tensor]


def polarized(densities: Mapping[str, Expansion], field: Tensor) -> dict[str, Expansion]:
    """Densities with their response to a field (3,) added to the density."""
    density, response = densities["density"], densities[RESPONSE]
    coefficients = density.coefficients + torch.einsum("x,xn->n", field, response.coefficients)
    return {**densities, "density": replace(density, coefficients=coefficients)}


class DensityInField(DensityModel):
    """rho + F . d rho / d F of a model that predicts the response: the density in a field, to first order.

    Parameters
    ----------
    density : DensityModel
        With "density_response" among its densities.
    field : sequence of float
        (3,), hartree/(e bohr).
    """

    truncates = True

    def __init__(self, density: DensityModel, field: Sequence[float]) -> None:
        super().__init__(density.specification)
        self.density = density
        self.inputs, self.densities, self.cutoff = density.inputs, density.densities, density.cutoff
        self.long_range, self.n_invariants = density.long_range, density.n_invariants
        self.field: Tensor
        self.register_buffer("field", torch.tensor(list(field), dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset) -> None:
        self.density.fit_statistics(dataset)

    def forward(
        self, graph: Graph, l_max: int | None = None, names: Collection[str] = DENSITIES
    ) -> dict[str, Expansion]:
        found = densities_up_to(self.density, graph, l_max, {*names, "density", RESPONSE})
        return polarized(found, self.field)


class EnergyInField(EnergyModel):
    """E - F . mu, or E - F . mu - 1/2 F . alpha . F: to first or second order in the field.

    mu (about the origin) and alpha are of the predicted density and its response. To second order the densities given
    are those of ``DensityInField``, with dipole moments mu + alpha . F, and the energy is E - 1/2 F . (mu + mu(F)). In
    both cases dE/dF is minus the dipole moment of the density that is given, where alpha is symmetric; forces have the
    share of the field.

    Parameters
    ----------
    energy : EnergyModel
    dipole : callable
        Dipole moments (n_molecules, 3), e bohr, of a graph with its densities.
    degree : int or None
        The highest of the coefficients that they take; None: all.
    field : sequence of float
        (3,), hartree/(e bohr).
    second_order : bool
    """

    def __init__(
        self, energy: EnergyModel, dipole: Moments, degree: int | None, field: Sequence[float], second_order: bool
    ) -> None:
        super().__init__(energy.specification)
        self.energy, self.dipole, self.second_order = energy, dipole, second_order
        self.inputs, self.outputs, self.cutoff = energy.inputs, energy.outputs, energy.cutoff
        self.densities = energy.densities | ({"density", RESPONSE} if second_order else {"density"})
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
        moments, free = self.dipole(graph, densities, self.specification), densities
        if self.second_order:
            free = polarized(densities, -self.field)
            moments = 0.5 * (moments + self.dipole(graph, free, self.specification))
        found: dict[str, Tensor] = self.energy(graph, free)
        return {**found, "energy": found["energy"] - moments @ self.field}
