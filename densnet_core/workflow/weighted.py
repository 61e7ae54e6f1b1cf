"""Files that are named with a weight: FILE=0.4."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weighted:
    """A file or folder, and the weight that was given with it."""

    path: Path
    weight: float | None = None


def weighted(text: str) -> Weighted:
    """``FILE`` or ``FILE=WEIGHT``; a file whose own name ends like that is found all the same."""
    name, _, weight = text.rpartition("=")
    if not name or Path(text).exists():
        return Weighted(Path(text))
    try:
        return Weighted(Path(name), float(weight))
    except ValueError:
        return Weighted(Path(text))
