"""The label ``traceless_quadrupole``: from a finished calculation, and from predicted densities.

Theta_ij = 1/2 sum q (3 r_i r_j - r^2 delta_ij) (Buckingham, Adv. Chem. Phys. 12, 107, 1967) of nuclei and electrons, r
measured from the centre of the nuclear charge: then it does not depend on where the molecule stands.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from densnet_core.basis.moments import quadrupoles
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.expansion import Expansion, functions_of, scaled_functions
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.reference.base import ReferenceResult
from densnet_core.structures import Structure
from numpy.typing import NDArray
from torch import Tensor


def from_calculation(structure: Structure, result: ReferenceResult, density: OrbitalDensity) -> NDArray[np.float64]:
    """(3, 3) e bohr^2, by quadrature of the orbitals' density."""
    return density.quadrupole(structure.numbers @ structure.positions / structure.numbers.sum())


def from_densities(graph: Graph, densities: Mapping[str, Expansion], specification: DensitySpecification) -> Tensor:
    """(n_molecules, 3, 3) e bohr^2, analytic and differentiable.

    Superposed atoms are neutral and spherical and have no traceless moments, wherever they are: the difference that the
    model predicts is all there is. Electrons are negative.
    """
    difference = densities["density"]
    functions = scaled_functions(functions_of(specification.basis, graph.numbers), difference.scales)
    charges = graph.numbers.to(graph.positions.dtype)
    weighted = graph.sum_over_molecules(charges[:, None] * graph.positions)
    centres = weighted / graph.sum_over_molecules(charges)[:, None]
    moments = quadrupoles(functions, graph.positions - centres[graph.molecule])
    values = -difference.coefficients[:, None, None] * moments
    result = torch.zeros((graph.n_molecules, 3, 3), dtype=values.dtype, device=values.device)
    return result.index_add(0, graph.molecule[functions.function_atoms], values)
