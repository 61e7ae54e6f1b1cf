"""Which frames of a store sit on which electronic state: spin, stability, near-degeneracy, jumps between neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from densnet_core.reference.scf_state import GAP, SPIN_SQUARE, STABLE
from densnet_core.stores.judging import neighbours, off_surface
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure

CONTAMINATION: Final = 0.1
"""Of <S^2>, above that of a pure state."""
SPIN_JUMP: Final = 0.2
"""Of <S^2>, between near frames."""
SMALL_GAP: Final = 0.01
"""Hartree."""
NAMED: Final = 6
"""Frames that a sentence names."""


def state_notes(store: ReferenceStore) -> list[str]:
    """What should be known of the states of a store's frames, a sentence each; nothing if all is well."""
    names = [store.labels(index) for index in range(len(store))]
    wanted = ("energy", "forces", SPIN_SQUARE, GAP, STABLE)
    results = [store.result(i, labels=[n for n in wanted if n in own]) for i, own in enumerate(names)]
    structures = [store.structure(index) for index in range(len(store))]

    def label(name: str) -> dict[int, float]:
        return {i: float(result.more[name]) for i, result in enumerate(results) if name in names[i]}

    spins, gaps, stable = label(SPIN_SQUARE), label(GAP), label(STABLE)
    energies = {i: float(result.energy) for i, result in enumerate(results) if "energy" in names[i]}
    forces = {i: np.asarray(result.forces) for i, result in enumerate(results) if "forces" in names[i]}
    pairs = neighbours(structures, energies, forces)
    torn = off_surface(pairs)
    jumps = [
        (p.first, p.second)
        for p in sorted(pairs, key=lambda pair: pair.length)
        if p in torn or abs(spins.get(p.first, np.nan) - spins.get(p.second, np.nan)) > SPIN_JUMP
    ]
    falling = [i for i, one in stable.items() if not one]
    narrow = [i for i, gap in gaps.items() if gap < SMALL_GAP]
    below = 'are not in a minimum of the energy, a lower solution is next to them (stability = "follow" goes there)'
    return [
        *_contaminated(structures, spins),
        *_those(below, falling, len(stable)),
        *_those(f"are nearly degenerate: gaps below {SMALL_GAP} hartree", narrow, len(gaps)),
        *_jumps(jumps, energies, spins),
    ]


def _contaminated(structures: Sequence[Structure], spins: Mapping[int, float]) -> list[str]:
    pure = {i: (structures[i].multiplicity ** 2 - 1) / 4.0 for i in spins}
    bad = [i for i, value in spins.items() if value - pure[i] > CONTAMINATION]
    if not bad:
        return []
    worst = max(bad, key=lambda i: spins[i] - pure[i])
    what = f"are mixtures of spins: <S^2> up to {spins[worst]:.2f} where {pure[worst]:.2f} is pure (frame {worst})"
    return _those(what, bad, len(spins))


def _those(what: str, frames: Sequence[int], total: int) -> list[str]:
    return [f"{len(frames)} of {total} frames {what}: {_named(frames)}."] if frames else []


def _jumps(pairs: Sequence[tuple[int, int]], energies: Mapping[int, float], spins: Mapping[int, float]) -> list[str]:
    if not pairs:
        return []
    i, j = pairs[0]
    spin = f", <S^2> {spins[i]:.2f} and {spins[j]:.2f}" if {i, j} <= set(spins) else ""
    listed = ", ".join(f"{one}-{other}" for one, other in pairs[:NAMED]) + (" ..." if len(pairs) > NAMED else "")
    return [
        f"{len(pairs)} pairs of near frames sit on different states: {listed}; frames {i} and {j} have energies "
        f"{energies[i]:.4f} and {energies[j]:.4f} hartree{spin}."
    ]


def _named(frames: Sequence[int]) -> str:
    more = f" and {len(frames) - NAMED} more" if len(frames) > NAMED else ""
    return ("frame " if len(frames) == 1 else "frames ") + ", ".join(map(str, frames[:NAMED])) + more
