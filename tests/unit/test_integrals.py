"""Boys function, two-centre integrals and integrals over space, against higher precision and derivatives."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis import integrals
from densnet_core.basis.base import GaussianBasis, Metric, Shell
from densnet_core.basis.boys import boys
from densnet_core.basis.integrals import contracted_two_center, two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import InputError

METRICS: tuple[Metric, ...] = ("coulomb", "overlap")
RANDOM = np.random.default_rng(11)
CONTRACTED = GaussianBasis(
    "contracted",
    {
        1: [Shell(0, (4.0, 0.6, 0.2), (0.3, 0.5, -0.2)), Shell(1, (0.9,), (1.0,)), Shell(3, (1.4, 0.5), (0.4, 0.8))],
        8: [Shell(0, (30.0,), (1.0,)), Shell(2, (2.0, 0.7), (0.6, 0.5)), Shell(1, (0.4, 3.0), (1.0, -0.3))],
    },
)
WATER = MolecularBasis(CONTRACTED, [8, 1, 1])
GENERAL = GaussianBasis(
    "generally contracted, with a segmented d shell, out of order",
    {
        1: [
            Shell(1, (2.0, 0.5), (0.4, 0.8)),
            Shell(0, (9.0, 1.1, 0.3), (0.2, 0.6, 0.4)),
            Shell(0, (9.0, 1.1, 0.3), (0.1, -0.5, 1.0)),
        ],
        6: [
            Shell(0, (40.0, 5.0, 0.8, 0.2), (0.1, 0.4, 0.5, 0.1)),
            Shell(0, (40.0, 5.0, 0.8, 0.2), (0.3, -0.4, 0.2, 0.9)),
            Shell(2, (1.5, 0.4), (0.7, 0.4)),
            Shell(0, (0.07,), (1.0,)),
            Shell(2, (0.2,), (1.0,)),
        ],
    },
)
METHYLENE = MolecularBasis(GENERAL, [1, 6, 1])


def functions_with(functions: MolecularBasis, exponents: list[Tensor], coefficients: list[Tensor]) -> MolecularBasis:
    """The same shells with other numbers in them."""
    result = copy(functions)
    result.groups = tuple(
        replace(group, exponents=a, coefficients=c)
        for group, a, c in zip(functions.groups, exponents, coefficients, strict=True)
    )
    return result


@pytest.mark.parametrize("x", [0.0, 1e-12, 0.0499, 0.05, 0.7, 1.0, 3.3, 12.05, 32.99, 33.01, 60.0, 800.0, 1e6])
def test_the_boys_function_is_right_to_fourteen_digits(x: float) -> None:
    with mpmath.workdps(40):
        orders = range(17)
        exact = [float(mpmath.hyp1f1(n + mpf(1) / 2, n + mpf(3) / 2, -mpf(x)) / (2 * n + 1)) for n in orders]
    values = boys(torch.tensor([x], dtype=torch.float64), 16)[:, 0].numpy()
    np.testing.assert_allclose(values, exact, rtol=1e-13)


def test_the_boys_function_in_single_precision() -> None:
    x = torch.linspace(0.0, 60.0, 301)
    torch.testing.assert_close(boys(x, 6), boys(x.double(), 6).float(), rtol=3e-6, atol=1e-12)


def test_the_boys_function_has_derivatives_of_any_order() -> None:
    x = torch.tensor([0.003, 0.6, 4.4, 20.0, 32.98, 33.02, 70.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: boys(v, 4), (x,), rtol=1e-7)
    assert torch.autograd.gradgradcheck(lambda v: boys(v, 3), (x,), rtol=1e-6)
    (first,) = torch.autograd.grad(boys(x, 0).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), x)
    torch.testing.assert_close(third, -boys(x, 3)[3], rtol=1e-12, atol=0)


def _solid_harmonics(l: int, x: object, y: object, z: object) -> NDArray[np.object_]:  # noqa: E741
    """Textbook form (Helgaker, Jorgensen, Olsen, section 6.4), m = -l..l, orthonormal on the sphere, any precision."""
    squared = x * x + y * y + z * z
    cosine, sine = [x * 0 + 1], [x * 0]
    for m in range(l):
        cosine, sine = [*cosine, x * cosine[m] - y * sine[m]], [*sine, x * sine[m] + y * cosine[m]]
    rows = []
    for m in range(-l, l + 1):
        k = abs(m)
        polynomial = sum(
            mpf((-1) ** j)
            / 2**l
            * mpmath.binomial(l, j)
            * mpmath.binomial(2 * l - 2 * j, l)
            * mpmath.factorial(l - 2 * j)
            / mpmath.factorial(l - 2 * j - k)
            * squared**j
            * z ** (l - 2 * j - k)
            for j in range((l - k) // 2 + 1)
        )
        ratio = mpmath.factorial(l - k) / mpmath.factorial(l + k) * (2 if k else 1)
        rows.append(mpmath.sqrt((2 * l + 1) / (4 * mpmath.pi) * ratio) * polynomial * (cosine if m >= 0 else sine)[k])
    return np.array(rows)


def _hermite(n: int) -> tuple[list[mpf], list[mpf]]:
    """Nodes and weights of Gauss-Hermite quadrature in the working precision."""
    nodes = [mpmath.findroot(lambda t: mpmath.hermite(n, t), mpf(x)) for x in np.polynomial.hermite.hermgauss(n)[0]]
    common = mpf(2) ** (n - 1) * mpmath.factorial(n) * mpmath.sqrt(mpmath.pi) / n**2
    return nodes, [common / mpmath.hermite(n - 1, x) ** 2 for x in nodes]


def _norm(l: int, exponent: float) -> mpf:  # noqa: E741
    """Factor that makes r^l exp(-a r^2) a normalised radial function."""
    return mpmath.sqrt(2 * (2 * mpf(exponent)) ** (l + mpf(3) / 2) / mpmath.gamma(l + mpf(3) / 2))


def _overlap(l1: int, a: float, centre1: list[float], l2: int, b: float, centre2: list[float]) -> NDArray[np.float64]:
    """Exact: Gauss-Hermite quadrature on the product Gaussian with 40 digits."""
    with mpmath.workdps(40):
        total, n = mpf(a) + b, (l1 + l2) // 2 + 1
        first, second = [mpf(c) for c in centre1], [mpf(c) for c in centre2]
        distance2 = sum((p - q) ** 2 for p, q in zip(first, second, strict=True))
        nodes, weights = (np.array(values) for values in _hermite(n))
        grid = [axis.ravel() for axis in np.meshgrid(*[np.arange(n)] * 3, indexing="ij")]
        points = [
            nodes[g] / mpmath.sqrt(total) + (a * p + b * q) / total for g, p, q in zip(grid, first, second, strict=True)
        ]
        weight = weights[grid[0]] * weights[grid[1]] * weights[grid[2]]
        values = [
            _solid_harmonics(l, *[x - c for x, c in zip(points, centre, strict=True)])
            for l, centre in ((l1, first), (l2, second))  # noqa: E741
        ]
        prefactor = mpmath.exp(-a * b / total * distance2) / total ** mpf(1.5) * _norm(l1, a) * _norm(l2, b)
        return ((values[0] * weight) @ values[1].T * prefactor).astype(float)


@pytest.mark.parametrize(
    ("l1", "a", "l2", "b", "offset"),
    [
        (5, 3000.0, 5, 0.5, (0.3, -0.2, 0.7)),
        (5, 3000.0, 3, 3000.0, (0.03, -0.02, 0.01)),
        (6, 80.0, 6, 0.05, (1.1, 0.4, -9.9)),
        (4, 2.0, 6, 0.6, (0.3, 0.1, -2.4)),
    ],
)
def test_overlaps_are_exact_where_other_codes_lose_digits(l1, a, l2, b, offset) -> None:
    """PySCF (libcint) is wrong by 1e-8 for the first and by 3e-6 for the third pair, relative to the norms."""
    exact = _overlap(l1, a, [0.0, 0.0, 0.0], l2, b, list(offset))
    shells = Shell(l1, (a,), (1.0,)), Shell(l2, (b,), (1.0,))
    first, second = (MolecularBasis(GaussianBasis("one", {1: [shell]}), [1]) for shell in shells)
    there = torch.tensor([offset], dtype=torch.float64)
    ours = two_center("overlap", first, torch.zeros_like(there), second, there)
    np.testing.assert_allclose(ours.numpy(), exact, rtol=0, atol=1e-14)
    assert np.abs(ours.numpy() - exact).max() < 1e-12 * np.abs(exact).max()


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_of_geometries_equals_single_ones(metric: Metric) -> None:
    geometries = torch.tensor(RANDOM.normal(size=(2, 3, 3, 3)))
    batch = two_center(metric, WATER, geometries)
    assert batch.shape == (2, 3, WATER.n_functions, WATER.n_functions)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(batch[i, j], two_center(metric, WATER, geometries[i, j]), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_two_bases_give_the_blocks_of_their_union(metric: Metric) -> None:
    positions = torch.tensor(RANDOM.normal(size=(3, 3)))
    left, right = MolecularBasis(CONTRACTED, [8]), MolecularBasis(CONTRACTED, [1, 1])
    whole = two_center(metric, WATER, positions)
    block = two_center(metric, left, positions[:1], right, positions[1:])
    torch.testing.assert_close(block, whole[: left.n_functions, left.n_functions :], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(whole, whole.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_derivatives_with_respect_to_positions(metric: Metric) -> None:
    """At a general geometry, and with two atoms at one place and one far away; all integrals in random proportion."""
    proportion = torch.tensor(RANDOM.normal(size=(WATER.n_functions, WATER.n_functions)))
    general = torch.tensor(RANDOM.normal(size=(3, 3)), requires_grad=True)
    special = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 9.0]], dtype=torch.float64, requires_grad=True)
    for positions in (general, special):
        assert torch.autograd.gradcheck(lambda r: (two_center(metric, WATER, r) * proportion).sum(), (positions,))


def test_integrals_do_not_depend_on_where_the_molecule_is() -> None:
    positions = torch.tensor(RANDOM.normal(size=(3, 3)))
    rotation, _ = np.linalg.qr(RANDOM.normal(size=(3, 3)))
    moved = positions @ torch.tensor(rotation).T + 40.0
    for metric in METRICS:
        before, after = (torch.linalg.eigvalsh(two_center(metric, WATER, r)) for r in (positions, moved))
        torch.testing.assert_close(before, after, rtol=0, atol=1e-11)


def test_a_distant_pair_repels_like_its_multipoles() -> None:
    """Coulomb's law between charges, and charge with dipole: the far limit in closed form."""
    s = MolecularBasis(GaussianBasis("s", {1: [Shell(0, (0.7,), (1.0,))]}), [1])
    p = MolecularBasis(GaussianBasis("p", {1: [Shell(1, (0.9,), (1.0,))]}), [1])
    origin, far = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[0.0, 0.0, 30.0]], dtype=torch.float64)
    charge = float(s.electron_counts()[0])
    dipole = float(p.dipoles(origin)[2, 2])
    assert float(two_center("coulomb", s, origin, s, far)) == pytest.approx(charge**2 / 30.0, rel=1e-13)
    interaction = two_center("coulomb", p, origin, s, far)[:, 0]
    np.testing.assert_allclose(interaction.numpy(), [0.0, 0.0, charge * dipole / 30.0**2], rtol=1e-13, atol=1e-16)


def test_electron_counts_and_dipoles_by_quadrature() -> None:
    """A product rule of Gauss-Hermite points around each atom, in place of the closed forms."""
    positions = torch.tensor(RANDOM.normal(size=(3, 3)))
    nodes, weights = np.polynomial.hermite.hermgauss(44)
    width = 1.6
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3) * width
    weight = np.einsum("i,j,k->ijk", *[weights * np.exp(nodes**2) * width] * 3).ravel()
    soft = MolecularBasis(GaussianBasis("soft", {1: [Shell(l, (0.3, 0.5), (0.4, 0.9)) for l in range(4)]}), [1] * 3)  # noqa: E741
    counts, dipoles = np.zeros(soft.n_functions), np.zeros((soft.n_functions, 3))
    for points, share in zip(np.array_split(grid, 40), np.array_split(weight, 40), strict=True):
        values = soft.evaluate(positions, torch.tensor(points)).numpy() * share[:, None]
        counts += values.sum(0)
        dipoles += values.T @ points
    np.testing.assert_allclose(soft.electron_counts().numpy(), counts, atol=1e-9)
    np.testing.assert_allclose(soft.dipoles(positions).numpy(), dipoles, atol=1e-9)
    both = torch.stack([positions, positions + 1.0])
    torch.testing.assert_close(soft.dipoles(both)[0], soft.dipoles(positions))


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match="'coulomb', 'overlap'"):
        two_center("kinetic", WATER, torch.zeros(3, 3, dtype=torch.float64))  # type: ignore[arg-type]


def test_scaled_functions_are_the_basis_with_scaled_exponents() -> None:
    """The basis written down with the scaled exponents knows nothing of the powers of the factor."""
    factors = torch.tensor(RANDOM.uniform(0.6, 1.7, size=(2, 4)))
    shells = {
        z: [
            Shell(s.l, tuple(a * float(factors[i, s.l]) for a in s.exponents), s.coefficients)
            for s in CONTRACTED.shells(z)
        ]
        for i, z in enumerate((8, 1))
    }
    expected = MolecularBasis(GaussianBasis("scaled", shells), [8, 1])
    scaled = MolecularBasis(CONTRACTED, [8, 1]).scaled(factors)
    positions, points = torch.tensor(RANDOM.normal(size=(2, 3))), torch.tensor(RANDOM.normal(size=(20, 3)))
    for metric in METRICS:
        torch.testing.assert_close(
            two_center(metric, scaled, positions), two_center(metric, expected, positions), rtol=1e-12, atol=1e-13
        )
    torch.testing.assert_close(scaled.electron_counts(), expected.electron_counts())
    torch.testing.assert_close(scaled.dipoles(positions), expected.dipoles(positions))
    torch.testing.assert_close(scaled.evaluate(positions, points), expected.evaluate(positions, points))


def test_scale_factors_are_a_batch_and_differentiable() -> None:
    geometries = torch.tensor(RANDOM.normal(size=(2, 3, 3)))
    factors = torch.tensor(RANDOM.uniform(0.6, 1.7, size=(2, 3, 4)), requires_grad=True)
    proportion = torch.tensor(RANDOM.normal(size=(WATER.n_functions, WATER.n_functions)))
    for metric in METRICS:
        batch = two_center(metric, WATER.scaled(factors), geometries)
        single = two_center(metric, WATER.scaled(factors[1]), geometries[1])
        torch.testing.assert_close(batch[1], single, rtol=1e-13, atol=1e-14)
        assert torch.autograd.gradcheck(
            lambda f, m=metric: (two_center(m, WATER.scaled(f), geometries) * proportion).sum((-2, -1)), (factors,)
        )
    batched = WATER.scaled(factors)
    torch.testing.assert_close(batched.dipoles(geometries)[1], WATER.scaled(factors[1]).dipoles(geometries[1]))
    assert torch.autograd.gradcheck(lambda f: WATER.scaled(f).electron_counts(), (factors,))
    per_atom = factors.detach()[0, :, 0]
    for same in (per_atom[:, None], per_atom[:, None].expand(3, 4)):
        torch.testing.assert_close(WATER.scaled(per_atom).groups[1].exponents, WATER.scaled(same).groups[1].exponents)


@pytest.mark.parametrize("shape", [(2,), (3, 3), (3, 5), (4, 4), ()])
def test_scale_factors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"do not fit 3 atoms with l up to 3: give \(3,\)"):
        WATER.scaled(torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("metric", METRICS)
def test_derivatives_with_respect_to_exponents_and_contraction(metric: Metric) -> None:
    """Of every primitive on its own: the contraction is segmented, so that no exponent stands twice."""
    positions = torch.tensor(RANDOM.normal(size=(3, 3)))
    proportion = torch.tensor(RANDOM.normal(size=(WATER.n_functions, WATER.n_functions)))
    variables = [t.clone().requires_grad_() for g in WATER.groups for t in (g.exponents, g.coefficients)]

    def total(*tensors: Tensor) -> Tensor:
        functions = functions_with(WATER, list(tensors[::2]), list(tensors[1::2]))
        return (two_center(metric, functions, positions) * proportion).sum()

    assert torch.autograd.gradcheck(total, variables)


@pytest.mark.parametrize("metric", METRICS)
def test_derivatives_of_a_general_contraction(metric: Metric) -> None:
    """Each exponent once for all shells that share it, each coefficient on its own."""
    positions = torch.tensor(RANDOM.normal(size=(3, 3)))
    proportion = torch.tensor(RANDOM.normal(size=(METHYLENE.n_functions, METHYLENE.n_functions)))
    factor = torch.ones(len(METHYLENE.groups), dtype=torch.float64, requires_grad=True)
    variables = [group.coefficients.clone().requires_grad_() for group in METHYLENE.groups]

    def total(factor: Tensor, *coefficients: Tensor) -> Tensor:
        exponents = [f * group.exponents for f, group in zip(factor, METHYLENE.groups, strict=True)]
        functions = functions_with(METHYLENE, exponents, list(coefficients))
        return (two_center(metric, functions, positions) * proportion).sum()

    assert torch.autograd.gradcheck(total, (factor, *variables))


@pytest.mark.parametrize("metric", METRICS)
def test_second_derivatives_with_respect_to_positions(metric: Metric) -> None:
    basis = GaussianBasis("small", {1: [Shell(0, (0.7, 0.2), (0.5, 0.6)), Shell(2, (0.9,), (1.0,))]})
    functions = MolecularBasis(basis, [1, 1])
    proportion = torch.tensor(RANDOM.normal(size=(functions.n_functions, functions.n_functions)))
    positions = torch.tensor([[0.1, 0.2, -0.1], [0.6, -0.4, 1.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda r: (two_center(metric, functions, r) * proportion).sum(), (positions,))


@pytest.mark.parametrize("metric", METRICS)
def test_shells_that_share_exponents_are_no_different(metric: Metric) -> None:
    """The same functions with exponents apart in the last digits, which are then no general contraction."""
    apart = GaussianBasis(
        "apart",
        {
            z: [
                Shell(s.l, tuple(a * (1 + 1e-15 * i) for a in s.exponents), s.coefficients)
                for i, s in enumerate(GENERAL.shells(z))
            ]
            for z in GENERAL.elements
        },
    )
    one, other = METHYLENE, MolecularBasis(apart, [1, 6, 1])
    assert len(one.primitives.l) < len(other.primitives.l)
    positions, points = torch.tensor(RANDOM.normal(size=(3, 3))), torch.tensor(RANDOM.normal(size=(9, 3)))
    torch.testing.assert_close(
        two_center(metric, one, positions), two_center(metric, other, positions), rtol=1e-12, atol=1e-13
    )
    torch.testing.assert_close(
        one.evaluate(positions, points), other.evaluate(positions, points), rtol=1e-12, atol=1e-13
    )
    torch.testing.assert_close(one.electron_counts(), other.electron_counts(), rtol=1e-12, atol=1e-13)


def test_scaling_a_general_contraction_scales_every_function() -> None:
    """Values at sqrt(f) r around the only atom, times f^(3/4)."""
    carbon = MolecularBasis(GENERAL, [6])
    points, origin = torch.tensor(RANDOM.normal(size=(9, 3))), torch.zeros((1, 3), dtype=torch.float64)
    scaled = carbon.scaled(torch.tensor([1.7], dtype=torch.float64)).evaluate(origin, points)
    torch.testing.assert_close(scaled, 1.7**0.75 * carbon.evaluate(origin, 1.7**0.5 * points))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scales", ["none", "left", "both"])
def test_integrals_with_a_density_are_the_matrix_times_its_coefficients(metric: Metric, scales: str) -> None:
    here, there = torch.tensor(RANDOM.normal(size=(2, 3, 3))), torch.tensor(RANDOM.normal(size=(4, 2, 3, 3)))
    left, right = METHYLENE, WATER
    if scales != "none":
        left = left.scaled(torch.tensor(RANDOM.uniform(0.7, 1.4, size=(4, 1, 3, 3))))
    if scales == "both":
        right = right.scaled(torch.tensor(RANDOM.uniform(0.7, 1.4, size=(2, 3, 1))))
    coefficients = torch.tensor(RANDOM.normal(size=(2, WATER.n_functions)))
    found = contracted_two_center(metric, left, here, right, there, coefficients)
    expected = (two_center(metric, left, here, right, there) @ coefficients.unsqueeze(-1)).squeeze(-1)
    assert found.shape == (4, 2, METHYLENE.n_functions)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_derivatives_of_integrals_with_a_density(metric: Metric) -> None:
    """In coefficients and scale factors of one density with itself, and in positions."""
    positions = torch.tensor(RANDOM.normal(size=(3, 3)), requires_grad=True)
    factors = torch.tensor(RANDOM.uniform(0.7, 1.4, size=(3, 3)), requires_grad=True)
    coefficients = torch.tensor(RANDOM.normal(size=METHYLENE.n_functions), requires_grad=True)

    def energy(positions: Tensor, factors: Tensor, coefficients: Tensor) -> Tensor:
        functions = METHYLENE.scaled(factors)
        return coefficients @ contracted_two_center(metric, functions, positions, functions, positions, coefficients)

    assert torch.autograd.gradcheck(energy, (positions, factors, coefficients))


@pytest.mark.parametrize("metric", METRICS)
def test_a_large_batch_is_done_in_parts(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    geometries = torch.tensor(RANDOM.normal(size=(7, 3, 3)))
    whole = two_center(metric, WATER, geometries)
    monkeypatch.setattr(integrals, "_CHUNK_BYTES", 3 * 8 * WATER.n_functions**2)
    monkeypatch.setattr(integrals, "_HUGE_BYTES", 0)
    torch.testing.assert_close(two_center(metric, WATER, geometries), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(two_center(metric, WATER, geometries.float()).double(), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_single_precision(metric: Metric) -> None:
    """Tight and diffuse functions of l up to 5: 2e-5 of what the norms allow."""
    basis = GaussianBasis("wide", {1: [Shell(l, (a,), (1.0,)) for l in range(6) for a in (0.01, 1.0, 300.0)]})  # noqa: E741
    positions = torch.tensor(RANDOM.normal(size=(3, 3)))
    exact = two_center(metric, MolecularBasis(basis, [1] * 3), positions)
    single = two_center(metric, MolecularBasis(basis, [1] * 3, dtype=torch.float32), positions.float())
    assert single.dtype == torch.float32
    norm = torch.diagonal(exact).sqrt()
    assert float(((single - exact).abs() / norm / norm[:, None]).max()) < 2e-5


@pytest.mark.parametrize("metric", METRICS)
def test_a_first_call_in_inference_mode_does_no_harm(metric: Metric) -> None:
    functions = MolecularBasis(CONTRACTED, [8, 1])
    positions = torch.tensor(RANDOM.normal(size=(2, 3)))
    with torch.inference_mode():
        first = two_center(metric, functions, positions)
        with_density = contracted_two_center(metric, functions, positions, functions, positions, first[0])
    moving = positions.clone().requires_grad_()
    again = two_center(metric, functions, moving)
    again.sum().backward()
    assert bool(torch.isfinite(moving.grad).all())
    torch.testing.assert_close(again.detach(), first.clone(), rtol=0, atol=1e-14)
    moved = contracted_two_center(metric, functions, moving, functions, moving, again[0].detach())
    torch.testing.assert_close(moved.detach(), with_density.clone())


def test_bases_of_two_precisions_are_refused() -> None:
    single = MolecularBasis(CONTRACTED, [8], dtype=torch.float32)
    positions = torch.zeros((1, 3))
    with pytest.raises(InputError, match=r"torch\.float32 and torch\.float64"):
        two_center("overlap", single, positions, MolecularBasis(CONTRACTED, [8]), positions)
