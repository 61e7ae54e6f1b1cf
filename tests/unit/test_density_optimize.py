"""Optimised contractions: the loss is the NMAE of the fit, its gradient is exact, known functions are found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import large_basis
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import moment_constraints
from densnet_core.density.contraction import PrimitiveLayout, primitive_exponents
from densnet_core.density.fitting import fit_density
from densnet_core.density.optimize import ContractionOptimizer, TargetDensity, condition_number
from densnet_core.density.quadrature import quadrature
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.workflow.bases import parse_shells

HYDROGEN = Structure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 1.4]]))
PRIMITIVES = GaussianBasis(
    "primitives",
    {1: [Shell(0, (a,), (1.0,)) for a in (0.1, 0.3, 0.9, 2.7)] + [Shell(1, (a,), (1.0,)) for a in (0.3, 0.9, 2.7)]},
)
TRUE = GaussianBasis(
    "true",
    {
        1: [
            Shell(0, (2.7, 0.9, 0.3), (0.2, 0.5, 0.4)),
            Shell(0, (0.3, 0.1), (1.0, -0.6)),
            Shell(1, (2.7, 0.9, 0.3), (0.3, 0.5, 0.3)),
        ]
    },
)


def target(seed: int) -> TargetDensity:
    """A neutral difference density made of known contracted functions, so that a basis of as many can hold it."""
    return held_by(TRUE, PRIMITIVES, HYDROGEN, seed)


def held_by(true: GaussianBasis, given: GaussianBasis, molecule: Structure, seed: int) -> TargetDensity:
    """A neutral density at random in the functions of one basis, as a fit in another meets it."""
    numbers, positions = molecule.numbers, torch.tensor(molecule.positions)
    exact, functions = MolecularBasis(true, numbers), MolecularBasis(given, numbers)
    coefficients = torch.tensor(np.random.default_rng(seed).normal(size=exact.n_functions))
    counts = exact.electron_counts()
    coefficients -= counts * (counts @ coefficients) / (counts @ counts)
    projection = two_center("coulomb", functions, positions, exact, positions) @ coefficients
    points, weights = quadrature(molecule, 20, 11)
    values = exact.density(positions, coefficients, torch.tensor(points))
    return TargetDensity(molecule, given, projection.numpy(), points, weights, values.numpy())


def test_the_loss_is_the_nmae_of_the_constrained_fit_in_the_basis() -> None:
    wanted = target(0)
    optimizer = ContractionOptimizer([wanted], {1: (1, 1)})
    functions, positions = MolecularBasis(optimizer.basis("now"), [1, 1]), torch.tensor(HYDROGEN.positions)
    primitives = MolecularBasis(PRIMITIVES, [1, 1])
    # the right-hand side by way of the expansion in the primitives
    metric = two_center("coulomb", primitives, positions)
    expansion = torch.linalg.solve(metric, torch.tensor(wanted.projection))
    right = two_center("coulomb", functions, positions, primitives, positions) @ expansion
    fit = fit_density(two_center("coulomb", functions, positions), right, moment_constraints(functions, positions, 0.0))
    fitted = functions.density(positions, torch.tensor(fit.coefficients), torch.tensor(wanted.points)).numpy()
    expected = 100.0 * wanted.weights @ np.abs(wanted.values - fitted) / 2.0
    assert expected > 1.0
    assert float(optimizer.nmae()[0].detach()) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_exact() -> None:
    optimizer = ContractionOptimizer([target(0), target(1)], {1: (1, 1)})
    parameter = optimizer.parameters[1, 0].requires_grad_()
    (gradient,) = torch.autograd.grad(torch.log(optimizer.nmae()).sum(), parameter)
    direction = torch.tensor(np.random.default_rng(0).normal(size=parameter.shape))
    values = []
    for step in (1e-3, -1e-3):
        with torch.no_grad():
            parameter += step * direction
            values.append(float(torch.log(optimizer.nmae()).sum()))
            parameter -= step * direction
    assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-3, rel=2e-3)


def test_known_functions_are_found_again() -> None:
    optimizer = ContractionOptimizer([target(seed) for seed in range(3)], {1: (2, 1)})
    optimizer.run(150)
    assert float(optimizer.nmae().detach().max()) < 0.02
    found = optimizer.basis("found")
    assert found.n_functions([1]) == TRUE.n_functions([1])
    # the same space: what is left of the true functions outside it is small
    one = torch.zeros((1, 3), dtype=torch.float64)
    mine, exact = MolecularBasis(found, [1]), MolecularBasis(TRUE, [1])
    cross = two_center("coulomb", mine, one, exact, one)
    inside = cross.T @ torch.linalg.solve(two_center("coulomb", mine, one), cross)
    missed = torch.diagonal(two_center("coulomb", exact, one) - inside) / torch.diagonal(inside)
    assert float(missed.max()) < 1e-4


LITHIUM_HYDRIDE = Structure(np.array([3, 1]), np.array([[0.0, 0.0, 0.0], [0.4, 0.3, 2.8]]))
KEPT = GaussianBasis("kept", {1: TRUE.shells(1), 9: [Shell(0, (1.0,), (1.0,))]})


def target_beside_kept(seed: int) -> TargetDensity:
    """A density of hydrogen's kept functions and of functions of lithium that are to be found."""
    lithium = GaussianBasis("lithium", {1: TRUE.shells(1), 3: TRUE.shells(1)})
    given = GaussianBasis("given", {1: TRUE.shells(1), 3: PRIMITIVES.shells(1)})
    return held_by(lithium, given, LITHIUM_HYDRIDE, seed)


def test_functions_that_are_kept_stay_to_the_last_digit_and_serve_the_fit() -> None:
    optimizer = ContractionOptimizer([target_beside_kept(seed) for seed in range(3)], {3: (2, 1)}, KEPT)
    start = float(torch.log(optimizer.nmae().detach()).mean())
    end = optimizer.run(150)
    # hydrogen's functions hold their part exactly, so what is left is lithium's alone and falls
    assert end < start - 2.0
    assert np.exp(end) < 0.02
    found = optimizer.basis("found")
    assert found.elements == (1, 3, 9)
    assert found.restricted_to([1, 9]).content_hash() == KEPT.content_hash()


def test_an_element_with_neither_counts_nor_kept_functions_is_named() -> None:
    with pytest.raises(InputError, match="given for Li, which the frames hold, and 'kept', which is kept, has none"):
        ContractionOptimizer([target_beside_kept(0)], {1: (2, 1)}, KEPT)


def test_counts_win_over_kept_functions() -> None:
    optimizer = ContractionOptimizer([target(0)], {1: (1, 1)}, KEPT)
    assert len(optimizer.basis("now").shells(1)) == 2


def test_functions_of_one_atom_and_momentum_are_orthonormal() -> None:
    optimizer = ContractionOptimizer([target(0)], {1: (2, 1)})
    functions = MolecularBasis(optimizer.basis("now"), [1])
    metric = two_center("coulomb", functions, torch.zeros((1, 3), dtype=torch.float64))
    scale = torch.diagonal(metric).rsqrt()
    np.testing.assert_allclose(metric * scale[:, None] * scale, np.eye(5), atol=1e-5)
    assert condition_number(optimizer.basis("now"), HYDROGEN) < 1e3


def test_contracting_the_primitives_gives_the_integrals_of_the_contracted_basis() -> None:
    rng = np.random.default_rng(3)
    structure = Structure(np.array([8, 1, 1]), rng.normal(size=(3, 3)) * 1.5)
    exponents = {(8, 0): (0.3, 2.0, 9.0), (8, 2): (0.8, 3.0), (1, 0): (0.4, 1.3), (1, 1): (0.7, 2.0)}
    rows = {key: rng.normal(size=(len(values), 2)) for key, values in exponents.items()}
    primitives: dict[int, list[Shell]] = {1: [], 8: []}
    contracted: dict[int, list[Shell]] = {1: [], 8: []}
    for (z, l_), values in exponents.items():
        primitives[z] += [Shell(l_, (a,), (1.0,)) for a in values]
        contracted[z] += [Shell(l_, values, tuple(column)) for column in rows[z, l_].T]
    basis = GaussianBasis("p", primitives)
    assert primitive_exponents(basis) == exponents
    layout = PrimitiveLayout(basis, structure.numbers, list(exponents))
    positions = torch.tensor(structure.positions)
    metric = two_center("coulomb", MolecularBasis(basis, structure.numbers), positions)[layout.order][:, layout.order]
    contractions = {key: torch.tensor(values) for key, values in rows.items()}
    half = layout.contract(contractions, metric)
    mine = layout.contract(contractions, half.T)
    exact = two_center("coulomb", MolecularBasis(GaussianBasis("c", contracted), structure.numbers), positions)
    # The shells are normalised and in another order: compare what neither changes.
    mine = mine / torch.sqrt(torch.diagonal(mine)[:, None] * torch.diagonal(mine))
    exact = exact / torch.sqrt(torch.diagonal(exact)[:, None] * torch.diagonal(exact))
    np.testing.assert_allclose(torch.linalg.eigvalsh(mine), torch.linalg.eigvalsh(exact), rtol=1e-8, atol=1e-10)
    coefficients = torch.tensor(rng.normal(size=len(mine)))
    expanded = layout.expand(contractions, coefficients)
    half = layout.contract(contractions, (metric @ expanded)[:, None])[:, 0]
    assert float(expanded @ metric @ expanded) == pytest.approx(float(coefficients @ half))


def test_shells_are_read_as_chemists_write_them() -> None:
    assert parse_shells("H=4s3p1d, O=8s6p4d3f1g") == {1: (4, 3, 1), 8: (8, 6, 4, 3, 1)}
    assert parse_shells("C=2s1d") == {6: (2, 0, 1)}
    for wrong in ("", "H", "H=4x", "H4s", "H=s"):
        with pytest.raises(InputError, match="expected for example"):
            parse_shells(wrong)


def test_what_cannot_be_optimised_is_refused() -> None:
    with pytest.raises(InputError, match="No number of shells is given for H"):
        ContractionOptimizer([target(0)], {8: (2,)})
    with pytest.raises(InputError, match="no density"):
        ContractionOptimizer([], {1: (1,)})
    with pytest.raises(InputError, match="5 shells of l = 0 are asked for H, the set of primitives has 4"):
        ContractionOptimizer([target(0)], {1: (5,)})
    with pytest.raises(InputError, match="contracted shell"):
        primitive_exponents(TRUE)


def test_the_large_set_covers_what_it_is_asked_for() -> None:
    assert large_basis([1, 16]).elements == (1, 16)
    assert large_basis([1, 16]).max_l([16]) == 5
