"""Interface of a density model: the learned Hohenberg-Kohn map from geometry to electron density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from densnet_core.basis.base import GaussianBasis, Metric
from densnet_core.basis.library import large_basis
from densnet_core.density.expansion import Expansion
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import Backbone, BackboneShape


@dataclass(frozen=True, eq=False)
class DensitySpecification:
    """What a density model predicts: the difference to the prior, expanded in a basis, for some elements.

    Parameters
    ----------
    basis : GaussianBasis
    metric : {"coulomb", "overlap"}
        Of the error that training minimises, and of the amplitudes that networks work with.
    elements : tuple of int
        Atomic numbers, ascending.
    largest_factor : float
        The model may multiply the exponents of every atom and angular momentum by factors between 1/f and f; 1 keeps
        them as they are in the basis.
    """

    basis: GaussianBasis
    metric: Metric
    elements: tuple[int, ...]
    largest_factor: float = 1.0

    @property
    def adapts_exponents(self) -> bool:
        return self.largest_factor > 1.0

    @property
    def label_basis(self) -> GaussianBasis:
        """The basis in which reference densities are given to the training.

        Fixed exponents learn from fits in their own basis. Functions that move have no coefficients of their own to
        learn from: their reference is held in a large fixed set.
        """
        return large_basis(self.elements) if self.adapts_exponents else self.basis


class DensityModel(nn.Module, ABC):
    """Maps a molecular graph to the expansion of the density difference.

    The difference holds exactly minus the charge of each molecule: every model conserves the electron count by
    construction. Models that cannot adapt exponents refuse a specification that asks for it.

    Parameters
    ----------
    specification : DensitySpecification
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
    def backbone_shape(specification: DensitySpecification) -> BackboneShape:
        """What this model needs of its backbone."""

    @abstractmethod
    def forward(self, graph: Graph) -> Expansion:
        """The difference densities of all molecules."""
