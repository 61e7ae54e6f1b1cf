"""Fits in a metric under a constraint, on problems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from densnet_core.basis.base import GaussianBasis, Metric, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import EvenTempered, basis_by_name, even_tempered
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.constraints import Constraint, moment_constraints
from densnet_core.density.electron import Density
from densnet_core.density.fitting import fit_density, fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.density.weighted import fit_weighted_difference
from densnet_core.errors import InputError
from densnet_core.structures import Structure

METRICS: tuple[Metric, ...] = ("coulomb", "overlap")
POSITIONS = np.array([[0.0, 0.0, 0.1], [0.0, 1.5, -0.9], [0.2, -1.4, -1.0]])
WATER = Structure(np.array([8, 1, 1]), POSITIONS)
BASIS = basis_by_name("def2-universal-jfit", [1, 8])
FUNCTIONS = MolecularBasis(BASIS, WATER.numbers)
# What is to be fitted: a density in another basis, tighter and of other exponents.
SOURCE = MolecularBasis(
    even_tempered({z: {"s": EvenTempered(0.21, 3.1, 5), "p": EvenTempered(0.33, 2.9, 3)} for z in (1, 8)}),
    WATER.numbers,
)
COEFFICIENTS = torch.tensor(np.random.default_rng(8).normal(size=SOURCE.n_functions))
PRIOR = AtomicPrior(
    GaussianBasis("prior", {1: [Shell(0, (1.0, 0.3), (0.4, 0.6))], 8: [Shell(0, (9.0, 0.7), (1.0, 2.0))]})
)


TWICE = MolecularBasis(GaussianBasis("twice", {z: [*BASIS.shells(z), BASIS.shells(z)[0]] for z in (1, 8)}), [8, 1, 1])


def problem(metric: Metric, functions: MolecularBasis = FUNCTIONS) -> tuple[torch.Tensor, torch.Tensor]:
    """Metric and projection."""
    positions = torch.tensor(POSITIONS)
    projection = two_center(metric, functions, positions, SOURCE, positions) @ COEFFICIENTS
    return two_center(metric, functions, positions), projection


def charge(electrons: float, functions: MolecularBasis = FUNCTIONS) -> tuple[Constraint, ...]:
    return moment_constraints(functions, torch.tensor(POSITIONS), electrons)


@pytest.mark.parametrize("metric", METRICS)
def test_a_density_of_the_basis_is_found_again(metric: Metric) -> None:
    matrix, counts = problem(metric)[0], FUNCTIONS.electron_counts()
    wanted = torch.tensor(np.random.default_rng(9).normal(size=len(counts)))
    fit = fit_density(matrix, matrix @ wanted)
    np.testing.assert_allclose(fit.coefficients, wanted.numpy(), atol=1e-8)
    same = fit_density(matrix, matrix @ wanted, charge(float(counts @ wanted)))
    np.testing.assert_allclose(same.coefficients, wanted.numpy(), atol=1e-8)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("electrons", [-1.0, 0.0, 3.7])
def test_the_constraint_is_exact_and_the_rest_optimal(metric: Metric, electrons: float) -> None:
    """The gradient of the error is a multiple of the electron counts: no step that keeps their sum is downhill."""
    (matrix, projection), counts = problem(metric), FUNCTIONS.electron_counts()
    fit = fit_density(matrix, projection, charge(electrons))
    coefficients = torch.tensor(fit.coefficients)
    assert float(counts @ coefficients) == pytest.approx(electrons, abs=1e-12)
    gradient = matrix @ coefficients - projection
    along = gradient @ counts / (counts @ counts)
    assert float((gradient - along * counts).abs().max()) < 1e-10 * float(projection.abs().max())
    assert abs(float(along)) > 1e-4


@pytest.mark.parametrize("metric", METRICS)
def test_without_constraint_the_projection_is_reproduced(metric: Metric) -> None:
    matrix, projection = problem(metric)
    fit = fit_density(matrix, projection)
    residual = matrix @ torch.tensor(fit.coefficients) - projection
    assert float(residual.abs().max()) < 1e-10 * float(projection.abs().max())


def test_of_repeated_functions_each_has_its_share() -> None:
    """Twice the same shell: the solution is not unique, the density is; of all solutions the shortest is taken."""
    positions = torch.tensor(POSITIONS)
    fit = fit_density(*problem("coulomb", TWICE), charge(0.5, TWICE))
    assert fit.condition_number > 1e12 > fit.solved_condition_number
    once = fit_density(*problem("coulomb"), charge(0.5))
    assert BASIS.shells(8)[0].size == 1
    last = BASIS.n_functions([8])
    np.testing.assert_allclose(fit.coefficients[[0, last]], once.coefficients[0] / 2, atol=1e-3)  # rounding times 2e10
    points = torch.tensor(np.random.default_rng(1).normal(scale=2, size=(50, 3)))
    values = [f.density(positions, torch.tensor(c.coefficients), points) for f, c in ((TWICE, fit), (FUNCTIONS, once))]
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=1e-8)


@pytest.mark.parametrize("total", [-1, 0, 1])
def test_the_difference_holds_minus_the_charge(total: int) -> None:
    """The projection of any density will do: the constraint is on the structure's charge."""
    ion = Structure(WATER.numbers, POSITIONS, total, 1 + abs(total))
    _, projection = problem("coulomb")
    fit = fit_difference(ion, projection.numpy(), BASIS, PRIOR)
    assert FUNCTIONS.electron_counts().numpy() @ fit.coefficients == pytest.approx(-total, abs=1e-12)


def test_the_superposed_atoms_differ_by_nothing() -> None:
    positions = torch.tensor(POSITIONS)
    atoms = MolecularBasis(PRIOR.basis, WATER.numbers)
    for metric in METRICS:
        projection = two_center(metric, FUNCTIONS, positions, atoms, positions) @ PRIOR.coefficients(WATER.numbers)
        fit = fit_difference(WATER, projection.numpy(), BASIS, PRIOR, metric)
        assert np.abs(fit.coefficients).max() < 1e-10


def test_what_does_not_belong_together_is_refused() -> None:
    matrix, projection = problem("overlap")
    with pytest.raises(InputError, match="do not belong to one basis"):
        fit_density(matrix, projection[:-1])
    with pytest.raises(InputError, match=r"on the charge has rows of shape \(1, 74\) for 1 values and 71 functions"):
        fit_density(matrix, projection, charge(1.0, TWICE))
    with pytest.raises(InputError, match="constraint on the charge has values that are not finite"):
        fit_density(matrix, projection, charge(float("nan")))
    with pytest.raises(
        InputError, match=r"shape \(70,\) does not belong to basis 'def2-universal-JFIT'.* 71 functions"
    ):
        fit_difference(WATER, projection.numpy()[:-1], BASIS, PRIOR)
    with pytest.raises(InputError, match="not finite"):
        fit_density(matrix, projection * float("nan"))
    with pytest.raises(InputError, match="must hold the dipole too"):
        moment_constraints(FUNCTIONS, torch.tensor(POSITIONS), 0.0, second_moments=torch.eye(3))


@pytest.mark.parametrize("tikhonov", [1e-8, 1e-3])
@pytest.mark.parametrize("electrons", [None, 0.7])
def test_a_tikhonov_fit_is_the_solution_of_the_augmented_equations(tikhonov: float, electrons: float | None) -> None:
    """Normal equations with the penalty of the docstring and a Lagrange multiplier, solved in one go by LU."""
    (matrix, projection), counts = problem("coulomb"), FUNCTIONS.electron_counts()
    fit = fit_density(matrix, projection, () if electrons is None else charge(electrons), tikhonov)
    norms = torch.diagonal(matrix).sqrt()
    unit = torch.eye(len(norms), dtype=norms.dtype)
    penalty = tikhonov**2 * torch.linalg.inv(matrix / norms[:, None] / norms + 2.0 * tikhonov * unit)
    penalised = matrix + norms[:, None] * penalty * norms
    border = counts[:, None] if electrons is not None else counts.new_zeros((len(counts), 0))
    corner = counts.new_zeros((border.shape[1], border.shape[1]))
    system = torch.cat([torch.cat([penalised, border], 1), torch.cat([border.T, corner], 1)])
    right = torch.cat([projection, counts.new_tensor([] if electrons is None else [electrons])])
    expected = torch.linalg.solve(system, right)[: len(counts)]
    np.testing.assert_allclose(fit.coefficients, expected.numpy(), atol=1e-9 * float(expected.abs().max()))
    scale = torch.diagonal(matrix).rsqrt()
    values = np.linalg.eigvalsh((matrix * scale[:, None] * scale[None, :]).numpy())
    assert fit.condition_number == pytest.approx(values[-1] / values[0], rel=1e-6)
    wanted = (values[-1] + tikhonov) / (values[0] + tikhonov)
    assert fit.solved_condition_number == pytest.approx(wanted, rel=1e-6)


class OfTheSource(Density):
    """The density that is to be fitted, without its atoms."""

    structure = WATER

    def evaluate(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        positions, where = torch.tensor(POSITIONS), torch.tensor(points)
        atoms = MolecularBasis(PRIOR.basis, WATER.numbers)
        superposed = atoms.density(positions, PRIOR.coefficients(WATER.numbers), where)
        return np.asarray((SOURCE.density(positions, COEFFICIENTS, where) + superposed).numpy())

    def gradient(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    electron_count = dipole = second_moments = gradient


def test_a_constant_weight_is_the_overlap_metric() -> None:
    counts = FUNCTIONS.electron_counts()
    exact = fit_density(*problem("overlap"), charge(0.0))
    fit = fit_weighted_difference(OfTheSource(), BASIS, PRIOR, weight=torch.ones_like, n_radial=90, degree=41)
    positions, points = torch.tensor(POSITIONS), torch.tensor(np.random.default_rng(1).normal(scale=2, size=(200, 3)))
    values = [FUNCTIONS.density(positions, torch.tensor(f.coefficients), points) for f in (exact, fit)]
    torch.testing.assert_close(values[1], values[0], rtol=0, atol=2e-4 * float(values[0].abs().max()))
    assert counts.numpy() @ fit.coefficients == pytest.approx(0.0, abs=1e-12)
    assert fit.condition_number == pytest.approx(exact.condition_number, rel=1e-3)


def test_the_weighted_fit_is_the_least_squares_solution_on_the_points() -> None:
    fit = fit_weighted_difference(OfTheSource(), BASIS, PRIOR, constrained=False, n_radial=40, degree=17)
    points, shares = quadrature(WATER, 40, 17)
    positions, where = torch.tensor(POSITIONS), torch.tensor(points)
    atoms = MolecularBasis(PRIOR.basis, WATER.numbers).density(positions, PRIOR.coefficients(WATER.numbers), where)
    root = np.sqrt(shares / (np.maximum(atoms.numpy(), 0.0) + 1e-3))
    target = SOURCE.density(positions, COEFFICIENTS, where).numpy()
    functions = FUNCTIONS.evaluate(positions, where).numpy()
    expected, *_ = np.linalg.lstsq(root[:, None] * functions, root * target, rcond=None)
    np.testing.assert_allclose(functions @ fit.coefficients, functions @ expected, atol=1e-7 * np.abs(target).max())


def test_nonsense_of_a_regularised_or_weighted_fit_is_refused() -> None:
    matrix, projection = problem("overlap")
    for value in (0.0, -1e-8, float("nan"), float("inf")):
        with pytest.raises(InputError, match="Tikhonov parameter must be positive"):
            fit_density(matrix, projection, tikhonov=value)
    with pytest.raises(InputError, match="weight of the metric is negative or not finite"):
        fit_weighted_difference(OfTheSource(), BASIS, PRIOR, weight=lambda atoms: -atoms, n_radial=10, degree=7)
