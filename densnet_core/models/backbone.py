"""Interface of an equivariant backbone, and the layout of its features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.graphs.graph import Graph


@dataclass(frozen=True)
class BackboneShape:
    """What a model asks of a backbone.

    Parameters
    ----------
    elements : tuple of int
        Atomic numbers, ascending.
    l_in : int
        Highest angular momentum of the input features; -1 if there are none.
    channels_in : int
        Channels of the input features.
    l_out : int
        Highest angular momentum of the output features.
    """

    elements: tuple[int, ...]
    l_in: int
    channels_in: int
    l_out: int


class Backbone(nn.Module, ABC):
    """Message passing that maps a graph to equivariant features of its atoms.

    Features are tensors ((l_max + 1)^2, n_atoms, channels): the components of l = 0..l_max in magnetic order
    (m = -l..l for every l, see ``densnet_core.basis.conventions``), all of natural parity (-1)^l. The features must
    be smooth functions of the positions that vanish smoothly with the distance of a neighbour at ``cutoff``.

    Parameters
    ----------
    shape : BackboneShape
    options : object or None
        Validated options of the component.

    Attributes
    ----------
    channels : int
        Channels of the output.
    cutoff : float
        Bohr; pairs beyond it do not matter.
    truncates : bool
        Whether ``forward`` takes a degree as the last argument and leaves out components of higher l.
    """

    channels: int
    cutoff: float
    truncates: bool = False

    def __init__(self, shape: BackboneShape, options: Any = None) -> None:
        super().__init__()
        self.shape = shape

    def check(self) -> None:
        """Refuse options with which a new network could not learn; called before the work of a run begins.

        Models that exist are loaded without it.

        Raises
        ------
        InputError
        """

    @abstractmethod
    def fit_statistics(self, dataset: Dataset) -> None:
        """Take from the training data what normalises the features, such as the number of neighbours.

        It must not depend on how molecules are turned, numbered or where they stand. Kept in buffers.
        """

    @abstractmethod
    def forward(self, graph: Graph, species: Tensor, features: Tensor | None) -> Tensor:
        """Features ((l_out + 1)^2, n_atoms, channels).

        Parameters
        ----------
        graph : Graph
            Positions are in float64 whatever the precision of the parameters: round the pair vectors, not the
            positions, or a molecule far from the origin loses digits.
        species : (n_atoms,) int64
            Index of each atom's element in ``shape.elements``.
        features : ((l_in + 1)^2, n_atoms, channels_in) or None
            Input features in the dtype of the parameters, None if ``shape.l_in`` is -1.
        """

    def up_to(self, l_max: int, graph: Graph, species: Tensor, features: Tensor | None) -> Tensor:
        """The features ((l_max + 1)^2, n_atoms, channels) up to a degree, which are the same as without a limit."""
        if self.truncates:
            found: Tensor = self(graph, species, features, l_max)
            return found
        whole: Tensor = self(graph, species, features)
        return whole[: (l_max + 1) ** 2]


MakeBackbone = Callable[[BackboneShape], Backbone]
"""Makes the backbone that a configuration names, of the shape that a model wants."""


def cast_parameters(module: nn.Module, dtype: torch.dtype) -> None:
    """Set the precision of a network: its parameters only.

    Buffers hold coupling tables, spreads and atomic energies and stay in float64, so ``module.to(dtype)`` would lose
    what cannot be recovered.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
