"""Interface of a density model: the learned Hohenberg-Kohn map from geometry to electron density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.integrals import Metric
from densnet_core.density.backbone import Backbone, BackboneShape
from densnet_core.density.graph import MolecularGraph


@dataclass(frozen=True, eq=False)
class DensitySpecification:
    """What a density model predicts: the difference to the prior, expanded in a basis, for some elements."""

    basis: GaussianBasis
    metric: Metric
    elements: tuple[int, ...]


class DensityModel(nn.Module, ABC):
    """Maps a molecular graph to the coefficients of the density difference.

    The difference holds exactly minus the charge of each molecule: every model conserves the electron count by
    construction.

    Parameters
    ----------
    specification : DensitySpecification
    options : object or None
        Validated options of the component.
    """

    specification: DensitySpecification
    backbone: Backbone

    def __init__(self, specification: DensitySpecification, options: Any = None) -> None:
        super().__init__()
        self.specification = specification

    @staticmethod
    @abstractmethod
    def backbone_shape(specification: DensitySpecification) -> BackboneShape:
        """What this model needs of its backbone."""

    @abstractmethod
    def forward(self, graph: MolecularGraph) -> Tensor:
        """Coefficients of all molecules, float64, concatenated: (n_functions,).

        Functions follow ``MolecularBasis(specification.basis, graph.numbers)``: atoms in order, shells as in the
        basis, the core's order within a shell.
        """
