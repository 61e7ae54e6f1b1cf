"""The labels a frame may carry, and results that carry only some of them.

The built-in ones are fields of ``ReferenceResult``; any other is described by a ``Quantity``, which a plugin announces,
and stands in ``more``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError, InputError, nearest
from densnet_core.plugins.builtin import densnet_quantities
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.scf_state import SCF_QUANTITIES
from densnet_core.structures import Structure

BASIC_LABELS: Final = ("energy", "forces", "dipole", "orbitals", "occupations")
"""What every finished calculation gives."""
PROPERTY_LABELS: Final = ("quadrupole", "polarizability", "response")
"""What it gives only when asked; None in a result that is without."""
LABELS: Final[tuple[str, ...]] = (*BASIC_LABELS, *PROPERTY_LABELS)
"""Names of the built-in labels."""
_CORE: Final = {record.name: record for record in densnet_quantities() if isinstance(record, Quantity)}
LABEL_QUANTITIES: Final = {name: _CORE[name] for name in LABELS if name in _CORE}
"""What the built-in labels are, except orbitals, occupations and response: their sizes depend on the basis."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


def announced_quantities() -> dict[str, Quantity]:
    """The quantities that installed plugins announce and those of SCF states, by name; other labels of the core have
    columns of their own."""
    from densnet_core.plugins.manager import get_manager

    of_plugins = {name: quantity for name, quantity in get_manager().quantities().items() if name not in _CORE}
    return {**SCF_QUANTITIES, **of_plugins}


def unit_of(name: str) -> str:
    """The unit of a quantity by name; of one that nobody announces, "atomic units"."""
    known = _CORE if name in _CORE else announced_quantities()  # which asks all plugins
    return known[name].unit if name in known else "atomic units"


def label_shape(quantity: Quantity, n_atoms: int) -> tuple[int, ...]:
    """Shape of a label of a molecule of ``n_atoms`` atoms."""
    return (*((n_atoms,) if quantity.per == "atom" else ()), *(3,) * quantity.rank)


class MissingLabelError(DataError, AttributeError):
    """A frame has no such label; being an ``AttributeError`` too, it lets ``hasattr`` answer False."""


class PartialResult(ReferenceResult):
    """A reference result some of whose labels are unknown; reading a missing one raises ``MissingLabelError``.

    Made by ``partial_result``; ``labels_of`` lists what is there.
    """

    def __getattribute__(self, name: str) -> Any:
        # Properties have a default in the class, which must not be taken for "not computed" here.
        if name in PROPERTY_LABELS and name not in object.__getattribute__(self, "__dict__"):
            return self.__getattr__(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name not in LABELS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise MissingLabelError(
            f"This frame has no {name}; its labels are: {', '.join(labels_of(self)) or 'none'}. Compute it with a "
            "reference backend, or use data that have it."
        )

    def __repr__(self) -> str:
        return f"PartialResult({', '.join(labels_of(self))})"


def labels_of(result: ReferenceResult) -> tuple[str, ...]:
    """The labels that a result carries."""
    held = vars(result)
    built_in = (n for n in LABELS if n in held and not (n in PROPERTY_LABELS and held[n] is None))
    return (*built_in, *sorted(held.get("more", ())))


def value_of(result: ReferenceResult, label: str) -> Any:
    """The value of a label, built-in or not; ``MissingLabelError`` if the result has it not."""
    if label in labels_of(result):
        return getattr(result, label) if label in LABELS else result.more[label]
    raise MissingLabelError(f"This frame has no {label}; its labels are: {', '.join(labels_of(result)) or 'none'}.")


def partial_result(
    labels: Mapping[str, Any],
    seconds: float = 0.0,
    provenance: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> ReferenceResult:
    """A result with these labels (shapes and units of ``ReferenceResult``); a plain one if all basic ones are given.

    Labels beyond the built-in ones are given as ``more``.

    Raises
    ------
    InputError
        For a name that is not a label, orbitals without occupations or the reverse, or a response without orbitals.
    """
    if unknown := set(labels) - set(LABELS):
        raise InputError(f"Unknown labels {sorted(unknown)}; known: {', '.join(LABELS)}. Others belong into 'more'.")
    _check_together(labels)
    others: dict[str, Any] = {"seconds": seconds, "provenance": dict(provenance or {}), "more": dict(more or {})}
    if set(BASIC_LABELS) <= set(labels):
        return ReferenceResult(**labels, **others)
    result = PartialResult.__new__(PartialResult)
    for name, value in {**labels, **others}.items():
        object.__setattr__(result, name, value)
    return result


def check_quantity(quantity: Quantity) -> None:
    """``InputError`` if a store cannot have a label that is described so."""
    name = quantity.name
    if name in LABELS or not _NAME.fullmatch(name) or name.endswith("_offsets"):
        raise InputError(
            f"A label cannot be called {name!r}: names are letters, digits and underscores, not ending in _offsets, "
            f"and none of {', '.join(LABELS)}."
        )
    if quantity.per not in ("molecule", "atom") or type(quantity.rank) is not int or not 0 <= quantity.rank <= 4:
        raise InputError(
            f"The label {name!r} is per {quantity.per} and of rank {quantity.rank}; a store has labels of molecules "
            "and atoms, of ranks 0 to 4."
        )


def check_labels(
    structure: Structure, result: ReferenceResult, quantities: Mapping[str, Quantity] | None = None
) -> tuple[str, ...]:
    """The labels of a result, after checking that each is finite and has the shape this structure asks for.

    Parameters
    ----------
    structure : Structure
    result : ReferenceResult
    quantities : mapping or None
        What the labels beyond the built-in ones are (checked by ``check_quantity``).

    Raises
    ------
    InputError
        Naming the label, its shape and the expected one, or that it is not finite, or that nothing describes it.
    """
    present = labels_of(result)
    if not present:
        raise InputError("A frame without any label cannot be stored.")
    _check_together(present)
    known = quantities or {}
    for name in result.more:
        if name not in known:
            raise InputError(f"Nothing describes the label {name!r}; a plugin has to. {nearest(name, known)}")
    described = {**LABEL_QUANTITIES, **known}
    shapes = {name: label_shape(described[name], structure.n_atoms) for name in present if name in described}
    if "response" in present:
        shapes["response"] = (3, *np.shape(result.orbitals))
    for name in present:
        values = np.asarray(value_of(result, name))
        if values.dtype.kind not in "fiu":
            raise InputError(f"{name} must hold real numbers, not {values.dtype}.")
        if name in shapes and values.shape != shapes[name]:
            raise InputError(f"{name} must have shape {shapes[name]} for {structure.formula}, not {values.shape}.")
        if not np.isfinite(values).all():
            raise InputError(f"{name} of a frame of {structure.formula} is not finite; it cannot be a label.")
    if "orbitals" in present:
        _check_orbitals(structure, result)
    return present


def _check_together(present: Collection[str]) -> None:
    if ("orbitals" in present) != ("occupations" in present):
        raise InputError("orbitals and occupations belong together; one is missing.")
    if "response" in present and "orbitals" not in present:
        raise InputError("a response belongs to the orbitals it is the change of; they are missing.")


def _check_orbitals(structure: Structure, result: ReferenceResult) -> None:
    orbitals, occupations = np.asarray(result.orbitals), np.asarray(result.occupations)
    if orbitals.ndim != 2 or occupations.shape != (orbitals.shape[1],) or not orbitals.size:
        raise InputError(
            "orbitals must have shape (n_basis, n_occupied) and occupations (n_occupied,), not "
            f"{orbitals.shape} and {occupations.shape}."
        )
    if abs(float(occupations.sum()) - structure.n_electrons) > 1e-6:
        raise InputError(
            f"occupations add up to {float(occupations.sum()):g}, but {structure.formula} with charge "
            f"{structure.charge} has {structure.n_electrons} electrons."
        )
