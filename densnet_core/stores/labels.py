"""The labels a frame may carry, and results that carry only some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from densnet_core.errors import DataError, InputError
from densnet_core.reference.base import ReferenceResult
from densnet_core.structures import Structure

LABELS: Final[tuple[str, ...]] = ("energy", "forces", "dipole", "orbitals", "occupations")
"""Names of the labels, in the order of the bits of the store's presence mask."""


class MissingLabelError(DataError, AttributeError):
    """A frame has no such label; being an ``AttributeError`` too, it lets ``hasattr`` answer False."""


class PartialResult(ReferenceResult):
    """A reference result some of whose labels are unknown; reading a missing one raises ``MissingLabelError``.

    Made by ``partial_result``; ``labels_of`` lists what is there.
    """

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
    return tuple(name for name in LABELS if name in vars(result))


def partial_result(
    labels: Mapping[str, Any], seconds: float = 0.0, provenance: Mapping[str, str] | None = None
) -> ReferenceResult:
    """A result with these labels (shapes and units of ``ReferenceResult``); a plain one if all are given.

    Raises
    ------
    InputError
        For a name that is not a label, or orbitals without occupations or the reverse.
    """
    if unknown := set(labels) - set(LABELS):
        raise InputError(f"Unknown labels {sorted(unknown)}; known: {', '.join(LABELS)}.")
    if ("orbitals" in labels) != ("occupations" in labels):
        raise InputError("orbitals and occupations belong together; one is missing.")
    others: dict[str, Any] = {"seconds": seconds, "provenance": dict(provenance or {})}
    if len(labels) == len(LABELS):
        return ReferenceResult(**labels, **others)
    result = PartialResult.__new__(PartialResult)
    for name, value in {**labels, **others}.items():
        object.__setattr__(result, name, value)
    return result


def check_labels(structure: Structure, result: ReferenceResult) -> tuple[str, ...]:
    """The labels of a result, after checking that each is finite and has the shape this structure asks for.

    Raises
    ------
    InputError
        Naming the label, its shape and the expected one, or that it is not finite.
    """
    present = labels_of(result)
    if not present:
        raise InputError("A frame without any label cannot be stored.")
    if ("orbitals" in present) != ("occupations" in present):
        raise InputError("orbitals and occupations belong together; one is missing.")
    shapes: dict[str, tuple[int, ...]] = {"energy": (), "forces": (structure.n_atoms, 3), "dipole": (3,)}
    for name in present:
        values = np.asarray(getattr(result, name))
        if values.dtype.kind not in "fiu":
            raise InputError(f"{name} must hold real numbers, not {values.dtype}.")
        if name in shapes and values.shape != shapes[name]:
            raise InputError(f"{name} must have shape {shapes[name]} for {structure.formula}, not {values.shape}.")
        if not np.isfinite(values).all():
            raise InputError(f"{name} of a frame of {structure.formula} is not finite; it cannot be a label.")
    if "orbitals" in present:
        _check_orbitals(structure, result)
    return present


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
