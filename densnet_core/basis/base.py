"""Shells of contracted Gaussians and the interface of a basis.

Convention (shared with PySCF): a function is R(r) Y_lm(r/|r|) with Y_lm the orthonormal real spherical harmonics, in
the order m = -l..l for l >= 2 and x, y, z for l = 1; every primitive is normalised, the contraction coefficients of
the basis-set file multiply normalised primitives, and the contraction is normalised again to one.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError

MAX_L = 6
Metric = Literal["coulomb", "overlap"]
SHELL_LETTERS = "spdfghi"


@dataclass(frozen=True)
class Shell:
    """One contracted shell: 2l+1 functions that share a radial part.

    Parameters
    ----------
    l : int
        Angular momentum, 0 to 6.
    exponents : tuple of float
        Primitive exponents, bohr^-2, positive.
    coefficients : tuple of float
        Contraction coefficients of the normalised primitives.
    """

    l: int  # noqa: E741 - the field's name for it
    exponents: tuple[float, ...]
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        # Whole numbers and numpy scalars become floats, so that equal shells have equal records and hashes.
        object.__setattr__(self, "exponents", tuple(float(a) for a in self.exponents))
        object.__setattr__(self, "coefficients", tuple(float(c) for c in self.coefficients))
        if not 0 <= self.l <= MAX_L:
            raise InputError(f"Angular momentum {self.l} is outside 0 to {MAX_L}.")
        if not self.exponents or len(self.exponents) != len(self.coefficients):
            raise InputError(f"A shell has {len(self.exponents)} exponents and {len(self.coefficients)} coefficients.")
        if not all(np.isfinite(a) and a > 0 for a in self.exponents):
            raise InputError(f"Exponents must be positive: {self.exponents}.")
        if not np.isfinite(self.coefficients).all():
            raise InputError(f"Contraction coefficients must be finite: {self.coefficients}.")

    @property
    def size(self) -> int:
        return 2 * self.l + 1

    def radial_coefficients(self) -> NDArray[np.float64]:
        """(n_primitives,) factors c with R(r) = sum_p c_p r^l exp(-a_p r^2) and integral R^2 r^2 dr = 1."""
        return _radial_coefficients(self)


@lru_cache(maxsize=4096)
def _radial_coefficients(shell: Shell) -> NDArray[np.float64]:
    exponents = np.array(shell.exponents)
    power = shell.l + 1.5

    def self_overlap(total: NDArray[np.float64]) -> NDArray[np.float64]:
        # integral r^(2l+2) exp(-total r^2) dr = Gamma(l + 3/2) / (2 total^(l + 3/2))
        return np.asarray(np.exp(lgamma(power) - log(2.0) - power * np.log(total)))

    factors = np.array(shell.coefficients) / np.sqrt(self_overlap(2.0 * exponents))
    norm = factors @ self_overlap(exponents[:, None] + exponents[None, :]) @ factors
    if not norm > 0:
        raise InputError(f"The contraction {shell} has no norm.")
    result = np.asarray(factors / np.sqrt(norm))
    result.setflags(write=False)
    return result


def _shell_counts(counts: Iterable[int]) -> str:
    """As in the literature, for example ``6s4p2d``."""
    return "".join(f"{n}{SHELL_LETTERS[l_]}" for l_, n in enumerate(counts) if n)


class Basis(ABC):
    """Atom-centred basis: the shells of every element it covers.

    A density basis expands the difference between a density and superposed atoms; an orbital basis expands molecular
    orbitals. Both are described by the same record.
    """

    name: str

    @property
    @abstractmethod
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers covered, ascending."""

    @abstractmethod
    def shells(self, number: int) -> tuple[Shell, ...]:
        """Shells of an element, in the order of the functions; ``InputError`` if the element is not covered."""

    def n_functions(self, numbers: Iterable[int]) -> int:
        """Number of functions on atoms with these atomic numbers."""
        return sum(shell.size for number in numbers for shell in self.shells(int(number)))

    def max_l(self, elements: Iterable[int] | None = None) -> int:
        """Highest angular momentum on these elements, or on all."""
        return max(s.l for z in (self.elements if elements is None else elements) for s in self.shells(int(z)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which ``GaussianBasis.from_dict`` makes an equal basis; goes into every store and model."""
        return {
            "name": self.name,
            "elements": {
                str(z): [[s.l, list(s.exponents), list(s.coefficients)] for s in self.shells(z)] for z in self.elements
            },
        }

    def content_hash(self) -> str:
        """Hex SHA-256 of the shells (not of the name)."""
        text = json.dumps(self.to_dict()["elements"], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def restricted_to(self, elements: Iterable[int]) -> GaussianBasis:
        """The part of the basis that covers ``elements``."""
        return GaussianBasis(self.name, {int(z): self.shells(int(z)) for z in sorted(set(elements))})

    def __str__(self) -> str:
        rows = [f"{self.name}:"]
        for z in self.elements:
            counts = [sum(s.l == l_ for s in self.shells(z)) for l_ in range(MAX_L + 1)]
            primitives = [len({a for s in self.shells(z) if s.l == l_ for a in s.exponents}) for l_ in range(MAX_L + 1)]
            shells = _shell_counts(counts)
            if primitives != counts:
                shells = f"({_shell_counts(primitives)})/[{shells}]"
            smallest = min(min(s.exponents) for s in self.shells(z))
            largest = max(max(s.exponents) for s in self.shells(z))
            rows.append(
                f"  {symbol(z):<2} {shells:<24} {self.n_functions([z]):4d} functions, exponents {smallest:.4g} to "
                f"{largest:.4g}"
            )
        return "\n".join(rows)


class GaussianBasis(Basis):
    """A basis given by explicit shells.

    Parameters
    ----------
    name : str
    shells : mapping from atomic number to its shells
    """

    def __init__(self, name: str, shells: Mapping[int, Iterable[Shell]]) -> None:
        if not shells:
            raise InputError(f"Basis {name!r} covers no element.")
        self.name = name
        self._shells = {int(z): tuple(shells[z]) for z in sorted(shells)}
        for z, of_element in self._shells.items():
            element = symbol(z)
            if not of_element:
                raise InputError(f"Basis {name!r} has no shell for {element}.")

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(self._shells)

    def shells(self, number: int) -> tuple[Shell, ...]:
        try:
            return self._shells[int(number)]
        except KeyError:
            covered = " ".join(symbol(z) for z in self.elements)
            raise InputError(
                f"Basis {self.name!r} has no functions for {symbol(int(number))}; it covers {covered}."
            ) from None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GaussianBasis:
        """Inverse of ``Basis.to_dict``; ``DataError`` if the record is malformed."""
        try:
            shells = {
                int(z): tuple(Shell(int(l_), tuple(map(float, a)), tuple(map(float, c))) for l_, a, c in rows)
                for z, rows in data["elements"].items()
            }
            return cls(str(data["name"]), shells)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The record of a basis is malformed: {error!r}.") from error


class BasisProvider(ABC):
    """A component of kind ``basis``: makes a density basis by its name in ``[basis] name``.

    Parameters
    ----------
    options : object or None
        Validated options of the component; None means the defaults, and that is how a configuration makes it.
    """

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        """The basis of these atomic numbers; of all that it covers if omitted.

        An element has the same shells whatever the others are, and at every call.

        Raises
        ------
        InputError
            An element is not covered; the message names it and those that are.
        """
