"""A potential bound to given molecules: a function of their positions alone, made fast for call after call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.errors import DenSNetError, InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.graphs.neighbours import NeighbourList, lacking_a_neighbour
from densnet_core.potentials.base import Potential
from densnet_core.potentials.compiled import SINGLE, SMALLEST, Function, fastest
from densnet_core.potentials.torchscript import export_torchscript, replica_metadata
from densnet_core.potentials.trace import flatten
from densnet_core.potentials.whole import BondTree, bonds_of
from densnet_core.structures import Array, Structure

log = logging.getLogger(__name__)
ENERGY_AND_FORCES: Final = ("energy", "forces")
WORTH_COMPILING: Final = 500_000
"""Calls times (30 + atoms of all replicas), what they cost in 0.1 ms: a minute without compiling."""

FEWEST_AT_ONCE, MOST_AT_ONCE = 64, 288
"""Atoms of a call of native code where there are more: what it holds stays in the processor's cache. Ethanol, one
thread of an AMD EPYC, ms for each molecule in calls of 1, 4, 16, 32 and 64: 0.59, 0.53, 0.56, 0.59, 0.90.
"""


class BoundPotential:
    """A potential of fixed molecules of one composition, for engines of molecular dynamics and calculators.

    Small molecules have all their pairs, so that their graph never changes and the potential is traced once for each
    set of outputs. Of large ones a ``NeighbourList`` keeps the pairs within the cutoff, in native code as a table that
    changes with them; the results are the same, since a potential takes those beyond its cutoff to zero. It can be
    pickled, without its traces.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
        Replicas: the same atoms in the same order, with the same charge and multiplicity.
    traced : bool
        Whether small molecules are traced: some seconds once for calls that are up to twice as fast.
    native : bool
        Whether the trace is compiled too (``densnet_core.potentials.compiled``): half a minute once for each molecule,
        number of replicas and machine, for calls that are three times as fast, of large molecules twice.

    Raises
    ------
    InputError
        The molecules differ, or the potential does not know them.
    """

    def __init__(
        self, potential: Potential, structures: Sequence[Structure], *, traced: bool = True, native: bool = False
    ) -> None:
        if not structures:
            raise InputError("Dynamics needs at least one molecule.")
        first = structures[0]
        for other in structures[1:]:
            if not (np.array_equal(other.numbers, first.numbers) and other.parts == first.parts):
                raise InputError(
                    f"The molecules differ ({first.formula} and {other.formula}, or their order, charge or "
                    "multiplicity); run each in a dynamics of its own."
                )
        potential.check([first])
        self.potential, self.structures = potential, tuple(structures)
        self.neighbours = NeighbourList(structures, potential.cutoff)
        self.traced = traced
        self.native, self._follows_pairs = native, True
        self._flat: dict[tuple[str, ...], Function] = {}

    def compile_for(self, calls: int) -> None:
        """Compile from the next call on if so many are worth it."""
        n_replicas, n_atoms, _ = self.shape
        if calls * (30 + n_replicas * n_atoms) >= WORTH_COMPILING and not self.native:
            self.native = True
            self._flat.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_flat": {}}

    @property
    def structure(self) -> Structure:
        """The first of the molecules."""
        return self.structures[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_replicas, n_atoms, 3)."""
        return len(self.structures), self.structure.n_atoms, 3

    @cached_property
    def _all_pairs(self) -> Graph:
        return graph_of(self.structures)

    def function(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n_replicas,) and forces of positions (n_replicas, n_atoms, 3), with all pairs and as tensors."""
        graph = self._all_pairs.with_positions(positions.reshape(-1, 3))
        found = self.potential.evaluate(graph, ENERGY_AND_FORCES)
        return found["energy"], found["forces"].reshape(positions.shape)

    def evaluate(self, positions: Array, outputs: Sequence[str]) -> dict[str, Array]:
        """Outputs of the potential at positions (n_replicas, n_atoms, 3) in bohr, in one call.

        They are in atomic units and shaped as ``Potential.evaluate`` gives them: atoms of all replicas one after
        another.

        Raises
        ------
        DenSNetError
            Positions, energy or forces are not finite; the message names the replica.
        """
        given = np.ascontiguousarray(positions, dtype=np.float64)
        if given.shape != self.shape:
            raise InputError(
                f"Positions must have shape {self.shape} (replicas, atoms of {self.structure.formula}, axes), not "
                f"{given.shape}."
            )
        self._check_finite("Positions", given)
        values = self._values(given, tuple(outputs))
        found = {name: value.numpy() for name, value in zip(outputs, values, strict=True)}
        self._check_finite("Energy or forces", *(found[name] for name in ENERGY_AND_FORCES if name in found))
        return found

    def energy_and_forces(self, positions: Array) -> tuple[Array, Array]:
        """Energies (n_replicas,) in hartree and forces (n_replicas, n_atoms, 3) in hartree/bohr, see ``evaluate``."""
        found = self.evaluate(positions, ENERGY_AND_FORCES)
        return found["energy"], found["forces"].reshape(self.shape)

    def _values(self, positions: Array, outputs: tuple[str, ...]) -> Sequence[Tensor]:
        atoms = positions.reshape(-1, 3)
        if self.neighbours.fixed and self.traced:
            part = self._part if self.native else None
            if part is None:
                return self._flatly(self.neighbours.graph(atoms), outputs)
            split = np.split(atoms, len(atoms) // part.n_atoms)
            pieces = [self._flatly(part.with_positions(torch.tensor(some)), outputs) for some in split]
            return [torch.cat(values) for values in zip(*pieces, strict=True)]
        if not self.neighbours.fixed and self.native and self._follows_pairs:
            width = self.neighbours.width
            graph = self.neighbours.table(atoms)
            if self.neighbours.width != width:
                self._flat.clear()
            return self._flatly(graph, outputs)
        found = self.potential.evaluate(self.neighbours.graph(atoms), outputs)
        return [found[name] for name in outputs]

    @cached_property
    def _part(self) -> Graph | None:
        """The graph of as many replicas as one call of native code takes, where that is not all of them."""
        n_replicas, n_atoms, _ = self.shape
        at_once = replicas_at_once(n_replicas, n_atoms)
        return None if at_once == n_replicas else graph_of(self.structures[:at_once])

    def _flatly(self, graph: Graph, outputs: tuple[str, ...]) -> tuple[Tensor, ...]:
        """By a trace whose arguments are the positions and, where pairs change, the senders."""
        given = (graph.positions,) if graph.width is None else (graph.positions, graph.senders)
        if outputs not in self._flat:

            def function(positions: Tensor, senders: Tensor = graph.senders) -> tuple[Tensor, ...]:
                moved = replace(graph, positions=positions, senders=senders)
                found = self.potential.evaluate(moved, outputs)
                return tuple(found[name] for name in outputs)

            flat = flatten(function, *given)
            if graph.width is not None and not _follows(flat, function, graph):
                self._follows_pairs = False
                log.warning("The potential is not compiled: its backbone reads outside of torch which pairs there are.")
                return function(*given)
            self._flat[outputs] = fastest(flat, *given) if self.native else flat
        with torch.no_grad():
            return self._flat[outputs](*given)

    def _check_finite(self, what: str, *arrays: Array) -> None:
        for values in arrays:
            finite = np.isfinite(values).reshape(len(self.structures), -1).all(axis=1)
            if not finite.all():
                raise DenSNetError(f"{what} of replica {int(np.argmin(finite))} are not finite.")

    def save_torchscript(self, path: Path, atoms: Sequence[int] | None = None, tree: BondTree | None = None) -> None:
        """Write a TorchScript file for openmm-torch, see ``export_torchscript``; it needs torch only.

        All pairs of atoms of a molecule are in it, however large it is.

        Parameters
        ----------
        path : path
        atoms : sequence of int, optional
            Indices of the atoms of all replicas among the particles of a System that has others too.
        tree : BondTree, optional
            The bonds along which a molecule is put together in a periodic box; by default those of the structure.
        """
        metadata = {**replica_metadata(self.structures), **self.potential.metadata()}
        n_replicas, n_atoms, _ = self.shape
        tree = tree or BondTree.of(n_atoms, bonds_of(self.structure))
        _ = self._all_pairs  # made outside of what is traced
        export_torchscript(self.function, n_replicas, n_atoms, path, metadata, self.structure.positions, atoms, tree)


def replicas_at_once(n_replicas: int, n_atoms: int) -> int:
    """How many replicas native code takes in one call: an even part of all, so that one function serves them."""
    parts = [part for part in range(1, n_replicas + 1) if n_replicas % part == 0]
    fitting = [part for part in parts if FEWEST_AT_ONCE <= part * n_atoms <= MOST_AT_ONCE]
    return max(fitting, default=n_replicas)


def _follows(flat: Function, function: Function, graph: Graph) -> bool:
    """Whether a trace gives what the function gives with other pairs: without one neighbour of every atom."""
    fewer = lacking_a_neighbour(graph).senders
    with torch.no_grad():
        found = flat(graph.positions, fewer)
    before, expected = (function(graph.positions, senders) for senders in (graph.senders, fewer))
    return all(
        float((one - other).abs().max()) <= 1e-3 * float((other - first).abs().max()) + SINGLE * SMALLEST
        for one, other, first in zip(found, expected, before, strict=True)
    )
