"""Bases by name, and even-tempered sets by parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final

from densnet_core.basis.base import SHELL_LETTERS, BasisProvider, GaussianBasis, Shell
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError, nearest
from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.manager import get_manager


@dataclass(frozen=True)
class EvenTempered:
    """Exponents smallest * ratio^k, k = 0..count-1, of one angular momentum.

    Parameters
    ----------
    smallest : float
        Bohr^-2.
    ratio : float
        Above 1.
    count : int
    """

    smallest: float
    ratio: float
    count: int

    def __post_init__(self) -> None:
        if self.smallest <= 0 or self.ratio <= 1 or self.count < 1:
            raise InputError(f"An even-tempered set needs smallest > 0, ratio > 1 and count >= 1, not {self}.")

    def shells(self, l: int) -> list[Shell]:  # noqa: E741
        """Uncontracted shells, tightest first."""
        return [Shell(l, (self.smallest * self.ratio**k,), (1.0,)) for k in reversed(range(self.count))]


def even_tempered(
    parameters: Mapping[int, Mapping[str | int, EvenTempered]], name: str = "even-tempered"
) -> GaussianBasis:
    """Basis from even-tempered series per element and angular momentum (a letter s, p, d, ... or a number).

    Raises
    ------
    InputError
        Unknown angular momentum, or an element without a series.
    """
    shells: dict[int, list[Shell]] = {}
    for number, series in parameters.items():
        rows: list[Shell] = []
        for key, values in series.items():
            if isinstance(key, str) and key not in tuple(SHELL_LETTERS):
                raise InputError(f"Unknown angular momentum {key!r}; known: {', '.join(SHELL_LETTERS)}.")
            rows += values.shells(SHELL_LETTERS.index(key) if isinstance(key, str) else key)
        shells[number] = sorted(rows, key=lambda shell: shell.l)
    return GaussianBasis(name, shells)


@lru_cache(maxsize=1)
def _shipped() -> dict[str, str]:
    """Name to file of the bases that come with the package."""
    folder = resources.files("densnet_core.basis") / "data"
    return {
        item.name.removesuffix(".json"): item.read_text("utf-8")
        for item in folder.iterdir()
        if item.name.endswith(".json")
    }


OTHER_BASIS: Final = "def2-universal-jkfit"
"""Covers nearly all elements; for those that the bases of the package lack."""


def shipped_document(name: str) -> dict[str, Any] | None:
    """The file of a basis of the package, with how it was made; None if there is none of this name."""
    return next((json.loads(text) for known, text in _shipped().items() if known.lower() == name.lower()), None)


def frames_behind(name: str) -> set[str]:
    """Content hashes of the frames that a basis of the package was optimised on, in hexadecimal."""
    document = shipped_document(name) or {}
    records = [*document.get("kept", []), document.get("made_by", {})]
    return {key for record in records for key in record.get("frames_hashes", [])}


def shipped_names() -> list[str]:
    """Names of the bases that come with the package."""
    return sorted(_shipped())


def plugin_names() -> list[str]:
    """Names of the bases that plugins bring."""
    return sorted(component.name for component in _of_plugins())


def _of_plugins() -> list[Component]:
    return [component for component in get_manager().components(Kind.BASIS) if component.name not in _shipped()]


def basis_by_name(name: str, elements: Iterable[int] | None = None) -> GaussianBasis:
    """A basis of the package, of a plugin or of the Basis Set Exchange, in this order, contracted as published.

    Parameters
    ----------
    name : str
        Capitalisation is ignored.
    elements : iterable of int, optional
        Atomic numbers wanted; all that the basis covers if omitted.

    Raises
    ------
    InputError
        Unknown name (with the nearest ones) or an element the basis does not cover (with those it does).
    PluginError
        The basis is of a plugin that cannot be loaded.
    """
    wanted = None if elements is None else sorted({int(z) for z in elements})
    document = shipped_document(name)
    if document is not None:
        basis = GaussianBasis.from_dict(document)
        return basis if wanted is None else _part_of_shipped(basis, wanted)
    for component in _of_plugins():
        if component.name.lower() == name.lower():
            provider: BasisProvider = get_manager().load(component)(get_manager().options(component, {}))
            return provider.build(wanted)
    return _exchange_basis(name, wanted)


def _part_of_shipped(basis: GaussianBasis, wanted: list[int]) -> GaussianBasis:
    try:
        return basis.restricted_to(wanted)
    except InputError as error:
        raise InputError(f"{error} Take {OTHER_BASIS!r}, which covers nearly all elements.") from None


class _Shipped(BasisProvider):
    """A basis of the package as a component."""

    name: ClassVar[str]

    def build(self, elements: Iterable[int] | None = None) -> GaussianBasis:
        return basis_by_name(self.name, elements)


class DenSNetS(_Shipped):
    """The basis ``densnet-s``."""

    name = "densnet-s"


class DenSNetM(_Shipped):
    """The basis ``densnet-m``."""

    name = "densnet-m"


class DenSNetL(_Shipped):
    """The basis ``densnet-l``."""

    name = "densnet-l"


def compact_name(name: str) -> str:
    """A basis name as PySCF compares them: without hyphens, underscores and blanks, in lower case."""
    return name.lower().translate({ord(character): None for character in "-_ "})


def name_from_compact(compact: str) -> str | None:
    """The name of the basis of the package or the Basis Set Exchange that has this ``compact_name``, None if none."""
    import basis_set_exchange as exchange

    return next((n for n in [*shipped_names(), *exchange.get_all_basis_names()] if compact_name(n) == compact), None)


def basis_from_file(path: Path) -> GaussianBasis:
    """A basis from a JSON file with the record of ``Basis.to_dict``; ``InputError`` if it cannot be read."""
    try:
        return GaussianBasis.from_dict(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, DataError) as error:
        raise InputError(f"Cannot read the basis {path}: {error}") from error


def _exchange_basis(name: str, wanted: list[int] | None) -> GaussianBasis:
    import basis_set_exchange as exchange

    known = {key.lower(): key for key in exchange.get_all_basis_names()}
    if name.lower() not in known:
        ours = map(str.lower, [*_shipped(), *plugin_names()])
        raise InputError(f"There is no basis {name!r}. {nearest(name.lower(), [*known, *ours])}")
    record = exchange.get_basis(known[name.lower()])["elements"]
    shells: dict[int, list[Shell]] = {}
    for key in record if wanted is None else map(str, wanted):
        if key not in record:
            covered = " ".join(symbol(int(z)) for z in record)
            raise InputError(f"Basis {name!r} has no functions for {symbol(int(key))}; it covers {covered}.")
        if "electron_shells" not in record[key]:
            continue
        rows = [shell for entry in record[key]["electron_shells"] for shell in _exchange_shells(entry)]
        shells[int(key)] = sorted(rows, key=lambda shell: shell.l)
    return GaussianBasis(known[name.lower()], shells)


def _exchange_shells(entry: Mapping[str, list[str] | list[int] | list[list[str]]]) -> list[Shell]:
    """One entry of the exchange: general contractions and SP shells become separate shells; zeros are dropped."""
    momenta = [int(value) for value in entry["angular_momentum"]]  # type: ignore[arg-type]
    rows: list[list[str]] = entry["coefficients"]  # type: ignore[assignment]
    exponents = [float(value) for value in entry["exponents"]]  # type: ignore[arg-type]
    if len(momenta) == 1:
        momenta = momenta * len(rows)
    shells = []
    for l, row in zip(momenta, rows, strict=True):  # noqa: E741
        pairs = [(a, float(c)) for a, c in zip(exponents, row, strict=True) if float(c) != 0.0]
        shells.append(Shell(l, tuple(a for a, _ in pairs), tuple(c for _, c in pairs)))
    return shells


def large_basis(elements: Sequence[int]) -> GaussianBasis:
    """An even-tempered set (l up to 5, on H and He up to 3) that holds difference densities almost completely.

    Its fit floor for ethanol, PBE/aug-cc-pVDZ, is 0.07 % NMAE with 1359 functions.
    """
    light: dict[str | int, EvenTempered] = {
        "s": EvenTempered(0.05, 2.0, 11),
        "p": EvenTempered(0.09, 1.8, 9),
        "d": EvenTempered(0.15, 2.0, 7),
        "f": EvenTempered(0.35, 2.1, 5),
    }
    heavy: dict[str | int, EvenTempered] = {
        "s": EvenTempered(0.06, 1.8, 16),
        "p": EvenTempered(0.07, 1.95, 11),
        "d": EvenTempered(0.10, 1.9, 11),
        "f": EvenTempered(0.17, 1.95, 7),
        "g": EvenTempered(0.32, 2.1, 5),
        "h": EvenTempered(0.50, 2.1, 3),
    }
    return even_tempered({z: light if z <= 2 else heavy for z in elements}, "large")
