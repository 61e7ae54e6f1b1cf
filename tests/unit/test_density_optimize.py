"""Optimised exponents: the residual is that of the fit, its gradient is exact, and known exponents are found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.fitting import fit_density
from densnet_core.density.optimize import ExponentOptimizer, TargetDensity, condition_number
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.workflow.bases import parse_shells

HYDROGEN = Structure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 1.4]]))
TRUE = {0: (0.35, 1.1, 4.0), 1: (0.9, 2.4)}


def target(seed: int = 0) -> TargetDensity:
    """A density made of known functions, so that a basis of as many shells can hold it exactly."""
    shells = [Shell(l_, (a,), (1.0,)) for l_, exponents in TRUE.items() for a in exponents]
    basis = GaussianBasis("true", {1: shells})
    coefficients = np.random.default_rng(seed).normal(size=basis.n_functions(HYDROGEN.numbers))
    return TargetDensity(HYDROGEN, basis, coefficients)


def test_the_residual_is_what_a_fit_in_the_same_basis_misses() -> None:
    wanted = target()
    optimizer = ExponentOptimizer([wanted], {1: (2, 1)})
    basis = optimizer.basis("now")
    functions, exact = MolecularBasis(basis, HYDROGEN.numbers), MolecularBasis(wanted.basis, HYDROGEN.numbers)
    positions, c = torch.tensor(HYDROGEN.positions), torch.tensor(wanted.coefficients)
    metric, cross = two_center("coulomb", functions, positions), two_center("coulomb", functions, positions, exact)
    fit = torch.tensor(fit_density(metric, cross @ c, functions.electron_counts()).coefficients)
    total = c @ two_center("coulomb", exact, positions) @ c
    missed = total - 2.0 * fit @ cross @ c + fit @ metric @ fit
    # the basis is rounded to five digits, the optimizer's exponents are not
    assert float(optimizer.residuals()[0].detach()) == pytest.approx(float(missed / total), rel=1e-3)


def test_the_gradient_in_the_exponents_is_exact() -> None:
    optimizer = ExponentOptimizer([target()], {1: (2, 1)})
    parameter = optimizer.parameters[1, 0].requires_grad_()
    (gradient,) = torch.autograd.grad(optimizer.residuals().sum(), parameter)
    for index in range(2):
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter[index] += step
                values.append(float(optimizer.residuals().sum()))
                parameter[index] -= step
        assert float(gradient[index]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_known_exponents_are_found_again() -> None:
    optimizer = ExponentOptimizer([target(0), target(1)], {1: (3, 2)})
    optimizer.run(200)
    assert float(optimizer.residuals().detach().max()) < 1e-6
    for l_, exponents in TRUE.items():
        np.testing.assert_allclose(optimizer.exponents(1, l_).detach(), exponents, rtol=0.02)
    assert condition_number(optimizer.basis("found"), HYDROGEN) < 1e6


def test_neighbouring_exponents_keep_their_distance() -> None:
    optimizer = ExponentOptimizer([target()], {1: (5, 2)})
    optimizer.run(30)
    ratios = optimizer.exponents(1, 0)[1:] / optimizer.exponents(1, 0)[:-1]
    assert bool((ratios >= 1.45 - 1e-12).all())


def test_shells_are_read_as_chemists_write_them() -> None:
    assert parse_shells("H=4s3p1d, O=8s6p4d3f1g") == {1: (4, 3, 1), 8: (8, 6, 4, 3, 1)}
    assert parse_shells("C=2s1d") == {6: (2, 0, 1)}
    for wrong in ("", "H", "H=4x", "H4s", "H=s"):
        with pytest.raises(InputError, match="expected for example"):
            parse_shells(wrong)


def test_an_element_without_shells_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[1\]"):
        ExponentOptimizer([target()], {8: (2,)})
