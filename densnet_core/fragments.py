"""Fragments: which atoms of a structure are a molecule of their own, with the charge and multiplicity of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError


@dataclass(frozen=True)
class Fragment:
    """Atoms that belong together, with their charge and spin.

    Parameters
    ----------
    atoms : tuple of int
        Indices of the atoms in the structure, ascending.
    charge : int
        In units of e.
    multiplicity : int
        Spin multiplicity 2S+1.
    """

    atoms: tuple[int, ...]
    charge: int = 0
    multiplicity: int = 1


def check_spin(n_electrons: int, charge: int, multiplicity: int, of: str = "") -> None:
    """``InputError`` if so many electrons cannot have this multiplicity, or there are fewer than none."""
    if n_electrons < 0:
        raise InputError(f"Charge {charge}{of} leaves a negative number of electrons.")
    unpaired = multiplicity - 1
    if unpaired < 0 or unpaired > n_electrons or (n_electrons - unpaired) % 2:
        raise InputError(
            f"Multiplicity {multiplicity}{of} is impossible with {n_electrons} electrons; check charge ({charge}) and "
            "multiplicity."
        )


def check_fragments(fragments: Sequence[Fragment], numbers: NDArray[np.int64], charge: int, multiplicity: int) -> None:
    """Refuse fragments that do not make up a molecule of this charge and multiplicity.

    Raises
    ------
    InputError
        If an atom is in none or in several of them, the charges do not add up, a fragment's multiplicity is impossible,
        or the spins of the fragments cannot couple to the total one.
    """
    labels = fragment_labels(fragments, len(numbers))
    if (missing := np.flatnonzero(labels < 0)).size:
        raise InputError(f"The atoms {missing.tolist()} are in no fragment; every atom belongs to exactly one.")
    if (total := sum(fragment.charge for fragment in fragments)) != charge:
        raise InputError(
            f"The charges of the fragments add up to {total}, the total charge is {charge}; give the fragment charges "
            "(fragment_charges in an extended XYZ header) that add up to it."
        )
    for index, fragment in enumerate(fragments):
        electrons = int(numbers[list(fragment.atoms)].sum()) - fragment.charge
        check_spin(electrons, fragment.charge, fragment.multiplicity, f" of fragment {index}")
    unpaired = [fragment.multiplicity - 1 for fragment in fragments]
    lowest, highest = max(0, 2 * max(unpaired) - sum(unpaired)), sum(unpaired)  # angular momenta that add up
    if not lowest <= multiplicity - 1 <= highest:
        raise InputError(
            f"Fragments of multiplicities {', '.join(str(f.multiplicity) for f in fragments)} couple to multiplicities "
            f"{lowest + 1} to {highest + 1}, not to the total {multiplicity}; correct the multiplicities "
            "(fragment_multiplicities in an extended XYZ header)."
        )


def fragment_labels(fragments: Sequence[Fragment], n_atoms: int) -> NDArray[np.int64]:
    """(n_atoms,) index of the fragment that each atom is in, -1 for none; ``InputError`` for one that is in several."""
    labels = np.full(n_atoms, -1, np.int64)
    for index, fragment in enumerate(fragments):
        atoms = list(fragment.atoms)
        if not atoms or atoms != sorted(set(atoms)) or atoms[0] < 0 or atoms[-1] >= n_atoms:
            raise InputError(
                f"Fragment {index} has the atoms {atoms}; expected indices from 0 to {n_atoms - 1}, ascending."
            )
        if (labels[atoms] >= 0).any():
            raise InputError(f"Fragment {index} has atoms of another fragment; every atom belongs to exactly one.")
        labels[atoms] = index
    return labels


def fragments_from(
    labels: Iterable[int], charges: Sequence[int] | None, multiplicities: Sequence[int] | None
) -> tuple[Fragment, ...]:
    """Fragments from a label of each atom, in ascending order of the labels.

    Parameters
    ----------
    labels : (n_atoms,) integers
        Atoms with equal labels are one fragment.
    charges, multiplicities : sequence of int or None
        Of the fragments in ascending order of their labels; None means 0 and 1.

    Raises
    ------
    InputError
        If there are more or fewer charges or multiplicities than fragments.
    """
    atoms: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        atoms.setdefault(int(label), []).append(index)
    for what, values in (("charges", charges), ("multiplicities", multiplicities)):
        if values is not None and len(values) != len(atoms):
            raise InputError(
                f"There are {len(atoms)} fragments and {len(values)} {what}; give one for each fragment, in ascending "
                "order of the fragments' labels."
            )
    return tuple(
        Fragment(
            tuple(atoms[label]),
            0 if charges is None else int(charges[place]),
            1 if multiplicities is None else int(multiplicities[place]),
        )
        for place, label in enumerate(sorted(atoms))
    )
