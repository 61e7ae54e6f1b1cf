"""Conformance suite for bases that ``[basis] name`` finds by name.

A plugin's test subclasses ``BasisTests`` and says how to make the provider::

    class TestMyBasis(BasisTests):
        def make_basis(self, **options: object) -> BasisProvider:
            return MyBasis(MyOptions(**options))
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pytest
import torch

from densnet_core.basis.base import MAX_L, BasisProvider, GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import InputError
from densnet_core.testing.suites import ConformanceSuite

_SUPERHEAVY = 118  # oganesson: no density basis covers it
_DEPENDENT = 1e-12
"""Smallest eigenvalue of the overlap of one atom's functions below which double precision cannot tell them apart."""


class BasisTests(ConformanceSuite):
    """What every provider of a basis must do. Subclasses give ``make_basis``; pytest finds the rest."""

    maker = "make_basis"

    @abstractmethod
    def make_basis(self, **options: Any) -> BasisProvider:
        """A new provider with the options under test."""

    def whole(self) -> GaussianBasis:
        """The basis of all elements that it covers."""
        return self.make_basis().build()

    def test_every_element_that_it_names_has_shells(self) -> None:
        basis = self.whole()
        assert basis.elements, "the basis covers no element"
        assert list(basis.elements) == sorted(set(basis.elements))
        assert isinstance(basis.name, str)
        assert basis.name
        for number in basis.elements:
            shells = basis.shells(number)
            assert shells, f"element {number} has no shell"
            assert self.make_basis().build([number]).elements == (number,)

    def test_an_element_has_the_same_shells_whatever_the_others_are(self) -> None:
        basis = self.whole()
        for number in basis.elements:
            assert self.make_basis().build([number]).shells(number) == basis.shells(number)
        backwards = self.make_basis().build([*reversed(basis.elements), *basis.elements])
        assert backwards.content_hash() == basis.content_hash()

    def test_an_element_that_is_not_covered_is_refused(self) -> None:
        missing = next(z for z in range(_SUPERHEAVY, 0, -1) if z not in self.whole().elements)
        with pytest.raises(InputError):
            self.make_basis().build([missing])

    def test_it_is_the_same_every_time(self) -> None:
        provider = self.make_basis()
        first = provider.build()
        assert provider.build().content_hash() == first.content_hash()
        assert self.whole().content_hash() == first.content_hash()

    def test_shells_are_valid(self) -> None:
        basis = self.whole()
        for number in basis.elements:
            for shell in basis.shells(number):
                assert isinstance(shell, Shell)
                assert 0 <= shell.l <= MAX_L
                assert len(shell.exponents) == len(shell.coefficients) > 0
                assert min(shell.exponents) > 0
                assert len(set(shell.exponents)) == len(shell.exponents), f"{shell} repeats an exponent"

    def test_functions_are_normalised(self) -> None:
        basis = self.whole()
        for number in basis.elements:
            for shell in basis.shells(number):
                assert radial_norm(shell) == pytest.approx(1.0, abs=1e-6), f"{shell} of element {number}"

    def test_functions_of_an_atom_are_independent(self) -> None:
        basis = self.whole()
        for number in basis.elements:
            functions = MolecularBasis(basis, np.array([number]))
            overlap = two_center("overlap", functions, torch.zeros(1, 3, dtype=torch.float64)).numpy()
            norms = np.sqrt(np.diag(overlap))
            smallest = float(np.linalg.eigvalsh(overlap / np.outer(norms, norms))[0])
            assert smallest > _DEPENDENT, f"element {number}: the smallest eigenvalue of the overlap is {smallest:.1e}"

    def test_its_record_makes_an_equal_basis(self) -> None:
        basis = self.whole()
        again = GaussianBasis.from_dict(basis.to_dict())
        assert again.name == basis.name
        assert again.content_hash() == basis.content_hash()
        for number in basis.elements:
            for ours, theirs in zip(again.shells(number), basis.shells(number), strict=True):
                np.testing.assert_array_equal(ours.radial_coefficients(), theirs.radial_coefficients())


def radial_norm(shell: Shell) -> float:
    """Integral of R^2 r^2 dr by the trapezoidal rule in ln r, which converges exponentially for such integrands."""
    exponents, factors = np.array(shell.exponents), shell.radial_coefficients()
    logarithm = np.linspace(-14.0, np.log(12.0 / np.sqrt(exponents.min())), 4000)
    r = np.exp(logarithm)
    radial = r**shell.l * (np.exp(-exponents * r[:, None] ** 2) @ factors)
    return float(np.trapezoid(radial**2 * r**3, logarithm))
