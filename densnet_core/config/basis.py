"""The section [basis]: the atom-centred Gaussian basis that carries the density difference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from densnet_core.basis.base import SHELL_LETTERS, GaussianBasis
from densnet_core.basis.library import EvenTempered, basis_by_name, basis_from_file, even_tempered
from densnet_core.elements import atomic_number, symbol
from densnet_core.errors import InputError, nearest
from densnet_core.options import FilePath, Options


class EvenTemperedSeries(Options):
    """Exponents smallest * ratio^k, k = 0 to count - 1, of one angular momentum of one element."""

    smallest: float = Field(gt=0, description="Smallest exponent, bohr^-2.", examples=[0.15])
    ratio: float = Field(gt=1, description="Ratio of neighbouring exponents.", examples=[2.2])
    count: int = Field(ge=1, description="Number of exponents.", examples=[6])


def _implemented(value: object) -> object:
    if value in ("element", "atom"):
        raise ValueError(
            f"exponents = {value!r} (exponents that the network adapts) is not implemented yet; use 'fixed'"
        )
    return value


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
        description="A basis by its name: one of DenSNet's own or any of the Basis Set Exchange.",
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
    metric: Literal["coulomb", "overlap"] = Field(
        default="coulomb", description="Metric of the fit that makes the training targets."
    )
    exponents: Annotated[Literal["fixed"], BeforeValidator(_implemented)] = Field(
        default="fixed", description="Whether the exponents are adapted; only 'fixed' is implemented."
    )

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
