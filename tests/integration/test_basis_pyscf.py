"""Functions and integrals of the core against PySCF, to 1e-10 of what the functions' norms allow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from densnet_pyscf.molecule import orbital_basis
from numpy.typing import NDArray
from pyscf import gto

from densnet_core.basis.base import MAX_L, Basis, GaussianBasis, Shell
from densnet_core.basis.integrals import contracted_two_center, two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.elements import symbol

Array = NDArray[np.float64]
CENTRES = np.array([[0, 0, 0], [0.0, 0.0, 0.0], [0.3, -0.2, 0.7], [1.1, 0.4, -1.9], [0, 0, 8.0], [25.0, 3, -7]])
"""Bohr: two at one place, near ones, far ones."""


def pyscf_molecule(basis: Basis, numbers: Sequence[int], positions: Array) -> Any:
    """The same shells as a ``Mole``; they must be sorted by l, as PySCF sorts them."""
    records = {
        symbol(z): [[s.l, *([a, c] for a, c in zip(s.exponents, s.coefficients, strict=True))] for s in basis.shells(z)]
        for z in set(numbers)
    }
    atoms = [(symbol(z), tuple(r)) for z, r in zip(numbers, positions.tolist(), strict=True)]
    return gto.M(atom=atoms, basis=records, unit="Bohr", spin=None, verbose=0)


def uncontracted(exponents: Sequence[float], highest: int) -> GaussianBasis:
    return GaussianBasis(
        "uncontracted", {1: [Shell(degree, (a,), (1.0,)) for degree in range(highest + 1) for a in exponents]}
    )


@cache
def contracted() -> GaussianBasis:
    random = np.random.default_rng(5)
    shells = [
        Shell(degree, tuple(10 ** random.uniform(-1, 1.3, n)), tuple(random.normal(size=n)))
        for degree in range(6)
        for n in (1, 2, 4)
    ]
    return GaussianBasis("contracted", {1: shells})


@cache
def generally_contracted() -> tuple[GaussianBasis, list[Any]]:
    """Several functions over the same primitives, for us and in PySCF's own form for that."""
    random = np.random.default_rng(8)
    shells, records = [], []
    for degree, n_primitives, n_functions in ((0, 7, 4), (1, 6, 3), (2, 4, 3), (3, 3, 2), (4, 2, 2), (5, 2, 1)):
        exponents = sorted(10 ** random.uniform(-1, 2.0 - 0.2 * degree, n_primitives), reverse=True)
        columns = random.normal(size=(n_functions, n_primitives))
        shells += [Shell(degree, tuple(exponents), tuple(column)) for column in columns]
        records.append([degree, *([a, *column] for a, column in zip(exponents, columns.T.tolist(), strict=True))])
    return GaussianBasis("generally contracted", {1: shells}), records


def relative_error(ours: Array, reference: Array, diagonal: Array) -> float:
    scale = np.sqrt(diagonal)
    return float((np.abs(ours - reference) / scale[:, None] / scale[None, :]).max())


@pytest.mark.parametrize(
    ("basis", "metric"),
    [
        (uncontracted((0.05, 0.7, 9.0, 80.0), MAX_L), "coulomb"),
        (uncontracted((0.01, 3000.0), MAX_L), "coulomb"),
        (uncontracted((0.01, 2.0, 1e5), 5), "coulomb"),
        (contracted(), "coulomb"),
        (contracted(), "overlap"),
        (uncontracted((0.1, 0.7, 3.0), 5), "overlap"),
        # Tight functions of high l on different centres are where PySCF's overlaps lose digits: tests/unit/
        # test_integrals.py has them from quadrature in higher precision.
        (uncontracted((0.01, 0.7, 300.0), 2), "overlap"),
    ],
)
def test_two_center_integrals(basis, metric) -> None:
    molecule = pyscf_molecule(basis, [1] * len(CENTRES), CENTRES)
    reference = molecule.intor({"coulomb": "int2c2e", "overlap": "int1e_ovlp"}[metric])
    functions = MolecularBasis(basis, [1] * len(CENTRES))
    ours = two_center(metric, functions, torch.tensor(CENTRES)).numpy()
    assert relative_error(ours, reference, reference.diagonal()) < 1e-10
    np.testing.assert_allclose(ours.diagonal(), reference.diagonal(), rtol=1e-12)


def test_general_contractions() -> None:
    basis, records = generally_contracted()
    centres = CENTRES[1:]
    atoms = [("H", tuple(centre)) for centre in centres.tolist()]
    molecule = gto.M(atom=atoms, basis={"H": records}, unit="Bohr", spin=None, verbose=0)
    functions, positions = MolecularBasis(basis, [1] * len(centres)), torch.tensor(centres)
    coefficients = np.random.default_rng(3).normal(size=functions.n_functions)
    for metric, integral in (("coulomb", "int2c2e"), ("overlap", "int1e_ovlp")):
        reference = molecule.intor(integral)
        ours = two_center(metric, functions, positions).numpy()
        assert relative_error(ours, reference, reference.diagonal()) < 1e-10
        with_density = contracted_two_center(
            metric, functions, positions, functions, positions, torch.tensor(coefficients)
        )
        expected = reference @ coefficients
        np.testing.assert_allclose(with_density.numpy(), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    points = np.random.default_rng(2).normal(scale=2.0, size=(60, 3))
    values = functions.evaluate(positions, torch.tensor(points)).numpy()
    np.testing.assert_allclose(values, molecule.eval_gto("GTOval_sph", points), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("basis", [uncontracted((0.05, 0.7, 80.0), MAX_L), contracted()], ids=str)
def test_values_on_points(basis: GaussianBasis) -> None:
    centres = CENTRES[2:5]
    random = np.random.default_rng(2)
    points = np.concatenate([centres, random.normal(scale=2.0, size=(60, 3)), random.normal(scale=0.1, size=(20, 3))])
    expected = pyscf_molecule(basis, [1] * 3, centres).eval_gto("GTOval_sph", points)
    ours = MolecularBasis(basis, [1] * 3).evaluate(torch.tensor(centres), torch.tensor(points)).numpy()
    # PySCF leaves out what is below 1e-13 or so
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("def2-universal-jkfit", (8, 1, 1)), ("aug-cc-pVQZ-JKFIT", (8, 16, 1)), ("def2-TZVP", (16, 7, 1))],
)
def test_published_bases_are_those_of_pyscf(name: str, numbers: tuple[int, ...]) -> None:
    """Exponents, contraction, normalisation, order: functions on points and the metric."""
    positions = np.random.default_rng(4).normal(size=(len(numbers), 3))
    ours = basis_by_name(name, numbers)
    molecule = gto.M(
        atom=list(zip(map(symbol, numbers), positions.tolist(), strict=True)),
        basis=name,
        unit="Bohr",
        spin=None,
        verbose=0,
    )
    functions = MolecularBasis(ours, numbers)
    metric = two_center("coulomb", functions, torch.tensor(positions)).numpy()
    reference = molecule.intor("int2c2e")
    assert metric.shape == reference.shape
    # The same shells may be listed in another order: one permutation must do for everything.
    # Points at every distance from the nuclei tell all functions apart.
    spread = np.random.default_rng(6).normal(size=(3, 200, 3)) * np.geomspace(0.01, 3.0, 200)[:, None]
    points = (positions[:, None, :] + spread).reshape(-1, 3)
    values = functions.evaluate(torch.tensor(positions), torch.tensor(points)).numpy()
    expected = molecule.eval_gto("GTOval_sph", points)
    order = [int(np.abs(values - column[:, None]).max(0).argmin()) for column in expected.T]
    assert sorted(order) == list(range(molecule.nao))
    np.testing.assert_allclose(values[:, order], expected, rtol=1e-11, atol=1e-11)
    assert relative_error(metric[np.ix_(order, order)], reference, reference.diagonal()) < 1e-10


def test_the_shipped_basis_equals_that_of_pyscf() -> None:
    ours = basis_by_name("aug-cc-pVQZ-JKFIT")
    assert [symbol(z) for z in ours.elements] == ["H", "B", "C", "N", "O", "F", "Ne", "Al", "Si", "P", "S", "Cl", "Ar"]
    theirs = orbital_basis(ours.elements, "aug-cc-pvqz-jkfit")
    assert all(ours.shells(z) == theirs.shells(z) for z in ours.elements)


@pytest.mark.parametrize("numbers", [(8, 1, 1), (16, 6, 1)])
def test_electron_counts_and_dipoles(numbers: tuple[int, ...]) -> None:
    """Overlap with a function so flat that it is one; moments by multiplying that with r."""
    basis = basis_by_name("aug-cc-pVQZ-JKFIT", numbers)
    positions = np.random.default_rng(7).normal(size=(len(numbers), 3))
    molecule = pyscf_molecule(basis, numbers, positions)
    flat = 1e-14
    one = gto.M(
        atom="ghost-H 0 0 0", basis={"ghost-H": [[0, [flat, 1.0]]]}, unit="Bohr", spin=None, charge=0, verbose=0
    )
    height = float(one.eval_gto("GTOval_sph", np.zeros((1, 3)))[0, 0])
    counts = gto.intor_cross("int1e_ovlp", molecule, one)[:, 0] / height
    dipoles = gto.intor_cross("int1e_r", molecule, one)[:, :, 0].T / height
    functions = MolecularBasis(basis, numbers)
    np.testing.assert_allclose(functions.electron_counts().numpy(), counts, atol=1e-10)
    np.testing.assert_allclose(functions.dipoles(torch.tensor(positions)).numpy(), dipoles, atol=1e-10)
