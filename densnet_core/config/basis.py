"""The section [basis]: the atom-centred Gaussian basis that carries the density difference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from densnet_core.basis.base import SHELL_LETTERS, GaussianBasis
from densnet_core.basis.library import EvenTempered, basis_by_name, basis_from_file, even_tempered
from densnet_core.density.method import FitMethod
from densnet_core.elements import atomic_number, symbol
from densnet_core.errors import InputError, nearest
from densnet_core.options import FilePath, Options


class EvenTemperedSeries(Options):
    """Exponents smallest * ratio^k, k = 0 to count - 1, of one angular momentum of one element."""

    smallest: float = Field(gt=0, description="Smallest exponent, bohr^-2.", examples=[0.15])
    ratio: float = Field(gt=1, description="Ratio of neighbouring exponents.", examples=[2.2])
    count: int = Field(ge=1, description="Number of exponents.", examples=[6])


class BasisOptimization(Options):
    """How the exponents and contractions of a basis are optimised on the training frames (exponents = 'element')."""

    frames: int = Field(default=8, ge=1, description="Training frames that the basis is optimised on, drawn at random.")
    iterations: int = Field(default=60, ge=1, description="L-BFGS iterations.")
    seed: int = Field(default=0, ge=0, description="Seed of the choice of frames.")


def _elements_and_shells(value: Any) -> Any:
    """Check the keys; symbols come out in their usual capitalisation."""
    if not isinstance(value, dict):
        return value
    tidy = {}
    for name, series in value.items():
        try:
            tidy[symbol(atomic_number(name))] = series
        except InputError as error:
            raise ValueError(str(error).rstrip(".")) from None
        if isinstance(series, dict):
            if not series:
                raise ValueError(f"{name} has no shells")
            for letter in series:
                if letter not in tuple(SHELL_LETTERS):
                    raise ValueError(f"{name}.{letter} is not an angular momentum. {nearest(letter, SHELL_LETTERS)}")
    return tidy


class BasisSection(Options):
    """The density basis: a name, a file, or even-tempered tables."""

    name: str | None = Field(
        default=None,
        description="A basis by its name: one of DenSNet's own, of a plugin or of the Basis Set Exchange.",
        examples=["def2-universal-jkfit"],
    )
    file: FilePath | None = Field(
        default=None,
        description="Instead of a name: JSON file of 'densnet basis optimize', relative to this file.",
        examples=["basis.json"],
    )
    even_tempered: Annotated[dict[str, dict[str, EvenTemperedSeries]] | None, BeforeValidator(_elements_and_shells)] = (
        Field(
            default=None,
            description="Instead of a name: per element and angular momentum, an even-tempered series of exponents.",
            examples=[{"H": {"s": {"smallest": 0.15, "ratio": 2.2, "count": 4}}}],
        )
    )
    metric: Literal["coulomb", "overlap", "weighted"] = Field(
        default="coulomb",
        description="Metric of the fits that training learns from: 'coulomb', 'overlap', or 'weighted' (real space, by "
        "the inverse of the atoms' density).",
    )
    exact: Literal["charge", "dipole", "quadrupole"] = Field(
        default="dipole",
        description="The highest moment of the reference that the fits hold exactly, with all lower ones.",
    )
    tikhonov: float | None = Field(
        default=None,
        gt=0,
        le=1e-2,
        description="Tikhonov parameter of the fits: directions of the metric scaled to unit diagonal with lower "
        "eigenvalues are damped; absent: 1e-10, against rounding alone.",
        examples=[1e-8],
    )
    exponents: Literal["fixed", "element", "atom"] = Field(
        default="fixed",
        description="'fixed': as given; 'element': shells as given, optimised on the training frames; 'atom': the "
        "network scales the exponents of every atom.",
    )
    largest_factor: float = Field(
        default=1.5,
        gt=1,
        le=2,
        description="With exponents = 'atom': the network may scale exponents by factors between 1/f and f.",
    )
    optimization: BasisOptimization = Field(default_factory=BasisOptimization)

    @model_validator(mode="after")
    def _one_definition(self) -> BasisSection:
        given = [key for key in ("name", "file", "even_tempered") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(
                f"give one of name = '...', file = '...' or [basis.even_tempered.<ELEMENT>] tables; found {found}"
            )
        if self.even_tempered is not None and not self.even_tempered:
            raise ValueError("[basis.even_tempered] names no element")
        return self

    @model_validator(mode="after")
    def _what_goes_together(self) -> BasisSection:
        if self.exponents == "atom" and self.metric == "weighted":
            raise ValueError(
                "exponents = 'atom' learns from densities, not from fits, so metric = 'weighted' has no meaning; use "
                "'coulomb' or 'overlap'"
            )
        for key, mode in (("largest_factor", "atom"), ("optimization", "element")):
            if key in self.model_fields_set and self.exponents != mode and not self._is_default(key):
                raise ValueError(f"{key} is for exponents = {mode!r}; exponents is {self.exponents!r}")
        return self

    def _is_default(self, key: str) -> bool:
        """A starter file and the record of a run write the defaults out, whatever else is chosen."""
        return bool(getattr(self, key) == type(self).model_fields[key].get_default(call_default_factory=True))

    @property
    def error_metric(self) -> Literal["coulomb", "overlap"]:
        """Metric in which training measures densities: that of the fits, if it is one of two-centre integrals."""
        return "coulomb" if self.metric == "weighted" else self.metric

    @property
    def fit_method(self) -> FitMethod:
        """How the densities that training learns from are fitted."""
        return FitMethod(self.metric, self.exact, self.tikhonov)

    @property
    def range_of_factors(self) -> float:
        """Largest factor of the exponents in the density model; 1 if they do not move."""
        return self.largest_factor if self.exponents == "atom" else 1.0

    def build(self, elements: Iterable[int]) -> GaussianBasis:
        """The basis for these atomic numbers.

        Raises
        ------
        InputError
            The name is unknown, or an element is not covered.
        """
        wanted = sorted({int(number) for number in elements})
        if self.name is not None:
            return basis_by_name(self.name, wanted)
        if self.file is not None:
            return basis_from_file(self.file).restricted_to(wanted)
        parameters: dict[int, dict[str | int, EvenTempered]] = {
            atomic_number(element): {
                letter: EvenTempered(one.smallest, one.ratio, one.count) for letter, one in series.items()
            }
            for element, series in (self.even_tempered or {}).items()
        }
        return even_tempered(parameters).restricted_to(wanted)
