"""The energy from what the density model knows of each atom: one network for both, which learns from both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.backbone import MakeBackbone
from densnet_core.models.config import SharedEnergyOptions
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.features import species_of
from densnet_core.models.long_range import DEGREE, long_range_energy
from densnet_core.models.states import StateEmbedding, state_indices
from densnet_core.models.statistics import energy_unit, reference_energies
from densnet_core.units import BOHR_TO_ANGSTROM


class SharedEnergyModel(EnergyModel):
    """E = sum_A (E_A + scale * head(invariants of A)) + sum_F E_F, summed in float64.

    The invariants are the scalar features from which the density model predicts the coefficients; both learn together.
    Some hundred coefficients of each atom teach the features more than the three components of a force can: see
    docs/method.md for what this gains. The energy does not read the coefficients themselves. E_F belongs to a
    fragment's charge and multiplicity, where these differ in the training data.

    With ``long_range = "coulomb"`` the interaction of the predicted densities is added for atoms that are far apart
    (``densnet_core.models.long_range``), and the head learns the rest.

    Parameters
    ----------
    n_invariants : int
        Of the density model.
    """

    inputs = frozenset({"charge", "multiplicity"})
    densities = frozenset({"density"})
    cutoff = 0.0  # it has no pairs of its own
    l_max = -1
    reads_invariants = True

    def __init__(
        self,
        specification: DensitySpecification,
        options: SharedEnergyOptions | None = None,
        make_backbone: MakeBackbone | None = None,
        *,
        n_invariants: int,
    ) -> None:
        super().__init__(specification, options, make_backbone)
        options = options or SharedEnergyOptions()
        n_elements, states = len(specification.elements), specification.states
        self.hidden = nn.Linear(n_invariants, options.head_width)
        self.element = nn.Parameter(torch.zeros(n_elements, options.head_width))
        self.output = nn.Linear(options.head_width, 1, bias=False)
        self.long_range = options.long_range != "none"
        self.l_max = DEGREE if self.long_range else -1
        self.long_range_from = options.long_range_angstrom / BOHR_TO_ANGSTROM
        self.states = StateEmbedding(states, specification.elements, options.head_width) if len(states) > 1 else None
        self.atomic_energies: Tensor
        self.state_energies: Tensor
        self.energy_scale: Tensor
        self.register_buffer("atomic_energies", torch.zeros(n_elements, dtype=torch.float64))
        self.register_buffer("state_energies", torch.zeros(len(states), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        """Least-squares energies of elements and states, and the unit of energy."""
        specification = self.specification
        atomic, of_state = reference_energies(dataset, specification.elements, specification.states)
        self.atomic_energies.copy_(torch.tensor(atomic))
        self.state_energies.copy_(torch.tensor(of_state))
        self.energy_scale.fill_(energy_unit(dataset))

    @property
    def element_energies(self) -> dict[int, float]:
        return dict(zip(self.specification.elements, self.atomic_energies.tolist(), strict=True))

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        elements = self.specification.elements
        return {
            "element": (elements, range(self.element.shape[1])),
            "atomic_energies": (elements,),
            "state_energies": (self.specification.states,),
        }

    def forward(self, graph: Graph, densities: Mapping[str, Expansion]) -> dict[str, Tensor]:
        species = species_of(graph.numbers, self.specification.elements)
        invariants = densities["density"].invariants
        assert invariants is not None, "made by a density model with n_invariants"
        hidden = self.hidden(invariants.to(self.element.dtype)) + self.element.index_select(0, species)
        if self.states is not None:
            hidden = hidden + self.states(graph, species)
        atomic = self.output(nn.functional.silu(hidden)).squeeze(-1).to(torch.float64)
        energies = graph.sum_over_molecules(self.atomic_energies[species] + self.energy_scale * atomic)
        if self.states is not None:
            own = self.state_energies[state_indices(self.states.table, graph)[0]]
            energies = energies.index_add(0, graph.fragment_molecule, own)
        if self.long_range:
            density = densities["density"]
            energies = energies + long_range_energy(graph, density, self.specification, self.long_range_from)
        return {"energy": energies}
