"""Equivariant features of atoms from their bonds: what all models of this package stand on.

Tensors of one angular momentum l are (n_atoms, 2 l + 1, channels), in DenSNet's own order of harmonics ("core order":
x, y, z for l = 1, m = -l..l otherwise), kept in lists with one entry for each l = 0, 1, ...
"""

from __future__ import annotations

from math import pi, sqrt

import torch
from densnet_core.basis.conventions import to_magnetic_order
from densnet_core.basis.harmonics import gaunt, solid_harmonics
from densnet_core.graphs.graph import Graph
from densnet_core.units import BOHR_TO_ANGSTROM
from torch import Tensor, nn

from densnet_bonds.config import BondsOptions


class Bonds:
    """The pairs of a graph within a cutoff, as directions and radial functions.

    Parameters
    ----------
    graph : Graph
    cutoff : float
        Bohr.
    n_radial : int
    dtype : torch.dtype
        Precision of the results. Pair vectors are rounded to it, never positions: a molecule far from the origin would
        lose digits.

    Attributes
    ----------
    directions : (n_pairs, 3)
        Unit vectors from receiver to sender.
    radial : (n_pairs, n_radial)
        sin(k pi x) times an envelope, with x the distance over the cutoff.
    """

    def __init__(self, graph: Graph, cutoff: float, n_radial: int, dtype: torch.dtype) -> None:
        vectors = graph.pair_vectors.to(dtype)
        distances = torch.sqrt((vectors**2).sum(-1, keepdim=True))
        self.directions = vectors / distances
        # Clamped, because pairs beyond the cutoff may be there; the envelope makes them exactly zero. It takes two
        # derivatives to zero with it, so forces and their slopes have no step.
        x = (distances / cutoff).clamp(max=1.0)
        envelope = 1.0 - 10.0 * x**3 + 15.0 * x**4 - 6.0 * x**5
        waves = torch.arange(1, n_radial + 1, dtype=dtype, device=vectors.device) * pi
        self.radial = sqrt(2.0) * torch.sin(x * waves) * envelope


class BondFeatures(nn.Module):
    """Scalars and tensors of every atom, of body order three, then a small network on the invariants.

    A_l = sum_B R_l(r_AB) Y_l(direction of B), where R depends on both elements;
    scalars = network of the invariants A_0 and A_l . A_l and of the element;
    B_0 = g_0(scalars) and B_l = g_l(scalars) (A_l + [A_1 x A_(l-1)]_l), with gates g near one at first: the product has
    the angles between bonds.

    Parameters
    ----------
    n_elements : int
    l_max : int
        At least one.
    options : BondsOptions
    """

    def __init__(self, n_elements: int, l_max: int, options: BondsOptions) -> None:
        super().__init__()
        self.n_elements, self.l_max, self.n_radial = n_elements, l_max, options.radial_functions
        self.cutoff = options.cutoff_angstrom / BOHR_TO_ANGSTROM
        channels, width, rows = options.channels, options.hidden_width, n_elements * options.radial_functions
        self.weights = nn.Parameter(torch.randn(n_elements, l_max + 1, rows, channels) * self.n_radial**-0.5)
        self.element = nn.Parameter(torch.randn(n_elements, width))
        self.first = nn.Linear((l_max + 1) * channels, width)
        self.second = nn.Linear(width, width)
        self.gates = nn.Linear(width, (l_max + 1) * channels)
        for l_ in range(1, l_max + 1):  # tables, not weights: they need not be saved, and stay in float64
            coupling = gaunt(1, l_ - 1, l_) / sqrt((gaunt(1, l_ - 1, l_) ** 2).sum() / (2 * l_ + 1))
            self.register_buffer(f"coupling_{l_}", torch.tensor(coupling), persistent=False)

    def forward(self, graph: Graph, species: Tensor) -> tuple[Bonds, Tensor, list[Tensor]]:
        """The bonds, scalars (n_atoms, hidden_width) and tensors B_l, in the precision of the parameters.

        Parameters
        ----------
        graph : Graph
        species : (n_atoms,) int64
            Index of each atom's element.
        """
        dtype = self.weights.dtype
        bonds = Bonds(graph, self.cutoff, self.n_radial, dtype)
        sums = self._sums(graph, species, bonds)
        norms = [(a**2).mean(1) for a in sums[1:]]
        invariants = torch.cat([sums[0][:, 0], *norms], dim=1)
        hidden = nn.functional.silu(self.first(invariants) + self.element[species])
        scalars = nn.functional.silu(self.second(hidden))
        gates = torch.split(1.0 + self.gates(scalars)[:, None], sums[0].shape[-1], dim=-1)
        tensors = [gates[0]]
        for l_ in range(1, self.l_max + 1):
            coupling = getattr(self, f"coupling_{l_}").to(dtype)
            product = torch.einsum("axc,amc,xmn->anc", sums[1], sums[l_ - 1], coupling)
            tensors.append(gates[l_] * (sums[l_] + product))
        return bonds, scalars, tensors

    def _sums(self, graph: Graph, species: Tensor, bonds: Bonds) -> list[Tensor]:
        """A_l. Neighbours of one element are summed first, and weighted on the atom: atoms are fewer than bonds."""
        places = graph.receivers * self.n_elements + species[graph.senders]
        weights, result = self.weights[species], []
        for l_, harmonics in enumerate(solid_harmonics(bonds.directions, self.l_max)):
            terms = bonds.radial[:, :, None] * harmonics[:, None, :] * sqrt(4.0 * pi)  # components of size one
            sums = terms.new_zeros((graph.n_atoms * self.n_elements, *terms.shape[1:])).index_add(0, places, terms)
            sums = sums.reshape(graph.n_atoms, -1, 2 * l_ + 1)
            result.append(torch.einsum("akm,akc->amc", sums, weights[:, l_]))
        return result


def in_layout_order(tensors: list[Tensor]) -> Tensor:
    """((l_max + 1)^2, n_atoms, width) amplitudes as a ``CoefficientLayout`` wants them, from one tensor for each l."""
    return torch.cat([one[:, to_magnetic_order(l_)] for l_, one in enumerate(tensors)], dim=1).transpose(0, 1)
