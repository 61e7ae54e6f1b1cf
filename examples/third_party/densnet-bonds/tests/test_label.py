"""The label, from calculations and from densities, against moments that other programs and formulas give."""

import numpy as np
import pytest
import torch
from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.expansion import Expansion, functions_of
from densnet_core.density.quadrature import quadrature
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import graph_of
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_pyscf.backend import PySCFBackend

from densnet_bonds.label import from_calculation, from_densities

WATER = Structure(np.array([8, 1, 1]), np.array([[0.1, 0.0, 0.2], [1.5, 0.3, 1.2], [-1.3, 0.2, 1.4]]))
HYDROXIDE = Structure(np.array([8, 1]), np.array([[0.0, 0.2, 0.0], [0.3, 0.1, 1.8]]), charge=-1)
BASIS = GaussianBasis(
    "small",
    {
        1: (Shell(0, (0.6,), (1.0,)), Shell(1, (0.7,), (1.0,))),
        8: (Shell(0, (0.9,), (1.0,)), Shell(1, (0.8,), (1.0,)), Shell(2, (0.7,), (1.0,))),
    },
)


def traceless(moments: np.ndarray) -> np.ndarray:
    return 1.5 * moments - 0.5 * np.trace(moments) * np.eye(3)


@pytest.mark.parametrize("structure", [WATER, HYDROXIDE])
def test_the_label_of_a_calculation_is_what_pyscf_says(structure: Structure) -> None:
    """PySCF's analytic second moments about the origin, moved to the centre of the nuclear charge."""
    backend = PySCFBackend(LevelOfTheory("HF", "6-31G"))
    result = backend.compute(structure, ("quadrupole",))
    basis = backend.orbital_basis(structure.numbers)
    found = from_calculation(structure, result, OrbitalDensity(structure, basis, result.orbitals, result.occupations))
    centre = structure.numbers @ structure.positions / structure.numbers.sum()
    shift = np.outer(centre, result.dipole)
    about_centre = result.quadrupole - shift - shift.T + structure.charge * np.outer(centre, centre)
    assert np.abs(found).max() > 0.5
    assert found == pytest.approx(traceless(about_centre), abs=2e-4)


def test_the_label_of_densities_is_that_of_their_values() -> None:
    """Sum over the points of a quadrature; several molecules, an ion among them, and far from the origin."""
    molecules = [WATER, HYDROXIDE, WATER.with_positions(WATER.positions + 30.0)]
    specification = DensitySpecification(BASIS, "coulomb", (1, 8))
    graph = graph_of(molecules)
    functions = functions_of(BASIS, graph.numbers)
    random = np.random.default_rng(0).normal(size=functions.n_functions)
    found = from_densities(graph, {"density": Expansion(torch.tensor(random))}, specification)
    start = 0
    for structure, one in zip(molecules, found.numpy(), strict=True):
        own = functions_of(BASIS, torch.tensor(structure.numbers))
        coefficients = torch.tensor(random[start : start + own.n_functions])
        start += own.n_functions
        points, weights = quadrature(structure)
        values = own.density(torch.tensor(structure.positions), coefficients, torch.tensor(points)).numpy()
        arms = points - structure.numbers @ structure.positions / structure.numbers.sum()
        expected = traceless(-np.einsum("p,pi,pj->ij", weights * values, arms, arms))
        assert one == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())
