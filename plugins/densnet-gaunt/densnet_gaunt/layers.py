"""One round of the backbone: a sum over neighbours, products on the sphere, a gate."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from densnet_core.models.adoption import Axes
from densnet_core.models.features import ComponentLinear, degrees_of_components
from densnet_gaunt.config import GauntOptions
from densnet_gaunt.sphere import SphereProduct


def widened(features: Tensor, n_components: int) -> Tensor:
    """Features with as many components: zeros for those that are missing, without those that are too many."""
    missing = n_components - features.shape[0]
    if missing <= 0:
        return features[:n_components] if missing else features
    return nn.functional.pad(features, (0, 0, 0, 0, 0, missing))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What every layer sees of the geometry.

    Parameters
    ----------
    senders : (n_atoms * width,) int64
    harmonics : (n_atoms, width, (l_max_edge + 1)^2)
    hidden : (n_atoms * width, radial_width)
        Functions of the distance and of both elements, zero from the cutoff on.
    """

    senders: Tensor
    harmonics: Tensor
    hidden: Tensor


class NeighbourSum(nn.Module):
    """Sums over neighbours j of what is seen in their direction, and of what they hand over as it is.

    A_lm = sum_j R_l(r_j) (sum_l' Q_l'(r_j) Y_l'(u_j) . h_jl') Y_lm(u_j) and B_lm = sum_j Q_l(r_j) h_jlm. The scalar in
    brackets is the part of the neighbour's features that is axial about the line between the two atoms; without
    features it is one and there is no B. The cost of a pair is that of its harmonics, not of their products with
    features.
    """

    def __init__(self, l_in: int, l_edge: int, channels: int, radial_width: int) -> None:
        super().__init__()
        self.n_in, self.n_radial = (l_in + 1) ** 2, [l_edge + 1, l_in + 1]
        self.shells, self.shells_in = ([2 * l_ + 1 for l_ in range(top + 1)] for top in (l_edge, l_in))
        self.radial = nn.Parameter(torch.randn(radial_width, sum(self.n_radial) * channels) / sqrt(radial_width))

    def forward(self, features: Tensor | None, around: Surroundings) -> tuple[Tensor, Tensor | None]:
        """((l_edge + 1)^2, n_atoms, channels), and ((l_in + 1)^2, n_atoms, channels) or None.

        Parameters
        ----------
        features : ((l_in + 1)^2, n_atoms, channels) or None
        around : Surroundings
        """
        n_atoms, width, _ = around.harmonics.shape
        radial = (around.hidden @ self.radial).reshape(n_atoms, width, sum(self.n_radial), -1)
        directed, handing = torch.split(radial, self.n_radial, dim=2)
        handed = None
        if features is not None:
            sent = features.transpose(0, 1).index_select(0, around.senders).reshape(n_atoms, width, self.n_in, -1)
            shells = torch.split(sent, self.shells_in, dim=2)
            sent = torch.cat([h * q for h, q in zip(shells, torch.split(handing, 1, dim=2), strict=True)], dim=2)
            axial = (around.harmonics[:, :, : self.n_in, None] * sent).sum(2, keepdim=True)
            directed = directed * (axial * self.n_in**-0.5)
            handed = sent.sum(1).transpose(0, 1)
        shells = torch.split(around.harmonics, self.shells, dim=2)
        parts = [torch.bmm(y.transpose(1, 2), r) for y, r in zip(shells, torch.unbind(directed, 2), strict=True)]
        return torch.cat(parts, dim=1).transpose(0, 1), handed


class Layer(nn.Module):
    """Sum over neighbours, products of up to three, gate; the old features are added before it.

    Parameters
    ----------
    l_in : int
        -1: the features are scalars that neighbours do not hand on, for the first layer of a backbone without input.
    """

    def __init__(self, l_in: int, l_out: int, options: GauntOptions, elements: tuple[int, ...]) -> None:
        super().__init__()
        channels, l_edge, thin = options.channels, options.l_max_edge, options.product_channels
        self.hands_on = l_in >= 0
        self.l_out, self.n_edge, self.n_in = l_out, (l_edge + 1) ** 2, (max(l_in, 0) + 1) ** 2
        self.widths = [channels, thin, thin, thin]
        self.neighbours = NeighbourSum(l_in, l_edge, channels, options.radial_width)
        self.before = ComponentLinear(max(l_in, 0), channels, (3 if self.hands_on else 2) * channels)
        self.mixing = ComponentLinear(l_edge, channels, sum(self.widths))
        self.elements = elements
        self.element = nn.Parameter(1.0 + 0.3 * torch.randn(len(elements), channels))
        self.product = SphereProduct(l_edge, l_out)
        self.after = ComponentLinear(l_out, 2 * thin, channels)
        self.gates = nn.Linear(channels, (l_out + 1) * channels)
        self.l_of_component: Tensor
        self.register_buffer("l_of_component", degrees_of_components(l_out), persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        channels = range(self.gates.in_features)
        degrees = range(self.gates.out_features // len(channels))
        return {
            "element": (self.elements, range(self.element.shape[1])),
            "gates.weight": (degrees, channels, channels),
            "gates.bias": (degrees, channels),
        }

    def forward(
        self, features: Tensor, species: Tensor, around: Surroundings, scale: Tensor, l_max: int | None = None
    ) -> Tensor:
        """((l_out + 1)^2, n_atoms, channels), or the components up to ``l_max``."""
        l_out = self.l_out if l_max is None else min(l_max, self.l_out)
        n_out = (l_out + 1) ** 2
        kept, own, *sent = torch.chunk(self.before(features), 3 if self.hands_on else 2, dim=2)
        directed, handed = self.neighbours(sent[0] if sent else None, around)
        own = own if handed is None else own + handed * scale
        summed = directed * scale + widened(own, self.n_edge)
        mixed = self.mixing(summed * self.element.index_select(0, species))
        linear, *factors = torch.split(mixed, self.widths, dim=2)
        n_linear = min(n_out, max(self.n_edge, self.n_in))
        plain = widened(linear, n_linear) + widened(kept, n_linear)
        result = self.after(self.product(*factors, n_out)) + widened(plain, n_out)
        gates = torch.sigmoid(self.gates(result[0])).reshape(result.shape[1], -1, result.shape[2])
        gated: Tensor = result * gates.transpose(0, 1).index_select(0, self.l_of_component[:n_out])
        return gated
