"""A record of the geometries that were made and not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from densnet_core.sampling.checks import Defect


class Refusals:
    """Counts refused geometries by kind of defect and keeps one example of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, defect: Defect, count: int = 1) -> None:
        """Count ``count`` geometries with this defect."""
        self._counts[defect.kind] += count
        self._examples.setdefault(defect.kind, defect.detail)

    def __len__(self) -> int:
        """Geometries refused in all."""
        return self._counts.total()

    @property
    def example(self) -> str:
        """What was wrong with the first one; empty if there is none."""
        return next(iter(self._examples.values()), "")

    def records(self) -> list[dict[str, Any]]:
        """Plain data, one entry per kind: ``reason``, ``count`` and ``example``."""
        return [{"reason": k, "count": n, "example": self._examples[k]} for k, n in self._counts.items()]

    def add_records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Count what ``records`` gave."""
        for entry in records:
            self.add(Defect(str(entry["reason"]), str(entry["example"])), int(entry["count"]))

    def __str__(self) -> str:
        """One line, for example ``3 geometries refused: 2 atoms too close (O1-H2 at ...), 1 ...``."""
        parts = [f"{count} {kind} ({self._examples[kind]})" for kind, count in self._counts.items()]
        noun = "geometry" if len(self) == 1 else "geometries"
        return f"{len(self)} {noun} refused" + (": " + "; ".join(parts) if parts else "")
