"""Interface of an energy model: total energy from geometry and predicted density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from densnet_core.density.expansion import Expansion
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.density import DensitySpecification


class EnergyModel(nn.Module, ABC):
    """Maps a molecular graph and its density difference to total energies.

    Parameters
    ----------
    specification : DensitySpecification
        Of the densities it is given.
    options : object or None
        Validated options of the component.

    Attributes
    ----------
    cutoff : float or None
        Distance in bohr beyond which no pair of atoms matters to the model; None, the default, is for any distance.
        Training and prediction leave out the pairs that are farther apart.
    """

    specification: DensitySpecification
    backbone: Backbone
    cutoff: float | None = None

    def __init__(self, specification: DensitySpecification, options: Any = None) -> None:
        super().__init__()
        self.specification = specification

    @staticmethod
    @abstractmethod
    def backbone_shape(specification: DensitySpecification, options: Any = None) -> BackboneShape:
        """What this model needs of its backbone."""

    @abstractmethod
    def forward(self, graph: Graph, difference: Expansion) -> Tensor:
        """Total energies (n_molecules,), float64 hartree.

        Parameters
        ----------
        difference : Expansion
            Of a ``DensityModel`` with the same specification; the energy is differentiable in it.
        """
