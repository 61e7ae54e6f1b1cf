"""Observables that follow from predicted densities by closed formulas: batched, differentiable, exportable.

The superposed atoms are neutral and spherical, so they have no dipole moment and no traceless multipoles: the
coefficients of the difference are enough.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph


def dipole(graph: Graph, densities: Mapping[str, Expansion], specification: DensitySpecification) -> Tensor:
    """(n_molecules, 3) electric dipole moments, e bohr; of a charged molecule about the origin."""
    return -_first_moments(graph, densities["density"], specification)


def polarizability(graph: Graph, densities: Mapping[str, Expansion], specification: DensitySpecification) -> Tensor:
    """(n_molecules, 3, 3) d dipole_a / d F_b, bohr^3, of the response of the density to the field F."""
    return -_first_moments(graph, densities["density_response"], specification).movedim(0, -1)


def charges(graph: Graph, densities: Mapping[str, Expansion], specification: DensitySpecification) -> Tensor:
    """(n_atoms,) charge of each nucleus and of the functions on it, e; those of a molecule add up to its charge."""
    functions, expansion = functions_of(specification.basis, graph.numbers), densities["density"]
    counts = scaled_functions(functions, expansion.scales).electron_counts()
    values = expansion.coefficients * counts
    return -values.new_zeros(graph.n_atoms).index_add(0, functions.function_atoms, values)


def _first_moments(graph: Graph, expansion: Expansion, specification: DensitySpecification) -> Tensor:
    """(..., n_molecules, 3) integrals of r times densities (..., n_functions)."""
    functions = functions_of(specification.basis, graph.numbers)
    moments = scaled_functions(functions, expansion.scales).dipoles(graph.positions)
    values = expansion.coefficients[..., None] * moments
    owner = graph.molecule[functions.function_atoms]
    result = values.new_zeros((*values.shape[:-2], graph.n_molecules, 3))
    return torch.index_add(result, -2, owner, values)
