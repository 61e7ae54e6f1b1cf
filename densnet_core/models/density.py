"""Interface of a density model: the learned Hohenberg-Kohn map from geometry to electron density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Final

from torch import nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import adopt
from densnet_core.models.backbone import Backbone, BackboneShape, MakeBackbone

DENSITIES: Final = ("density", "spin_density", "density_response")
"""What a density model may predict: the difference to the prior; alpha minus beta electrons; the derivatives of the
density with respect to a uniform field (three, a leading axis)."""


class DensityModel(nn.Module, ABC):
    """Maps a graph to expansions of densities.

    The difference density holds exactly minus the charge of each molecule: every model conserves the electron count by
    construction, and locally: a fragment beyond the cutoff changes nothing. A spin density holds the unpaired
    electrons, a response none.

    A subclass takes ``specification`` and ``options`` and, if it stands on a backbone, calls ``make_backbone`` with the
    shape it wants. Models that cannot adapt exponents refuse a specification that asks for it.

    Parameters
    ----------
    specification : DensitySpecification
    options : object or None
        Validated options of the component.
    make_backbone : callable or None
        From a ``BackboneShape`` to the backbone that the configuration names; calling it is optional.

    Attributes
    ----------
    inputs : frozenset of str
        Optional inputs that the model uses: "charge", "multiplicity" (beyond the electron count, which every model
        keeps), "field", "level", "cell". A graph that has others is refused, and so are training data in which charge,
        multiplicity or level vary without being used.
    densities : frozenset of str
        Which of ``DENSITIES`` it predicts.
    additions : frozenset of str
        Options that only add parameters of their own: a finished model that differs in them can be started from.
    cutoff : float or None
        Distance in bohr beyond which no pair of atoms matters to the model; None, the default, is for any distance, 0
        for a model without pairs.
        Training and prediction leave out the pairs that are farther apart.
    long_range : bool
        Whether molecules far apart see each other; pairs of its own, then.
    n_invariants : int
        Width of the ``invariants`` that it hands on with the density, for energy models that read them; 0: none.
    truncates : bool
        Whether ``forward`` takes ``l_max``, the highest degree whose coefficients are needed (-1: of none), and, in a
        model of several densities, ``names``, those that are: it may leave the coefficients of higher degrees at zero
        and other densities out, so that what does not need them does not pay for them.
    """

    specification: DensitySpecification
    inputs: frozenset[str] = frozenset()
    densities: frozenset[str] = frozenset({"density"})
    additions: frozenset[str] = frozenset()
    cutoff: float | None = None
    long_range: bool = False
    n_invariants: int = 0
    truncates: bool = False

    def __init__(
        self, specification: DensitySpecification, options: Any = None, make_backbone: MakeBackbone | None = None
    ) -> None:
        super().__init__()
        self.specification = specification

    @abstractmethod
    def fit_statistics(self, dataset: Dataset) -> None:
        """Take scales and offsets from the training data, before the first step; kept in buffers.

        They must not depend on how molecules are turned, numbered or where they stand.
        """

    def adopt(self, other: DensityModel) -> None:
        """Take over what a finished model of the same architecture has learned, after ``fit_statistics``.

        Of elements and states that only one of the two knows nothing is taken, so that their statistics are those of
        the new data. The default is ``densnet_core.models.adoption.adopt``.
        """
        adopt(self, other)

    @abstractmethod
    def forward(self, graph: Graph) -> dict[str, Expansion]:
        """The densities named in ``densities`` of all molecules; "density" is the difference to the prior."""


def densities_up_to(
    model: DensityModel, graph: Graph, l_max: int | None = None, names: Collection[str] = DENSITIES
) -> dict[str, Expansion]:
    """At least those densities of a model that are named, with the coefficients up to a degree at least; None: all."""
    if not model.truncates:
        found: dict[str, Expansion] = model(graph)
    elif len(model.densities) == 1:
        found = model(graph, l_max)
    else:
        found = model(graph, l_max, names)
    return found


def required_backbone(model: str, shape: BackboneShape, make_backbone: MakeBackbone | None) -> Backbone:
    """The backbone of a model that needs one; ``InputError`` where none was given."""
    if make_backbone is None:
        raise InputError(
            f"{model} stands on a backbone; give make_backbone, a callable from BackboneShape to Backbone."
        )
    return make_backbone(shape)
