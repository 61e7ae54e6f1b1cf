"""Systems of a state as compiled potentials, one for each composition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from densnet_core.errors import DenSNetError, InputError
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.structures import Array, Structure


class Groups:
    """Molecules of which those of one composition are replicas in one ``BoundPotential``.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
    per : mapping
        "atom" or "molecule" for each output, what its first axis counts.

    Raises
    ------
    InputError
        The potential does not know the molecules.
    """

    def __init__(self, potential: Potential, structures: Sequence[Structure], per: Mapping[str, str]) -> None:
        potential.check(structures)
        self.per = per
        self.counts = {"atom": sum(structure.n_atoms for structure in structures), "molecule": len(structures)}
        members: dict[tuple[bytes, int, int], list[int]] = {}
        for index, one in enumerate(structures):
            members.setdefault((one.numbers.tobytes(), one.charge, one.multiplicity), []).append(index)
        starts = np.cumsum([0, *(structure.n_atoms for structure in structures)])
        self.groups = []
        for held in members.values():
            bound = BoundPotential(potential, [structures[index] for index in held], native=True)
            atoms = np.concatenate([np.arange(starts[index], starts[index + 1]) for index in held])
            self.groups.append((bound, {"atom": atoms, "molecule": np.array(held)}))

    def evaluate(self, positions: Array, outputs: Collection[str]) -> dict[str, Array]:
        """As ``densnet_core.potentials.together.Together.evaluate``."""
        found: dict[str, Array] = {}
        for bound, places in self.groups:
            try:
                values = bound.evaluate(positions[places["atom"]].reshape(bound.shape), tuple(outputs))
            except InputError:
                raise
            except DenSNetError as error:
                raise DenSNetError(f"Among the systems {places['molecule'].tolist()}: {error}") from error
            for name, value in values.items():
                whole = found.setdefault(name, np.empty((self.counts[self.per[name]], *value.shape[1:])))
                whole[places[self.per[name]]] = value
        return found
