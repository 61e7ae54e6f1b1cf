"""The geometries of a run: a pool from one sampler or two in a row, without near-duplicates, and a choice from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.distinct import distinct
from densnet_core.sampling.select import farthest_points, without_near_duplicates
from densnet_core.structures import Structure


@dataclass(frozen=True)
class SamplingPlan:
    """What is done with the geometries of the samplers.

    Parameters
    ----------
    sampler : Sampler
    start : Sampler or None
        Its geometries are what ``sampler`` starts from, one after the other; None: the molecule itself.
    min_difference : float
        See ``densnet_core.sampling.select.without_near_duplicates``.
    n_selected : int or None
        How many geometries are chosen by farthest points; None: all are kept.
    """

    sampler: Sampler
    start: Sampler | None = None
    min_difference: float = 0.0
    n_selected: int | None = None

    @property
    def needs_harmonic(self) -> bool:
        return any(sampler.needs_harmonic for sampler in self._samplers)

    @property
    def needs_backend(self) -> bool:
        return any(sampler.needs_backend for sampler in self._samplers)

    @property
    def _samplers(self) -> list[Sampler]:
        return [self.sampler] if self.start is None else [self.start, self.sampler]

    def made(self, structure: Structure) -> int | None:
        """Geometries that the samplers make at most, before near-duplicates are dropped; None: not known beforehand."""
        counts = [sampler.most(structure) for sampler in self._samplers]
        return None if None in counts else prod(count for count in counts if count is not None)

    def taken(self, structure: Structure) -> int | None:
        """Geometries that are labelled, at most."""
        made = self.made(structure)
        return min((count for count in (made, self.n_selected) if count is not None), default=None)

    def check(self, structure: Structure) -> None:
        """``InputError`` if the samplers cannot be combined, or one cannot begin with this molecule."""
        self._check_order()
        for sampler in self._samplers:
            sampler.check(structure)

    def _check_order(self) -> None:
        if self.start is not None and (self.sampler.needs_harmonic or not self.sampler.moves_atoms):
            raise InputError(
                f"{type(self.sampler).__name__} does not begin at the geometries of another sampler: normal modes "
                "start from the minimum, files and SMILES hold geometries of their own. Leave [sampling.start] "
                "out, or let a sampler that moves atoms follow it: dynamics, or a torsion scan."
            )

    def carry_out(self, structure: Structure, context: SamplingContext) -> tuple[list[Structure], dict[str, Any]]:
        """The geometries and the record of how they came about.

        Raises
        ------
        InputError
            If the samplers cannot be combined, or make fewer geometries than are to be selected.
        """
        self._check_order()
        starts = [structure] if self.start is None else self.start.sample(structure, _within(context, "start"))
        pool: list[Structure] = []
        for stream, start in enumerate(starts):
            inner = _within(context, f"{stream:04d}") if self.start is not None else context
            pool += self.sampler.sample(start, replace(inner, stream=stream))
        pool = distinct(pool)
        _check_elements(pool, structure)
        different = without_near_duplicates(pool, self.min_difference)
        chosen = different if self.n_selected is None else farthest_points(different, self.n_selected)
        return chosen, {
            "geometries": len(chosen),
            "starts": len(starts),
            "made": len(pool),
            "near_duplicates": len(pool) - len(different),
            "not_selected": len(different) - len(chosen),
            "refused": context.refused.records(),
        }


def summary(record: dict[str, Any]) -> str:
    """What of a record a user should be told, one sentence; empty if everything made was taken."""
    parts = [f"{entry['count']} refused, {entry['reason']} ({entry['example']})" for entry in record["refused"]]
    if record["near_duplicates"]:
        parts.append(f"{record['near_duplicates']} near-duplicates dropped")
    if record["not_selected"]:
        parts.append(f"{record['not_selected']} not selected")
    return "Geometries: " + "; ".join([f"{record['geometries']} taken", *parts]) + "." if parts else ""


def _within(context: SamplingContext, name: str) -> SamplingContext:
    return replace(context, folder=None if context.folder is None else context.folder / name)


def _check_elements(pool: Sequence[Structure], structure: Structure) -> None:
    found = {int(z) for geometry in pool for z in np.unique(geometry.numbers)}
    missing = sorted(found - {int(z) for z in structure.numbers})
    if missing:
        raise InputError(
            f"The sampled molecules hold {', '.join(symbol(z) for z in missing)}, which the molecule of [system], "
            f"{structure.formula}, does not. Choose for [system] a molecule with every element of the training set."
        )
