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


def problem(metric: Metric) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    positions = torch.tensor(POSITIONS)
    projection = two_center(metric, FUNCTIONS, positions, SOURCE, positions) @ COEFFICIENTS
    return two_center(metric, FUNCTIONS, positions), projection, FUNCTIONS.electron_counts()


@pytest.mark.parametrize("metric", METRICS)
def test_a_density_of_the_basis_is_found_again(metric: Metric) -> None:
    matrix, _, counts = problem(metric)
    wanted = torch.tensor(np.random.default_rng(9).normal(size=len(counts)))
    fit = fit_density(matrix, matrix @ wanted, counts)
    assert fit.dropped == 0
    np.testing.assert_allclose(fit.coefficients, wanted.numpy(), atol=1e-8)
    same = fit_density(matrix, matrix @ wanted, counts, float(counts @ wanted))
    np.testing.assert_allclose(same.coefficients, wanted.numpy(), atol=1e-8)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("electrons", [-1.0, 0.0, 3.7])
def test_the_constraint_is_exact_and_the_rest_optimal(metric: Metric, electrons: float) -> None:
    """The gradient of the error is a multiple of the electron counts: no step that keeps their sum is downhill."""
    matrix, projection, counts = problem(metric)
    fit = fit_density(matrix, projection, counts, electrons)
    coefficients = torch.tensor(fit.coefficients)
    assert float(counts @ coefficients) == pytest.approx(electrons, abs=1e-12)
    gradient = matrix @ coefficients - projection
    along = gradient @ counts / (counts @ counts)
    assert float((gradient - along * counts).abs().max()) < 1e-10 * float(projection.abs().max())
    assert abs(float(along)) > 1e-4


@pytest.mark.parametrize("metric", METRICS)
def test_without_constraint_the_projection_is_reproduced(metric: Metric) -> None:
    matrix, projection, counts = problem(metric)
    fit = fit_density(matrix, projection, counts)
    residual = matrix @ torch.tensor(fit.coefficients) - projection
    assert float(residual.abs().max()) < 1e-10 * float(projection.abs().max())


def test_repeated_functions_are_left_out_once() -> None:
    """Twice the same shell: the solution is not unique, the density is."""
    twice = MolecularBasis(
        GaussianBasis("twice", {z: [*BASIS.shells(z), BASIS.shells(z)[0]] for z in (1, 8)}), [8, 1, 1]
    )
    positions = torch.tensor(POSITIONS)
    projection = two_center("coulomb", twice, positions, SOURCE, positions) @ COEFFICIENTS
    fit = fit_density(two_center("coulomb", twice, positions), projection, twice.electron_counts(), 0.5)
    assert fit.dropped == 3
    assert fit.condition_number > 1e12
    once = fit_density(*problem("coulomb"), 0.5)
    points = torch.tensor(np.random.default_rng(1).normal(scale=2, size=(50, 3)))
    values = [f.density(positions, torch.tensor(c.coefficients), points) for f, c in ((twice, fit), (FUNCTIONS, once))]
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=1e-8)


@pytest.mark.parametrize("charge", [-1, 0, 1])
def test_the_difference_holds_minus_the_charge(charge: int) -> None:
    """The projection of any density will do: the constraint is on the structure's charge."""
    ion = Structure(WATER.numbers, POSITIONS, charge, 1 + abs(charge))
    _, projection, counts = problem("coulomb")
    fit = fit_difference(ion, projection.numpy(), BASIS, PRIOR)
    assert counts.numpy() @ fit.coefficients == pytest.approx(-charge, abs=1e-12)


def test_the_superposed_atoms_differ_by_nothing() -> None:
    positions = torch.tensor(POSITIONS)
    atoms = MolecularBasis(PRIOR.basis, WATER.numbers)
    for metric in METRICS:
        projection = two_center(metric, FUNCTIONS, positions, atoms, positions) @ PRIOR.coefficients(WATER.numbers)
        fit = fit_difference(WATER, projection.numpy(), BASIS, PRIOR, metric)
        assert np.abs(fit.coefficients).max() < 1e-10


def test_what_does_not_belong_together_is_refused() -> None:
    matrix, projection, counts = problem("overlap")
    with pytest.raises(InputError, match="do not belong to one basis"):
        fit_density(matrix, projection[:-1], counts)
    with pytest.raises(
        InputError, match=r"shape \(70,\) does not belong to basis 'def2-universal-JFIT'.* 71 functions"
    ):
        fit_difference(WATER, projection.numpy()[:-1], BASIS, PRIOR)
    with pytest.raises(InputError, match="not finite"):
        fit_density(matrix, projection * float("nan"), counts)
    with pytest.raises(InputError, match="no s function"):
        fit_density(matrix, projection, torch.zeros_like(counts), 1.0)


@pytest.mark.parametrize("tikhonov", [1e-8, 1e-3])
@pytest.mark.parametrize("electrons", [None, 0.7])
def test_a_tikhonov_fit_is_the_solution_of_the_augmented_equations(tikhonov: float, electrons: float | None) -> None:
    """Normal equations with the penalty on the diagonal and a Lagrange multiplier, solved in one go by LU."""
    matrix, projection, counts = problem("coulomb")
    fit = fit_density(matrix, projection, counts, electrons, tikhonov)
    penalised = matrix + tikhonov * torch.diag(torch.diagonal(matrix))
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
    assert fit.dropped == 0


def test_a_tikhonov_term_does_for_repeated_functions_what_the_cut_does() -> None:
    twice = MolecularBasis(
        GaussianBasis("twice", {z: [*BASIS.shells(z), BASIS.shells(z)[0]] for z in (1, 8)}), [8, 1, 1]
    )
    positions = torch.tensor(POSITIONS)
    projection = two_center("coulomb", twice, positions, SOURCE, positions) @ COEFFICIENTS
    arguments = (two_center("coulomb", twice, positions), projection, twice.electron_counts(), 0.5)
    cut, penalised = fit_density(*arguments), fit_density(*arguments, tikhonov=1e-10)
    assert (cut.dropped, penalised.dropped) == (3, 0)
    assert cut.solved_condition_number < 1e8 < penalised.solved_condition_number < 1e12
    np.testing.assert_allclose(penalised.coefficients, cut.coefficients, atol=1e-3 * np.abs(cut.coefficients).max())


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
    matrix, projection, counts = problem("overlap")
    exact = fit_density(matrix, projection, counts, 0.0)
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
    matrix, projection, counts = problem("overlap")
    for value in (0.0, -1e-8, float("nan"), float("inf")):
        with pytest.raises(InputError, match="Tikhonov parameter must be positive"):
            fit_density(matrix, projection, counts, tikhonov=value)
    with pytest.raises(InputError, match="weight of the metric is negative or not finite"):
        fit_weighted_difference(OfTheSource(), BASIS, PRIOR, weight=lambda atoms: -atoms, n_radial=10, degree=7)
