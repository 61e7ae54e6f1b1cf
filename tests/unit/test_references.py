"""Errors against reference densities with fixed and moving exponents, from independent integrals."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.basis.base import Metric
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import large_basis
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.projections import ScaledProjection
from densnet_core.density.expansion import Expansion, scaled_functions
from densnet_core.graphs.graph import graph_of
from densnet_core.structures import Structure
from densnet_core.training.density import DensityObjective
from densnet_core.training.terms import wanted_objectives

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

RANDOM = np.random.default_rng(12)
LARGE = large_basis(example.ELEMENTS)
STRUCTURES = [example.WATER, example.HYDROXIDE, example.WATER.with_positions(example.WATER.positions * 1.05)]
METRICS: tuple[Metric, ...] = ("coulomb", "overlap")


LABELS = [RANDOM.normal(scale=0.02, size=LARGE.n_functions(s.numbers)) for s in STRUCTURES]
FRAMES = Dataset(STRUCTURES, {"density": LABELS, "dipole": [np.ones(3)] * 3})


def error(index: int, metric: Metric, functions: MolecularBasis, coefficients: torch.Tensor) -> float:
    """The squared norm of predicted minus reference difference, in the union of both bases."""
    structure = STRUCTURES[index]
    positions, large = torch.tensor(structure.positions), MolecularBasis(LARGE, structure.numbers)
    between = two_center(metric, functions, positions, large, positions)
    blocks = [
        torch.cat([two_center(metric, functions, positions), between], 1),
        torch.cat([between.T, two_center(metric, large, positions)], 1),
    ]
    both = torch.cat([coefficients, -torch.tensor(LABELS[index])])
    return float(both @ torch.cat(blocks) @ both)


@pytest.mark.parametrize("metric", METRICS)
def test_errors_with_moving_exponents_are_norms_of_the_difference(metric: Metric) -> None:
    density, _ = example.make_models(largest_factor=1.8, metric=metric)
    references = FRAMES.references(density.specification)
    indices = [2, 1, 0]
    with torch.no_grad():
        predicted = density(graph_of([STRUCTURES[i] for i in indices]))["density"]
        norms = references.squared_errors(indices, predicted)
    assert predicted.scales is not None
    at_function, at_atom = 0, 0
    for place, index in enumerate(indices):
        functions = MolecularBasis(example.BASIS, STRUCTURES[index].numbers)
        own = scaled_functions(functions, predicted.scales[at_atom : at_atom + functions.n_atoms])
        coefficients = predicted.coefficients[at_function : at_function + functions.n_functions]
        at_atom, at_function = at_atom + functions.n_atoms, at_function + functions.n_functions
        assert float(norms[place]) == pytest.approx(error(index, metric, own, coefficients), rel=1e-9)


@pytest.mark.parametrize("factor", [1.2, 2.0])
def test_the_series_of_projections_is_exact_between_its_nodes(factor: float) -> None:
    structure = example.FORMALDEHYDE
    functions, large = (MolecularBasis(basis, structure.numbers) for basis in (example.BASIS, LARGE))
    positions = torch.tensor(structure.positions)
    label = torch.tensor(RANDOM.normal(size=large.n_functions))

    def exact(scales: torch.Tensor) -> torch.Tensor:
        return two_center("coulomb", functions.scaled(scales), positions, large, positions) @ label

    nodes = ScaledProjection.nodes(factor)[:, None, None].expand(-1, functions.n_atoms, 1)
    series = ScaledProjection(functions, exact(nodes), factor)
    bound = np.log(factor)
    scales = torch.tensor(np.exp(RANDOM.uniform(-bound, bound, size=(functions.n_atoms, 5)))).requires_grad_()
    found, expected = series(scales), exact(scales)
    weights = torch.tensor(RANDOM.normal(size=functions.n_functions))
    (slope,) = torch.autograd.grad(found @ weights, scales)
    (wanted,) = torch.autograd.grad(expected @ weights, scales)
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=0, atol=1e-12 * largest)
    torch.testing.assert_close(slope, wanted, rtol=1e-9, atol=1e-10 * float(wanted.abs().max()))


def test_the_gradient_of_the_loss_in_the_exponents_is_right() -> None:
    density, _ = example.make_models(largest_factor=1.5)
    objective = DensityObjective(density, FRAMES, wanted_objectives("density", {}), batch_size=3, seed=0)
    objective.step(0)[0].backward()
    step = 1e-5
    for parameter in (density.exponent_head, density.exponent_bias):
        assert parameter is not None
        assert parameter.grad is not None
        place = int(parameter.grad.abs().argmax())
        flat = parameter.data.view(-1)
        values = []
        for sign in (1, -1):
            flat[place] += sign * step
            values.append(float(objective.step(0)[0].detach()))
            flat[place] -= sign * step
        expected = (values[0] - values[1]) / (2 * step)
        assert float(parameter.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-6)


def test_training_starts_from_the_best_fits_with_the_exponents_of_the_basis() -> None:
    """No step that keeps charge and dipole is downhill, and both are right."""
    references = FRAMES.references(example.specification(largest_factor=1.5))
    for index, structure in enumerate(STRUCTURES):
        coefficients, functions = references.coefficients(index), references.functions(index)
        counts = functions.electron_counts()
        assert float(counts @ coefficients) == pytest.approx(-structure.charge, abs=1e-10)
        moments = functions.dipoles(references.positions(index))
        large = MolecularBasis(LARGE, structure.numbers).dipoles(references.positions(index))
        torch.testing.assert_close(coefficients @ moments, torch.tensor(LABELS[index]) @ large, rtol=0, atol=1e-9)
        best = error(index, "coulomb", functions, coefficients)
        held = torch.cat([counts[:, None], moments], dim=1)
        away = torch.tensor(RANDOM.normal(size=len(coefficients)))
        away -= held @ torch.linalg.lstsq(held, away[:, None]).solution[:, 0]
        for sign in (1, -1):
            assert error(index, "coulomb", functions, coefficients + sign * 1e-3 * away) > best


def test_no_density_at_all_is_wrong_by_the_references_in_the_large_set() -> None:
    references = FRAMES.references(example.specification(largest_factor=1.5))
    norms = []
    for index, structure in enumerate(STRUCTURES):
        functions, label = MolecularBasis(LARGE, structure.numbers), torch.tensor(LABELS[index])
        norms.append(float(label @ two_center("coulomb", functions, references.positions(index)) @ label))
    everything = range(len(STRUCTURES))
    nothing = torch.zeros(sum(references.functions(i).n_functions for i in everything), dtype=torch.float64)
    scales = torch.ones((sum(s.n_atoms for s in STRUCTURES), 5), dtype=torch.float64)
    errors = references.squared_errors(list(everything), Expansion(nothing, scales))
    assert errors.tolist() == pytest.approx(norms, rel=1e-12)
    assert float(errors.mean()) == pytest.approx(sum(norms) / len(norms), rel=1e-12)


def test_moving_exponents_represent_what_fixed_ones_cannot() -> None:
    """A reference made of functions with other exponents: gradient descent over the factors finds them."""
    structure = Structure(np.array([1]), np.zeros((1, 3)), 0, 2)
    basis = example.BASIS.restricted_to([1])
    functions = MolecularBasis(basis, [1])
    truth = torch.tensor([[1.3, 0.8]]).double()
    coefficients = torch.tensor(RANDOM.normal(size=functions.n_functions))
    large = MolecularBasis(large_basis([1]), [1])
    origin = torch.zeros((1, 3), dtype=torch.float64)
    target = functions.scaled(truth)
    label = torch.linalg.solve(
        two_center("coulomb", large, origin), two_center("coulomb", large, origin, target, origin) @ coefficients
    )
    specification = type(example.specification())(basis, "coulomb", (1,), 1.5)
    references = Dataset([structure], {"density": [label.numpy()]}).references(specification)
    found = torch.ones_like(truth).requires_grad_()
    vector = coefficients.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([found, vector], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = references.squared_errors([0], Expansion(vector, found)).sum()
        loss.backward()
        return loss

    before = float(closure().detach())
    optimizer.step(closure)
    assert float(closure().detach()) < 1e-3 * before
    torch.testing.assert_close(found.detach(), truth, rtol=0, atol=0.03)
