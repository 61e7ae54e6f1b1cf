"""Shells and bases as records."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import DataError, InputError

SHELLS = {
    1: (Shell(0, (3.0, 0.5), (0.4, 0.7)), Shell(1, (0.8,), (1.0,))),
    8: (Shell(2, (1.2, 0.3, 7.0), (0.2, -0.5, 0.1)), Shell(0, (20.0,), (1.0,)), Shell(0, (0.2,), (1.0,))),
}
BASIS = GaussianBasis("test", SHELLS)


@pytest.mark.parametrize("shell", [shell for shells in SHELLS.values() for shell in shells], ids=str)
def test_a_contracted_shell_has_norm_one(shell: Shell) -> None:
    """By numerical integration of R^2 r^2, which knows nothing of gamma functions."""

    def radial(r: float) -> float:
        values = shell.radial_coefficients() * np.exp(-np.array(shell.exponents) * r**2)
        return float(values.sum() * r**shell.l)

    norm, _ = quad(lambda r: radial(r) ** 2 * r**2, 0.0, 20.0, epsabs=1e-13, epsrel=1e-12, limit=400)
    assert norm == pytest.approx(1.0, abs=1e-10)


def test_contraction_coefficients_multiply_normalised_primitives() -> None:
    shell = Shell(1, (2.0, 0.3), (0.6, 0.6))
    primitives = [float(Shell(1, (a,), (1.0,)).radial_coefficients()[0]) for a in shell.exponents]
    factors = shell.radial_coefficients()
    assert factors[0] / primitives[0] == pytest.approx(factors[1] / primitives[1], rel=1e-14)


@pytest.mark.parametrize(
    ("l", "exponents", "coefficients", "message"),
    [
        (7, (1.0,), (1.0,), "Angular momentum 7"),
        (0, (), (), "0 exponents"),
        (0, (1.0, 2.0), (1.0,), "2 exponents and 1 coefficients"),
        (0, (-1.0,), (1.0,), "positive"),
        (0, (float("nan"),), (1.0,), "positive"),
        (0, (1.0,), (float("inf"),), "finite"),
    ],
)
def test_impossible_shells_are_refused(l, exponents, coefficients, message) -> None:  # noqa: E741
    with pytest.raises(InputError, match=message):
        Shell(l, exponents, coefficients)


def test_a_contraction_that_cancels_has_no_norm() -> None:
    with pytest.raises(InputError, match="no norm"):
        Shell(0, (1.0, 1.0), (1.0, -1.0)).radial_coefficients()


def test_functions_are_counted_by_element() -> None:
    assert BASIS.n_functions([8, 1, 1]) == 5 + 1 + 1 + 2 * (1 + 3)
    assert BASIS.elements == (1, 8)
    assert (BASIS.max_l(), BASIS.max_l([1])) == (2, 1)


def test_a_basis_survives_json() -> None:
    copy = GaussianBasis.from_dict(json.loads(json.dumps(BASIS.to_dict())))
    assert copy.to_dict() == BASIS.to_dict()
    assert all(copy.shells(z) == BASIS.shells(z) for z in BASIS.elements)
    assert copy.content_hash() == BASIS.content_hash()


def test_the_hash_is_of_the_functions_not_of_how_they_were_written() -> None:
    renamed = GaussianBasis("another name", {8: SHELLS[8], 1: SHELLS[1]})
    assert renamed.content_hash() == BASIS.content_hash()
    whole = GaussianBasis("whole", {1: [Shell(0, (1, 4), (np.float64(1), 2))]})
    assert whole.content_hash() == GaussianBasis.from_dict(json.loads(json.dumps(whole.to_dict()))).content_hash()
    assert whole.content_hash() == GaussianBasis("", {1: [Shell(0, (1.0, 4.0), (1.0, 2.0))]}).content_hash()
    moved = GaussianBasis("moved", {**SHELLS, 1: (Shell(0, (3.0, 0.5000001), (0.4, 0.7)), SHELLS[1][1])})
    assert moved.content_hash() != BASIS.content_hash()


@pytest.mark.parametrize(
    "record",
    [
        {"name": "x"},
        {"name": "x", "elements": {}},
        {"name": "x", "elements": {"1": [[0, [1.0]]]}},
        {"name": "x", "elements": {"H": [[0, [1.0], [1.0]]]}},
        {"name": "x", "elements": {"1": [[0, [-1.0], [1.0]]]}},
        {"name": "x", "elements": {"200": [[0, [1.0], [1.0]]]}},
        [1, 2],
    ],
)
def test_damaged_records_are_data_errors(record) -> None:
    with pytest.raises(DataError, match="malformed"):
        GaussianBasis.from_dict(record)


def test_an_element_without_functions_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no functions for N; it covers H O\."):
        BASIS.shells(7)
    with pytest.raises(InputError, match="no functions for N"):
        BASIS.restricted_to([1, 7])


def test_a_basis_prints_what_is_in_it() -> None:
    assert "O  (2s3d)/[2s1d]" in str(BASIS)
    contracted = GaussianBasis("c", {6: [Shell(0, (0.2, 1.0, 5.0), (0.3, c, 0.1)) for c in (0.5, -0.4)]})
    assert "C  (3s)/[2s]" in str(contracted)
    assert "0.2 to 20" in str(BASIS)


def test_functions_belong_to_their_atoms_in_the_order_of_the_shells() -> None:
    functions = MolecularBasis(BASIS, [1, 8])
    assert functions.function_atoms.tolist() == [0] * 4 + [1] * 7
    assert {group.l: group.functions.tolist() for group in functions.groups} == {
        0: [[0], [9], [10]],
        1: [[1, 2, 3]],
        2: [[4, 5, 6, 7, 8]],
    }


def test_many_points_are_evaluated_in_chunks_and_none_is_fine() -> None:
    functions = MolecularBasis(BASIS, [1, 8])
    generator = np.random.default_rng(0)
    positions, points = torch.tensor(generator.normal(size=(2, 3))), torch.tensor(generator.normal(size=(50, 3)))
    coefficients = torch.tensor(generator.normal(size=11))
    whole = functions.evaluate(positions, points) @ coefficients
    torch.testing.assert_close(functions.density(positions, coefficients, points, chunk=7), whole)
    assert functions.density(positions, coefficients, points[:0]).shape == (0,)
