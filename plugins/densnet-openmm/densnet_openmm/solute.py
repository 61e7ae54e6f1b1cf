"""The atoms of a System that a model computes, as a molecule of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import refuse_unknown
from densnet_core.errors import InputError
from densnet_core.potentials.base import Potential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.whole import BondTree
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_NANOMETER


class Solute:
    """Atoms of a topology, in the order given, with a model that knows them.

    Parameters
    ----------
    topology : openmm.app.Topology
        Says the elements of the atoms, and by its bonds how to put a molecule together that a periodic box has cut.
    model : Potential or path
        A model, or the folder or zip file of its package.
    atoms : iterable of int or None
        Indices of the atoms; None means all.
    charge, multiplicity : int
        Of these atoms together.
    bonds : iterable of (int, int)
        Further pairs of atoms of the topology that belong together, such as a virtual site and its parent.

    Raises
    ------
    InputError
        An atom is not in the topology, is there twice or has no element, or the model does not know its element.
    """

    def __init__(
        self,
        topology: Any,
        model: Potential | str | Path,
        atoms: Iterable[int] | None = None,
        charge: int = 0,
        multiplicity: int = 1,
        bonds: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.potential: Potential = DenSNet.load(model) if isinstance(model, str | Path) else model
        self.charge, self.multiplicity = charge, multiplicity
        every = list(topology.atoms())
        self.atoms = np.arange(len(every)) if atoms is None else _checked(atoms, len(every))
        self.numbers = _numbers([every[index] for index in self.atoms])
        refuse_unknown("The model", self.numbers.tolist(), self.potential.elements)
        place = {int(index): own for own, index in enumerate(self.atoms)}
        pairs = [(one.index, other.index) for one, other in topology.bonds()]
        self.tree = BondTree.of(
            len(self.atoms), [(place[i], place[j]) for i, j in [*pairs, *bonds] if i in place and j in place]
        )

    def check_periodic(self) -> None:
        """``InputError`` if the atoms cannot be put together in a periodic box: their bonds must connect them all."""
        if self.tree.n_molecules > 1:
            raise InputError(
                f"By the bonds of the topology the {len(self.atoms)} atoms of the model are {self.tree.n_molecules} "
                "separate molecules, and which images of them belong together in a periodic box is not known. Add the "
                "missing bonds (topology.createStandardBonds() or topology.addBond), or give each molecule a force of "
                "its own."
            )

    def structure(self, positions: Array, box: Array | None) -> Structure:
        """The molecule at positions (n_atoms, 3) of its atoms; nm. It is put together if there is a box (3, 3)."""
        whole = positions if box is None else self.tree.whole(positions, box)
        return Structure(self.numbers, whole / BOHR_TO_NANOMETER, self.charge, self.multiplicity)


def _checked(atoms: Iterable[int], n_atoms: int) -> NDArray[np.int64]:
    indices = np.array(list(atoms), dtype=np.int64)
    if indices.size == 0 or len(np.unique(indices)) < indices.size or indices.min() < 0 or indices.max() >= n_atoms:
        raise InputError(
            f"atoms must be different indices from 0 to {n_atoms - 1} of atoms of the topology, at least one; found "
            f"{indices.tolist()}."
        )
    return indices


def _numbers(atoms: Sequence[Any]) -> NDArray[np.int64]:
    nameless = [f"{atom.name} (atom {atom.index}, {atom.residue.name})" for atom in atoms if atom.element is None]
    if nameless:
        raise InputError(
            f"{len(nameless)} of the model's atoms have no element: {', '.join(nameless[:3])}. Extra particles of a "
            "force field are no atoms to a model; leave them out with atoms=."
        )
    return np.array([atom.element.atomic_number for atom in atoms])
