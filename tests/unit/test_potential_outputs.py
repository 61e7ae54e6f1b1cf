"""The named outputs of a model against integrals over its density on a grid."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.expansion import scaled_functions
from densnet_core.density.quadrature import quadrature
from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Array, Structure

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import SMALL
from training_parallel import CHOICE, PRIOR

STRUCTURES = [example.WATER, example.HYDROXIDE, example.CARBON]


@cache
def model(largest_factor: float) -> DenSNet:
    networks = example.make_models(options=SMALL, largest_factor=largest_factor)
    return DenSNet(*networks, PRIOR, CHOICE, CHOICE, {})


def on_a_grid(structure: Structure, coefficients: Array, scales: Array | None) -> tuple[Array, Array]:
    """Charge of every atom's own functions and the dipole moment of all, by quadrature."""
    functions = MolecularBasis(example.BASIS, structure.numbers)
    functions = scaled_functions(functions, None if scales is None else torch.tensor(scales))
    positions = torch.tensor(structure.positions)
    points, weights = quadrature(structure)
    charges, dipole = [], np.zeros(3)
    for atom in range(structure.n_atoms):
        own = torch.tensor(coefficients) * (functions.function_atoms == atom)
        values = weights * functions.density(positions, own, torch.tensor(points)).numpy()
        charges.append(-values.sum())
        dipole -= values @ points
    return np.array(charges), dipole


@pytest.mark.parametrize("largest_factor", [1.0, 1.5], ids=["fixed exponents", "moving exponents"])
def test_charges_and_dipoles_are_integrals_of_the_density_that_the_coefficients_give(largest_factor: float) -> None:
    potential = model(largest_factor)
    graph = graph_of(STRUCTURES)
    found = potential.evaluate(graph, ["charges", "coefficients", "dipole"])
    assert list(found) == ["charges", "coefficients", "dipole"]
    scales = potential.density(graph)["density"].scales
    sizes = [example.BASIS.n_functions(s.numbers) for s in STRUCTURES]
    coefficients = torch.split(found["coefficients"], sizes)
    charges = torch.split(found["charges"], [s.n_atoms for s in STRUCTURES])
    factors = [None] * 3 if scales is None else [one.numpy() for one in torch.split(scales, [3, 2, 1])]
    for structure, own, c, factor, moment in zip(
        STRUCTURES, charges, coefficients, factors, found["dipole"].numpy(), strict=True
    ):
        expected, dipole = on_a_grid(structure, c.numpy(), factor)
        np.testing.assert_allclose(own.numpy(), expected, atol=2e-4)
        np.testing.assert_allclose(moment, dipole, atol=1e-3)
        assert float(own.sum()) == pytest.approx(structure.charge, abs=1e-9)
    assert float(charges[0].abs().max()) > 0.01


@pytest.mark.parametrize("largest_factor", [1.0, 1.5], ids=["fixed exponents", "moving exponents"])
def test_predictions_hold_the_density_of_the_same_coefficients(largest_factor: float) -> None:
    potential = model(largest_factor)
    found = potential.evaluate(graph_of(STRUCTURES), ["coefficients", "energy", "forces", "dipole"])
    predictions = potential.predict(STRUCTURES)
    np.testing.assert_allclose(np.concatenate([p.density.coefficients for p in predictions]), found["coefficients"])
    np.testing.assert_allclose([p.energy for p in predictions], found["energy"], atol=1e-10)
    np.testing.assert_allclose(np.concatenate([p.forces for p in predictions]), found["forces"], atol=1e-10)
    np.testing.assert_allclose([p.dipole for p in predictions], found["dipole"], atol=1e-10)


def test_an_output_that_needs_a_density_that_nobody_predicts_is_refused() -> None:
    potential = model(1.0)
    assert "polarizability" not in potential.outputs
    with pytest.raises(InputError, match="does not give 'polarizability'"):
        potential.evaluate(graph_of(STRUCTURES), ["polarizability"])
    with pytest.raises(InputError, match=r"does not give 'charge'.*charges"):
        potential.evaluate(graph_of(STRUCTURES), ["charge"])
