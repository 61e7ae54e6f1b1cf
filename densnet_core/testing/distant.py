"""What molecules that are far apart feel of each other, for the suites."""

from __future__ import annotations

import torch

from densnet_core.basis.integrals import two_center
from densnet_core.density.expansion import functions_of
from densnet_core.graphs.graph import graph_of
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.potentials.outputs import common_cutoff
from densnet_core.testing.comparisons import assert_close, assert_that
from densnet_core.testing.network_data import CATION, HYDROGEN_CYANIDE, HYDRONIUM, WATER, together
from densnet_core.testing.networks import energies_and_forces, reach_of, total_energy


def assert_coulomb_interaction(density: DensityModel, energy: EnergyModel) -> None:
    """What is left is that of the densities predicted of each alone, by two-centre integrals, and nothing else."""
    alone = [graph_of([part]) for part in (WATER, HYDROGEN_CYANIDE)]
    energies = [total_energy(energy, graph, density(graph)) for graph in alone]
    coefficients = [density(graph)["density"].detached().coefficients for graph in alone]
    functions = [functions_of(energy.specification.basis, graph.numbers) for graph in alone]
    errors = []
    for distance in (30.0, 60.0):
        both = graph_of([together(WATER, HYDROGEN_CYANIDE, distance, fragments=False)])
        left = float((total_energy(energy, both, density(both)) - energies[0] - energies[1]).detach())
        first, second = torch.split(both.positions, [graph.n_atoms for graph in alone])
        integrals = two_center("coulomb", functions[0], first, functions[1], second)
        expected = float(coefficients[0] @ integrals @ coefficients[1])
        assert_that(abs(expected) > 1e-9, f"The densities do not interact at {distance} bohr: {expected}.")
        errors.append(abs(left - expected) / abs(expected))
    assert_that(errors[0] < 0.05, f"What is left at 30 bohr is off by {errors[0]:.1%} of the interaction.")
    assert_that(errors[1] < 0.7 * errors[0], f"It does not become the interaction: off by {errors[1]:.1%} at 60 bohr.")


def assert_fragments_add_up(density: DensityModel, energy: EnergyModel, tolerance: float) -> None:
    """Neutral ones, and a neutral one beside an ion; with all pairs and with near ones."""
    cutoff = reach_of(common_cutoff(density, energy))
    cases = [(together(WATER, HYDROGEN_CYANIDE, cutoff + 0.5, fragments=False), WATER, HYDROGEN_CYANIDE)]
    if CATION in energy.specification.states:
        cases.append((together(WATER, HYDRONIUM, cutoff + 0.5), WATER, HYDRONIUM))
    for both, one, other in cases:
        alone = [energies_and_forces(density, energy, graph_of([part])) for part in (one, other)]
        for pairs in (None, cutoff):
            found, forces = energies_and_forces(density, energy, graph_of([both], pairs))
            what = f"{one.formula} and {other.formula} with charge {other.charge} beyond the cutoff"
            total = alone[0][0] + alone[1][0]
            assert_close(found, total, tolerance, f"The energy of {what}", relative=False)
            apart = torch.cat([alone[0][1], alone[1][1]])
            assert_close(forces, apart, tolerance, f"Forces on {what}", relative=False)
