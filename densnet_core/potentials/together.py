"""A potential of given molecules of any composition: a function of the positions of all their atoms, in one call."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from densnet_core.errors import DenSNetError
from densnet_core.graphs.neighbours import NeighbourList
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import ENERGY_AND_FORCES
from densnet_core.structures import Array, Structure


class Together:
    """Different molecules that never interact, which move: their pairs are kept by a ``NeighbourList``.

    Replicas of one molecule are faster as a ``BoundPotential``, which is traced and compiled.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure

    Raises
    ------
    InputError
        The potential does not know the molecules, or there is none.
    """

    def __init__(self, potential: Potential, structures: Sequence[Structure]) -> None:
        potential.check(structures)
        self.potential, self.structures = potential, tuple(structures)
        self.neighbours = NeighbourList(structures, potential.cutoff)
        self.ends = np.cumsum([structure.n_atoms for structure in structures])[:-1]
        """Where in the arrays of all atoms each molecule but the last ends."""

    def evaluate(self, positions: Array, outputs: Collection[str]) -> dict[str, Array]:
        """Outputs at positions (n_atoms, 3) in bohr of all atoms one after another, as ``Potential.evaluate`` has them.

        Raises
        ------
        DenSNetError
            Positions, energy or forces are not finite; the message names the molecule.
        """
        self._check_finite("Positions", positions)
        values = self.potential.evaluate(self.neighbours.graph(positions), outputs)
        found = {name: value.numpy() for name, value in values.items()}
        self._check_finite("Energy or forces", *(found[name] for name in ENERGY_AND_FORCES if name in found))
        return found

    def _check_finite(self, what: str, *arrays: Array) -> None:
        for values in arrays:
            finite = np.isfinite(values)
            if not finite.all():
                places = np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))
                per_atom = len(values) > len(self.structures)
                molecule = int(np.searchsorted(self.ends, places[0], side="right")) if per_atom else int(places[0])
                raise DenSNetError(f"{what} of molecule {molecule} are not finite.")
