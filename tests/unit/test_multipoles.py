"""Multipoles of atoms and their interaction against clouds of point charges and two-centre integrals."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import quadrupoles
from densnet_core.density.expansion import Expansion
from densnet_core.density.multipoles import Multipoles, atomic_multipoles, interactions
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.models.long_range import ONSET, _pairs, long_range_energy
from densnet_core.structures import Structure

SIZE = 1e-2
"""Bohr from the centre of a cloud to its charges."""


def traceless(generator: torch.Generator) -> Tensor:
    matrix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T
    return matrix - torch.eye(3) * matrix.trace() / 3


def cloud(charge: Tensor, dipole: Tensor, quadrupole: Tensor) -> tuple[Tensor, Tensor]:
    """Points and charges that have these multipoles."""
    points, charges = [torch.zeros(3, dtype=torch.float64)], [charge]
    for axis in range(3):
        step = torch.eye(3, dtype=torch.float64)[axis] * SIZE
        points += [step, -step]
        charges += [dipole[axis] / (2 * SIZE), -dipole[axis] / (2 * SIZE)]
    seconds, axes = torch.linalg.eigh(quadrupole / 1.5)  # second moments without a trace
    for second, axis in zip(seconds, axes.T, strict=True):
        points += [axis * SIZE, -axis * SIZE, torch.zeros(3, dtype=torch.float64)]
        charges += [second / (2 * SIZE**2), second / (2 * SIZE**2), -second / SIZE**2]
    return torch.stack(points), torch.stack(charges)


def test_point_multipoles_interact_as_clouds_of_charges_do():
    generator = torch.Generator().manual_seed(3)
    charges = torch.randn(2, generator=generator, dtype=torch.float64)
    dipoles = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    moments = torch.stack([traceless(generator), traceless(generator)])
    positions = torch.tensor([[0.0, 0.0, 0.0], [3.0, -2.0, 1.5]], dtype=torch.float64)
    found = interactions(Multipoles(charges, dipoles, moments), positions, torch.tensor([0]), torch.tensor([1]))
    clouds = [cloud(charges[i], dipoles[i], moments[i]) for i in range(2)]
    distances = torch.cdist(clouds[0][0] + positions[0], clouds[1][0] + positions[1])
    expected = (clouds[0][1][:, None] * clouds[1][1][None, :] / distances).sum()
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-4)  # the clouds are 1e-2 bohr large


def coefficients_of(functions: MolecularBasis, highest: int) -> Tensor:
    """Random ones, up to a degree."""
    values = torch.tensor(np.random.default_rng(1).normal(size=functions.n_functions) * 0.1)
    for group in functions.groups:
        if group.l > highest:
            values[group.functions.reshape(-1)] = 0.0
    return values


def test_the_multipoles_of_atoms_are_those_of_the_density():
    functions = MolecularBasis(basis_by_name("densnet-s"), [8, 1, 6])
    positions = torch.tensor(np.random.default_rng(2).normal(size=(3, 3)))
    coefficients = coefficients_of(functions, 4)
    own = atomic_multipoles(functions, coefficients)
    assert float(own.charges.sum()) == pytest.approx(-float(coefficients @ functions.electron_counts()))
    whole = -(coefficients[:, None] * functions.dipoles(positions)).sum(0)
    moved = (own.charges[:, None] * positions + own.dipoles).sum(0)
    np.testing.assert_allclose(moved, whole, atol=1e-12)
    # Dipoles and charges away from the origin have quadrupoles about it.
    outer = positions[:, :, None] * positions[:, None, :]
    mixed = own.dipoles[:, :, None] * positions[:, None, :]
    second = own.charges[:, None, None] * outer + mixed + mixed.transpose(1, 2)
    trace = second.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] * torch.eye(3)
    total = (own.quadrupoles + 1.5 * second - 0.5 * trace).sum(0)
    np.testing.assert_allclose(
        total, -(coefficients[:, None, None] * quadrupoles(functions, positions)).sum(0), atol=1e-12
    )


def test_at_a_distance_densities_up_to_d_interact_by_their_integrals():
    """Functions that hardly overlap: all that two-centre integrals know, to the last digits."""
    shells = {z: [[l_, [2.0, 4.0], [1.0, 0.3]] for l_ in range(3)] for z in (1, 8)}
    basis = GaussianBasis.from_dict({"name": "tight", "elements": shells})
    functions = MolecularBasis(basis, [8, 1])
    coefficients = coefficients_of(functions, 2)
    positions = torch.tensor([[0.0, 0.0, 0.0], [5.0, 4.0, -7.0]], dtype=torch.float64)
    matrix = two_center("coulomb", functions, positions)
    atoms = functions.function_atoms
    between = matrix * (atoms[:, None] < atoms[None, :])
    expected = float(coefficients @ between @ coefficients)
    own = atomic_multipoles(functions, coefficients)
    found = float(interactions(own, positions, torch.tensor([0]), torch.tensor([1]))[0])
    assert abs(expected) > 1e-5
    assert found == pytest.approx(expected, rel=1e-9)


HYDROXYL = Structure(np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.8]]), 0, 2)


def energy_at(distance: float, reach: float = 8.0) -> float:
    """Of an oxygen and a hydrogen, at a distance."""
    specification = DensitySpecification(basis_by_name("densnet-s"), "coulomb", (1, 8), states=((0, 2),))
    structure = HYDROXYL.with_positions(HYDROXYL.positions * distance / 1.8)
    graph = graph_of([structure, HYDROXYL])
    functions = MolecularBasis(specification.basis, [8, 1, 8, 1])
    energies = long_range_energy(graph, Expansion(coefficients_of(functions, 2)), specification, reach)
    assert float(energies[1]) == 0.0  # another molecule, and near
    return float(energies[0])


def test_the_interaction_is_switched_on_smoothly_and_is_whole_at_its_distance():
    reach = 8.0
    assert energy_at(ONSET * reach) == 0.0
    bare = energy_at(6.0, reach=6.0)
    assert bare != 0.0
    assert 0.0 < energy_at(6.0, reach) / bare < 1.0
    grid = np.linspace(0.9, 1.1, 201) * reach
    values = np.array([energy_at(r) for r in grid])
    slopes = np.diff(values, 2)
    assert max(abs(b - a) for a, b in pairwise(slopes)) < 0.1 * np.abs(slopes).max()


def test_a_cell_is_refused():
    graph = graph_of([HYDROXYL])
    periodic = replace(graph, cell=torch.eye(3)[None] * 20.0, shifts=torch.zeros((2, 3), dtype=torch.int64))
    specification = DensitySpecification(basis_by_name("densnet-s"), "coulomb", (1, 8), states=((0, 2),))
    functions = MolecularBasis(specification.basis, [8, 1])
    with pytest.raises(InputError, match="leave out the cell"):
        long_range_energy(periodic, Expansion(coefficients_of(functions, 2)), specification, 8.0)


def test_what_was_asked_without_gradients_can_be_differentiated_later():
    specification = DensitySpecification(basis_by_name("densnet-s"), "coulomb", (1, 8), states=((0, 2),))
    functions = MolecularBasis(specification.basis, [8, 1])
    expansion = Expansion(coefficients_of(functions, 2))
    _pairs.cache_clear()
    with torch.inference_mode():
        long_range_energy(graph_of([HYDROXYL]), expansion, specification, 1.5)
    graph = graph_of([HYDROXYL])
    positions = graph.positions.clone().requires_grad_()
    energy = long_range_energy(graph.with_positions(positions), expansion, specification, 1.5)
    (gradient,) = torch.autograd.grad(energy.sum(), positions)
    assert float(gradient.abs().max()) > 1e-6
