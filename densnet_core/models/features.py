"""What equivariant backbones are made of: components of features, maps of channels, harmonics, radial functions."""

from __future__ import annotations

from functools import cache
from math import pi, sqrt

import torch
from torch import Tensor, nn

from densnet_core.basis.conventions import to_magnetic_order
from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.datasets.dataset import Dataset
from densnet_core.elements import refuse_unknown
from densnet_core.models.adoption import Axes


def degrees_of_components(l_max: int) -> Tensor:
    """((l_max + 1)^2,) angular momentum of each component of features."""
    momenta = torch.arange(l_max + 1)
    return momenta.repeat_interleave(2 * momenta + 1)


def species_of(numbers: Tensor, elements: tuple[int, ...]) -> Tensor:
    """(n_atoms,) index of each atomic number among ``elements``.

    Raises
    ------
    InputError
        Naming the elements that are not covered. Not checked where a compiler hands in numbers without values.
    """
    if type(numbers) is not Tensor or torch.compiler.is_compiling():
        return _places(elements, numbers.device)[numbers]
    refuse_unknown("The model", numbers.tolist(), elements)
    return _kept_places(elements, numbers.device)[numbers]


def _places(elements: tuple[int, ...], device: torch.device) -> Tensor:
    """(128,) place of every atomic number among ``elements``, -1 for those that are not."""
    table = torch.full((128,), -1, dtype=torch.long, device=device)
    for index, z in enumerate(elements):
        table[z] = index
    return table


@cache
def _kept_places(elements: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return _places(elements, device)


def own_element(values: Tensor, species: Tensor, n_elements: int) -> Tensor:
    """(components, n_atoms, width) of values (components, n_atoms, n_elements * width) that each element would have."""
    components, n_atoms, _ = values.shape
    rows = torch.arange(n_atoms, device=species.device) * n_elements + species
    return values.reshape(components, n_atoms * n_elements, -1).index_select(1, rows)


class ComponentLinear(nn.Module):
    """Mixes channels with one matrix per angular momentum: (components, n_atoms, channels), the first or all."""

    def __init__(self, l_max: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(l_max + 1, channels_in, channels_out) / sqrt(channels_in))
        self.l_of_component: Tensor
        self.register_buffer("l_of_component", degrees_of_components(l_max), persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        return {"weight": tuple(range(n) for n in self.weight.shape)}

    def forward(self, features: Tensor) -> Tensor:
        return torch.bmm(features, self.weight.index_select(0, self.l_of_component[: features.shape[0]]))


@cache
def _magnetic_axes(device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.as_tensor(to_magnetic_order(1), device=device)


def harmonics(directions: Tensor, l_max: int) -> Tensor:
    """(..., (l_max + 1)^2) sqrt(4 pi) Y_lm of unit vectors (..., 3), magnetic order: squares over m add to 2l + 1."""
    shells = solid_harmonics(directions, l_max)
    if l_max > 0:  # the only degree whose orders differ
        shells[1] = shells[1].index_select(-1, _magnetic_axes(directions.device))
    return torch.cat(shells, dim=-1) * sqrt(4.0 * pi)


def envelope(x: Tensor) -> Tensor:
    """1 - 28 x^6 + 48 x^7 - 21 x^8 of distances in units of the cutoff: it and two derivatives vanish at one.

    Gasteiger et al., arXiv 2003.03123, eq. 8, with p = 6.
    """
    cube = x * x * x
    return 1.0 - cube * cube * (28.0 - x * (48.0 - 21.0 * x))


class RadialBasis(nn.Module):
    """sqrt(2) sin(k pi x) / x times the envelope, k = 1..number: Bessel functions of the distance in cutoffs.

    Gasteiger et al., arXiv 2003.03123, eq. 7.

    Parameters
    ----------
    number : int
    cutoff : float
        Bohr.
    """

    def __init__(self, number: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.frequencies: Tensor
        frequencies = torch.arange(1, number + 1, dtype=torch.float64) * pi
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """(..., number) functions of distances (...) in bohr; zero from the cutoff on."""
        x = (distances / self.cutoff).clamp(max=1.0)[..., None]
        return sqrt(2.0) * torch.sin(x * self.frequencies.to(x.dtype)) / x * envelope(x)

    def neighbours(self, dataset: Dataset) -> float:
        """The effective number of neighbours in a data set, by which sums over neighbours are normalised.

        It is the mean over the atoms of the sum, over their neighbours, of the mean square of the functions: the
        variance that random weights would give the sum.
        """
        total, atoms = 0.0, 0
        for portion in dataset.portions():
            graph = dataset.graph(portion, self.cutoff)
            distances = torch.sqrt((graph.pair_vectors**2).sum(-1))
            total += float((self(distances) ** 2).mean(-1).sum())
            atoms += graph.n_atoms
        return total / atoms
