"""How the density answers to a uniform electric field, from the features of the density model."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, sqrt

import torch
from torch import Tensor, nn

from densnet_core.basis.conventions import from_magnetic_order, to_magnetic_order
from densnet_core.basis.harmonics import gaunt
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.features import own_element
from densnet_core.models.flow import FieldFlow
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.statistics import amplitude_statistics, charge_scale

RESPONSE = "density_response"


class FieldResponse(nn.Module):
    """Amplitudes of d rho / d F_x for the three directions x of a field, exactly without electrons.

    A response is a vector in x and a harmonic in (l, m) at once. Its amplitudes are linear in what turns like that:

    - features of l - 1 and l + 1, coupled with the direction of the field to l: an atom's own isotropic polarizability
      is its scalar features in p functions, the anisotropic one those of l = 2;
    - products of features of l = 1 with those of l, channel by channel, which have the part that couplings of natural
      parity lack.

    The charge of each atom is that of flows along the pairs, f_AB = u(r) sum_k R_k(r) (1 + g_Ak g_Bk) (F . r_AB) / r,
    so it is conserved within the reach of the network. Each of these parts has a symmetric dipole tensor, therefore the
    polarizability is symmetric for any parameters, as the exact one is.

    Parameters
    ----------
    layout : CoefficientLayout
    channels : int
        Of the features.
    cutoff : float
        Bohr.

    Raises
    ------
    InputError
        The basis has no p functions.
    """

    def __init__(self, layout: CoefficientLayout, channels: int, cutoff: float) -> None:
        super().__init__()
        if layout.l_max == 0:
            raise InputError("A response to a field needs p functions, and the basis has s functions only.")
        self.layout, self.channels = layout, channels
        n_elements, width = len(layout.elements), layout.width
        self.head = nn.Parameter(torch.randn(3, layout.l_max + 1, channels, n_elements * width) * channels**-0.5)
        self.flow = FieldFlow(channels, layout.elements, cutoff)
        self.scale: Tensor
        self.coupling: Tensor
        self.axes: Tensor
        self.register_buffer("scale", layout.present.clone())
        self.register_buffer("coupling", _couplings(layout.l_max), persistent=False)
        self.register_buffer("axes", torch.as_tensor(from_magnetic_order(1)), persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        layout = self.layout
        degrees, width = range(layout.l_max + 1), range(layout.width)
        return {
            "head": (range(3), degrees, range(self.channels), layout.elements, width),
            "scale": (layout.elements, degrees, width),
        }

    def fit_statistics(self, dataset: Dataset) -> None:
        """Scale of the amplitudes and unit of the flows, from the labels "density_response"; one without."""
        if dataset.having(RESPONSE):
            self.scale.copy_(amplitude_statistics(self.layout, self._labels(dataset))[1])
            self.flow.scale.fill_(charge_scale(self.layout, self._labels(dataset)))

    def _labels(self, dataset: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        """Species and amplitudes of the responses, frame by frame."""
        layout = self.layout
        for i in dataset.having(RESPONSE):
            species = layout.species(torch.tensor(dataset.structures[i].numbers))
            places = layout.flat_places(species)
            for row in dataset.tensor(RESPONSE, [i])[0]:
                amplitudes = layout.amplitudes(row, species, places)
                # The opposite field has the opposite response: with both, the mean is zero and only the spread is left.
                yield torch.cat([species, species]), torch.cat([amplitudes, -amplitudes], dim=1)

    def forward(self, graph: Graph, features: Tensor, species: Tensor, scales: Tensor | None, degree: int) -> Expansion:
        """Coefficients (3, n_functions), those of a higher degree zero.

        Parameters
        ----------
        features : (n_components, n_atoms, channels)
            Up to the degree above the one asked for, where the layout has it.
        species : (n_atoms,) int64
        scales : (n_atoms, l_max + 1), optional
            Factors of the exponents.
        degree : int
        """
        layout = self.layout
        degrees = layout.l_of_component[: (degree + 1) ** 2]
        scale = self.scale.index_select(0, species)
        raw = self._raw(features, species, degrees).to(torch.float64)
        scaled = raw * scale.index_select(1, degrees).transpose(0, 1)
        counts = layout.electron_counts(species, scales)
        weights = scale[:, 0] ** 2 * counts
        gained = self.flow(graph, species, features[0])
        excess = ((scaled[:, 0] * counts).sum(-1) - gained.T) / (weights * counts).sum(-1)
        scalars = scaled[:, 0] - weights * excess[..., None]
        amplitudes, places = torch.cat([scalars[:, None], scaled[:, 1:]], dim=1), layout.flat_places(species)
        rows = [layout.coefficients(own, species, places, scales) for own in amplitudes]
        return Expansion(torch.stack(rows), scales)

    def _raw(self, features: Tensor, species: Tensor, degrees: Tensor) -> Tensor:
        """(3, n_components, n_atoms, width) amplitudes in units of their spread, before electrons are counted."""
        given, n_elements = self.layout.l_of_component[: features.shape[0]], len(self.layout.elements)
        n_given, n_wanted = len(given), len(degrees)
        vector = features[1:4].index_select(0, self.axes)
        products = (vector[:, None] * features[None, :n_wanted]).flatten(0, 1)
        beside = torch.bmm(products, self.head[2].index_select(0, degrees).repeat(3, 1, 1))
        result = own_element(beside, species, n_elements).flatten(1)
        for weights, coupling, target in zip(self.head[:2], self.coupling, (given + 1, given - 1), strict=True):
            own = weights.index_select(0, target.clamp(0, self.layout.l_max))
            sources = own_element(torch.bmm(features, own), species, n_elements)
            matrix = coupling[:, :n_wanted, :n_given].reshape(-1, n_given).to(sources.dtype)
            result = result + matrix @ sources.flatten(1)
        return result.reshape(3, n_wanted, len(species), -1)


def _couplings(l_max: int) -> Tensor:
    """(2, 3, n_components, n_components): a unit vector times a harmonic, to one degree more and to one less."""
    n = (l_max + 1) ** 2
    found = torch.zeros(2, 3, n, n, dtype=torch.float64)
    for source in range(l_max + 1):
        for place, target in enumerate((source + 1, source - 1)):
            if 0 <= target <= l_max:
                block = torch.tensor(gaunt(1, target, source)) * sqrt(4.0 * pi / 3.0)
                block = block[:, to_magnetic_order(target)][:, :, to_magnetic_order(source)]
                rows, columns = (slice(l_**2, (l_ + 1) ** 2) for l_ in (target, source))
                found[place, :, rows, columns] = block
    return found
