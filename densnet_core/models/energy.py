"""Interface of an energy model: total energy from geometry and predicted densities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import adopt
from densnet_core.models.backbone import MakeBackbone
from densnet_core.models.density import DensityModel


class EnergyModel(nn.Module, ABC):
    """Maps a graph and its densities to total energies.

    Parameters
    ----------
    specification : DensitySpecification
        Of the densities it is given.
    options : object or None
        Validated options of the component.
    make_backbone : callable or None
        As for a ``DensityModel``.

    Attributes
    ----------
    inputs, cutoff, long_range
        As for a ``DensityModel``.
    long_range_from : float
        Distance in bohr from which on an interaction that is long-ranged is whole; at most the density model's cutoff,
        so that no pair of atoms falls between the two.
    densities : frozenset of str
        Densities that it reads; a density model that does not predict them cannot be combined with it.
    l_max : int or None
        Highest degree of the coefficients that it reads; -1: of none, None: of all.
    reads_invariants : bool
        Whether it reads the ``invariants`` of the density. It is then made with their number, the keyword
        ``n_invariants``, and learns together with the density model, which has to serve both.
    outputs : frozenset of str
        Names of what ``forward`` returns: "energy", and named terms and per-atom parts if there are any.
    """

    specification: DensitySpecification
    inputs: frozenset[str] = frozenset()
    densities: frozenset[str] = frozenset({"density"})
    outputs: frozenset[str] = frozenset({"energy"})
    cutoff: float | None = None
    long_range: bool = False
    long_range_from: float = 0.0
    l_max: int | None = None
    reads_invariants: bool = False

    def __init__(
        self, specification: DensitySpecification, options: Any = None, make_backbone: MakeBackbone | None = None
    ) -> None:
        super().__init__()
        self.specification = specification

    @abstractmethod
    def fit_statistics(self, dataset: Dataset, density_model: DensityModel) -> None:
        """Take atomic energies, scales and offsets from the training data, before the first step; kept in buffers.

        They must not depend on how molecules are turned, numbered or where they stand. Energies of isolated atoms are
        ``dataset.atomic_energies`` where they are known; the others are the model's to find.
        """

    @property
    def element_energies(self) -> dict[int, float]:
        """Energies of the atoms that the model stands on, by atomic number, hartree; empty if it has none."""
        return {}

    def adopt(self, other: EnergyModel) -> None:
        """Take over what a finished model of the same architecture has learned, after ``fit_statistics``.

        Of elements and states that only one of the two knows nothing is taken, so that their statistics are those of
        the new data. The default is ``densnet_core.models.adoption.adopt``.
        """
        adopt(self, other)

    @abstractmethod
    def forward(self, graph: Graph, densities: Mapping[str, Expansion]) -> dict[str, Tensor]:
        """Total energies "energy" (n_molecules,), float64 hartree, and the other ``outputs``.

        Parameters
        ----------
        densities : mapping
            As a ``DensityModel`` of the same specification gives them; the energy is differentiable in them.
        """
