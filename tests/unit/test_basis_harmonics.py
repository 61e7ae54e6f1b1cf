"""Solid harmonics against closed forms, and the orders of other programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e3nn import o3

from densnet_core.basis.conventions import (
    E3NN_AXES,
    from_magnetic_order,
    from_psi4_order,
    to_magnetic_order,
    to_psi4_order,
)
from densnet_core.basis.harmonics import gaunt, solid_harmonics

VECTORS = torch.tensor(np.random.default_rng(3).normal(size=(7, 3)))


def test_the_harmonics_up_to_d_are_those_of_the_textbook() -> None:
    """Helgaker, Jorgensen, Olsen, table 6.3, times the norm sqrt((2l+1) / 4 pi)."""
    x, y, z = VECTORS.T
    s, p, d = solid_harmonics(VECTORS, 2)
    norm = [((2 * degree + 1) / (4 * np.pi)) ** 0.5 for degree in range(3)]
    torch.testing.assert_close(s[:, 0], torch.full_like(x, norm[0]))
    torch.testing.assert_close(p, norm[1] * torch.stack([x, y, z], dim=1))
    rows = [
        3**0.5 * x * y,
        3**0.5 * y * z,
        (2 * z**2 - x**2 - y**2) / 2,
        3**0.5 * x * z,
        3**0.5 * (x**2 - y**2) / 2,
    ]
    torch.testing.assert_close(d, norm[2] * torch.stack(rows, dim=1))


def test_the_harmonics_of_one_degree_add_up_to_a_sphere() -> None:
    """Unsold's theorem: the sum of squares is (2l+1) / 4 pi r^2l."""
    radii = VECTORS.norm(dim=1)
    for degree, values in enumerate(solid_harmonics(VECTORS, 12)):
        expected = (2 * degree + 1) / (4 * np.pi) * radii ** (2 * degree)
        torch.testing.assert_close((values**2).sum(1), expected, rtol=1e-12, atol=0)


def test_they_solve_laplaces_equation() -> None:
    point = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    for degree in range(2, 7):
        for m in range(2 * degree + 1):
            hessian = torch.autograd.functional.hessian(lambda r, d=degree, k=m: solid_harmonics(r, d)[d][k], point)
            assert abs(float(torch.trace(hessian))) < 1e-11 * float(hessian.abs().max())


@pytest.mark.parametrize("degrees", [(1, 1, 2), (2, 3, 3), (4, 6, 4), (6, 6, 12)])
def test_gaunt_coefficients_expand_a_product(degrees: tuple[int, int, int]) -> None:
    """At any unit vector, projecting Y_1 Y_2 on l3 by G equals doing it by an independent sum over all l."""
    first, second, _ = degrees
    unit = VECTORS / VECTORS.norm(dim=1, keepdim=True)
    harmonics = solid_harmonics(unit, first + second)
    product = torch.einsum("na,nb->nab", harmonics[first], harmonics[second])
    total = torch.zeros_like(product)
    for third in range(abs(first - second), first + second + 1):
        total += torch.einsum("abc,nc->nab", torch.tensor(gaunt(first, second, third)), harmonics[third])
    torch.testing.assert_close(total, product, rtol=0, atol=1e-13)


@pytest.mark.parametrize("degree", range(7))
def test_e3nn_at_its_axes_gives_the_magnetic_order(degree: int) -> None:
    ours = solid_harmonics(VECTORS, degree)[degree][:, torch.tensor(to_magnetic_order(degree))]
    theirs = o3.spherical_harmonics(degree, VECTORS[:, list(E3NN_AXES)], normalize=False, normalization="integral")
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_magnetic_order_of_p_is_y_z_x() -> None:
    assert np.array(["x", "y", "z"])[to_magnetic_order(1)].tolist() == ["y", "z", "x"]


@pytest.mark.parametrize("degree", range(7))
def test_the_order_of_psi4_is_zero_then_plus_before_minus(degree: int) -> None:
    psi4 = [0] + [sign * m for m in range(1, degree + 1) for sign in (1, -1)]
    core = [1, -1, 0] if degree == 1 else list(range(-degree, degree + 1))
    assert np.array(psi4)[from_psi4_order(degree)].tolist() == core
    assert np.array(core)[to_psi4_order(degree)].tolist() == psi4


@pytest.mark.parametrize("degree", range(7))
def test_orders_are_converted_there_and_back(degree: int) -> None:
    values = np.arange(2 * degree + 1)
    assert (values[to_magnetic_order(degree)][from_magnetic_order(degree)] == values).all()
    assert (values[to_psi4_order(degree)][from_psi4_order(degree)] == values).all()


def test_a_first_call_in_inference_mode_does_no_harm() -> None:
    """The tables are kept: made in inference mode, they could never be differentiated again."""
    device_free = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float32)
    with torch.inference_mode():
        solid_harmonics(device_free, 9)
    vectors = device_free.clone().requires_grad_()
    solid_harmonics(vectors, 9)[9].sum().backward()
    assert vectors.grad is not None
    assert bool(torch.isfinite(vectors.grad).all())
