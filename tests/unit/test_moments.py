"""Second moments of the functions against quadrature, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import quadrupoles, second_moments, traceless
from densnet_core.density.quadrature import quadrature
from densnet_core.structures import Structure

BASIS = GaussianBasis(
    "mixed",
    {
        1: [Shell(0, (4.0, 0.6), (0.3, 0.5)), Shell(2, (0.9,), (1.0,)), Shell(1, (1.4, 0.5), (0.4, 0.8))],
        8: [Shell(2, (2.0, 0.7), (0.6, 0.5)), Shell(0, (1.5,), (1.0,)), Shell(3, (0.8,), (1.0,))],
    },
)
NUMBERS = [8, 1, 1]
POSITIONS = torch.tensor([[0.3, -0.2, 0.5], [1.5, 0.9, -0.7], [-1.3, 0.8, 0.1]], dtype=torch.float64)
FUNCTIONS = MolecularBasis(BASIS, NUMBERS)


def test_second_moments_are_those_of_the_values() -> None:
    """Each function on a quadrature around its own atom alone, which is exact for the angles."""
    found = second_moments(FUNCTIONS, POSITIONS).numpy()
    for atom in range(3):
        points, weights = quadrature(
            Structure(np.array([2]), POSITIONS.numpy()[atom : atom + 1]), n_radial=90, degree=17
        )
        values = FUNCTIONS.evaluate(POSITIONS, torch.tensor(points)).numpy()
        expected = np.einsum("p,pf,pi,pj->fij", weights, values, points, points, optimize=True)
        own = FUNCTIONS.function_atoms.numpy() == atom
        np.testing.assert_allclose(found[own], expected[own], atol=1e-9)


def test_quadrupoles_have_no_trace_and_follow_buckingham() -> None:
    found = quadrupoles(FUNCTIONS, POSITIONS)
    assert float(found.diagonal(dim1=-2, dim2=-1).sum(-1).abs().max()) < 1e-13
    # a unit charge at z = 2: theta_zz = z^2, theta_xx = theta_yy = -z^2 / 2
    moments = torch.zeros((3, 3), dtype=torch.float64)
    moments[2, 2] = 4.0
    torch.testing.assert_close(traceless(moments), torch.diag(torch.tensor([-2.0, -2.0, 4.0], dtype=torch.float64)))


def test_a_batch_of_geometries_is_one_after_the_other() -> None:
    batch = torch.stack([POSITIONS, POSITIONS.flip(0), 2.0 * POSITIONS])
    together = second_moments(FUNCTIONS, batch)
    for single, positions in zip(together, batch, strict=True):
        torch.testing.assert_close(single, second_moments(FUNCTIONS, positions), rtol=1e-14, atol=1e-14)


def test_derivatives_with_respect_to_positions_and_exponents() -> None:
    def function(positions: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        return second_moments(FUNCTIONS.scaled(factors), positions)

    factors = torch.tensor([1.1, 0.8, 1.3], dtype=torch.float64, requires_grad=True)
    positions = POSITIONS.clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (positions, factors))
    assert torch.autograd.gradgradcheck(function, (positions, factors))


def test_a_batch_of_exponents() -> None:
    factors = torch.tensor([[1.1, 0.8, 1.3], [0.9, 1.0, 1.2]], dtype=torch.float64)
    together = second_moments(FUNCTIONS.scaled(factors[..., None]), POSITIONS)
    for single, own in zip(together, factors, strict=True):
        torch.testing.assert_close(single, second_moments(FUNCTIONS.scaled(own), POSITIONS))


def test_single_precision() -> None:
    single = second_moments(MolecularBasis(BASIS, NUMBERS, torch.float32), POSITIONS.float())
    assert single.dtype is torch.float32
    torch.testing.assert_close(single.double(), second_moments(FUNCTIONS, POSITIONS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 3, 4, 5])
def test_functions_of_other_degrees_have_no_second_moments_of_their_own(degree: int) -> None:
    single = MolecularBasis(GaussianBasis("one", {1: [Shell(degree, (0.7,), (1.0,))]}), [1])
    at_origin = second_moments(single, torch.zeros((1, 3), dtype=torch.float64))
    assert not at_origin.any()
