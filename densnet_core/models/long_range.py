"""The part of the energy that needs no learning: the Coulomb interaction of predicted densities that are far apart."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.multipoles import atomic_multipoles, interactions
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.graphs.pairs import all_pairs
from densnet_core.models.features import envelope

ONSET: Final = 0.5
"""Where the interaction begins to be switched on, in parts of the distance from which it is whole."""
DEGREE: Final = 2
"""Highest l of the coefficients that it reads."""


def long_range_energy(graph: Graph, density: Expansion, specification: DensitySpecification, distance: float) -> Tensor:
    """(n_molecules,) interaction of the charges, dipoles and quadrupoles of atoms that are far apart, hartree, float64.

    Each pair of atoms of a molecule counts with a weight that rises smoothly from zero at half of ``distance`` to one
    there, whatever the fragments; nearer pairs are the network's. It has pairs of its own, all of them.

    Parameters
    ----------
    density : Expansion
        The difference to superposed neutral atoms, with the coefficients up to l = 2.
    distance : float
        Bohr.

    Raises
    ------
    InputError
        The graph has a cell: the sum over images would have no meaning for densities of isolated molecules.
    """
    if graph.cell is not None:
        raise InputError("The interaction of distant densities is that of isolated molecules; leave out the cell.")
    functions = scaled_functions(functions_of(specification.basis, graph.numbers), density.scales)
    multipoles = atomic_multipoles(functions, density.coefficients)
    first, second = (end.to(graph.positions.device) for end in _pairs(tuple(graph.sizes.tolist())))
    vectors = graph.positions.index_select(0, first) - graph.positions.index_select(0, second)
    place = (torch.sqrt((vectors**2).sum(-1)) / distance - ONSET) / (1.0 - ONSET)
    weights = 1.0 - envelope(place.clamp(0.0, 1.0))
    energies = weights * interactions(multipoles, graph.positions, first, second)
    result = energies.new_zeros(graph.n_molecules)
    return result.index_add(0, graph.molecule.index_select(0, first), energies)


@lru_cache(maxsize=4)
def _pairs(sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Each pair of atoms of a molecule once."""
    senders, receivers = all_pairs(sizes)
    once = np.flatnonzero(senders < receivers)
    with torch.inference_mode(False):  # kept for calls that are differentiated
        return torch.tensor(senders[once]), torch.tensor(receivers[once])
