"""Bases with one mistake each: what the suite for bases is tested on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import BasisProvider, GaussianBasis, Shell
from densnet_core.errors import InputError

SHELLS = {
    1: (Shell(0, (3.0, 0.7), (0.4, 0.7)), Shell(0, (0.2,), (1.0,)), Shell(1, (0.8,), (1.0,))),
    6: (Shell(0, (9.0, 2.0), (0.3, 0.6)), Shell(1, (1.5,), (1.0,)), Shell(2, (0.9,), (1.0,))),
    8: (Shell(0, (12.0, 3.0), (0.3, 0.6)), Shell(1, (2.0,), (1.0,)), Shell(2, (1.2,), (1.0,))),
}


class Small(BasisProvider):
    """Three elements: as it should be."""

    covered: tuple[int, ...] = (1, 6, 8)

    def shells(self, number: int) -> tuple[Shell, ...]:
        return SHELLS[number]

    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        wanted = self.covered if elements is None else sorted(set(elements))
        for number in wanted:
            if number not in self.covered:
                raise InputError(f"no functions for element {number}")
        return GaussianBasis("small", {number: self.shells(number) for number in wanted})


class CoversFewer(Small):
    """Names oxygen and refuses it."""

    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        if elements is not None and 8 in set(elements):
            raise InputError("no functions for element 8")
        return super().build(elements)


class RefusesNothing(Small):
    """An empty answer for what it does not cover."""

    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        return super().build(None if elements is None else [z for z in elements if z in self.covered] or [1])


class Unnormalised(Shell):
    """A shell whose functions are twice as large."""

    def radial_coefficients(self) -> NDArray[np.float64]:
        return 2.0 * super().radial_coefficients()


class HasAnUnnormalisedShell(Small):
    """In oxygen."""

    def shells(self, number: int) -> tuple[Shell, ...]:
        tail = Unnormalised(2, (1.2,), (1.0,)) if number == 8 else SHELLS[number][-1]
        return (*SHELLS[number][:-1], tail)


class RepeatsAShell(Small):
    """Twice the same functions."""

    def shells(self, number: int) -> tuple[Shell, ...]:
        return (*SHELLS[number], SHELLS[number][0])


class RepeatsAnExponent(Small):
    """Within one contraction."""

    def shells(self, number: int) -> tuple[Shell, ...]:
        return (*SHELLS[number], Shell(3, (0.5, 0.5), (1.0, 0.5)))


class DependsOnTheOthers(Small):
    """Hydrogen has fewer functions beside oxygen."""

    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        basis = super().build(elements)
        if {1, 8} <= set(basis.elements):
            return GaussianBasis("small", {z: basis.shells(z)[: 1 if z == 1 else None] for z in basis.elements})
        return basis


class ChangesItsMind(Small):
    """A random exponent."""

    def shells(self, number: int) -> tuple[Shell, ...]:
        return (*SHELLS[number], Shell(3, (1.0 + np.random.default_rng().random(),), (1.0,)))


class _Forgetful(GaussianBasis):
    def to_dict(self) -> dict[str, Any]:
        record = super().to_dict()
        for rows in record["elements"].values():
            for row in rows:
                row[1] = np.round(row[1], 1).tolist()
        return record


class RecordsTooFewDigits(Small):
    """One decimal is not enough for the exponents."""

    def shells(self, number: int) -> tuple[Shell, ...]:
        return (*SHELLS[number], Shell(3, (0.7654321,), (1.0,)))

    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        basis = super().build(elements)
        return _Forgetful(basis.name, {z: basis.shells(z) for z in basis.elements})


BROKEN = {
    CoversFewer: "test_every_element_that_it_names_has_shells",
    RefusesNothing: "test_an_element_that_is_not_covered_is_refused",
    HasAnUnnormalisedShell: "test_functions_are_normalised",
    RepeatsAShell: "test_functions_of_an_atom_are_independent",
    RepeatsAnExponent: "test_shells_are_valid",
    DependsOnTheOthers: "test_an_element_has_the_same_shells_whatever_the_others_are",
    ChangesItsMind: "test_it_is_the_same_every_time",
    RecordsTooFewDigits: "test_its_record_makes_an_equal_basis",
}
"""Each with the test that it fails."""
