"""What a reference store holds, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from densnet_core.basis.base import GaussianBasis
from densnet_core.elements import symbol
from densnet_core.errors import DataError
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import BASIC_LABELS, LABELS
from densnet_core.stores.layout import FrameTable, column_name
from densnet_core.structures import Structure


class _Fit(Protocol):
    def info(self) -> dict[str, Any]: ...


class LabelledFrames(Protocol):
    """What of ``ReferenceStore`` is summed up; that module imports this one."""

    kind: str
    path: Path
    attributes: dict[str, Any]
    frame_table: FrameTable
    level: LevelOfTheory
    backend: str
    versions: dict[str, str]

    @property
    def quantities(self) -> Mapping[str, Quantity]: ...
    @property
    def orbital_basis(self) -> GaussianBasis | None: ...
    def __len__(self) -> int: ...
    def structure(self, index: int) -> Structure: ...
    def failures(self) -> Sequence[Any]: ...
    def fit_names(self) -> list[str]: ...
    def fit(self, name: str) -> _Fit: ...
    def document_names(self) -> list[str]: ...


def summary(store: LabelledFrames) -> dict[str, Any]:
    """Plain summary of a store; keys name their units.

    Raises
    ------
    DataError
        If what it says cannot be read.
    """
    table = store.frame_table
    energies = table.all_rows("energy")
    if not np.isfinite(energies).all():
        raise DataError(
            f"Energies of {store.path} are missing; see which, and keep the rest: densnet data verify --repair."
        )
    counts = {name: int(table.presence(column_name(name)).sum()) for name in (*LABELS, *store.quantities)}
    basis = store.orbital_basis
    return {
        "kind": store.kind,
        "path": str(store.path),
        "format_version": store.attributes["format_version"],
        "frames": len(store),
        "failures": len(store.failures()),
        "formulas": _formulas(store),
        "labels": {name: count for name, count in counts.items() if count or name in BASIC_LABELS},
        "label_units": {name: quantity.unit for name, quantity in store.quantities.items()},
        "level_of_theory": str(store.level),
        "backend": store.backend,
        "versions": store.versions,
        "orbital_basis": None if basis is None else basis.name,
        "orbital_basis_elements": [] if basis is None else [symbol(z) for z in basis.elements],
        "energy_min_hartree": float(energies.min()) if energies.size else None,
        "energy_max_hartree": float(energies.max()) if energies.size else None,
        "reference_time_seconds": float(table.whole("seconds").sum()),
        "fits": [store.fit(name).info() for name in store.fit_names()],
        "documents": store.document_names(),
        "size_bytes": sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()),
    }


def _formulas(store: LabelledFrames) -> dict[str, int]:
    offsets, numbers = store.frame_table.whole("atom_offsets"), store.frame_table.whole("numbers")
    compositions: dict[bytes, list[int]] = {}
    for index in range(len(store)):
        compositions.setdefault(numbers[offsets[index] : offsets[index + 1]].tobytes(), []).append(index)
    counts: Counter[str] = Counter()
    for members in compositions.values():
        counts[store.structure(members[0]).formula] += len(members)
    return dict(sorted(counts.items()))
