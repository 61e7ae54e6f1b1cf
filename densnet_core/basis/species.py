"""The atoms of one element in a molecule, with their primitives: what the integrals loop over.

Atoms of one element carry the same shells, so that integrals between two elements are one batch of equal blocks. Shells
of one atom and angular momentum that share their exponents (a generally contracted basis) share their primitives: the
integrals are computed once over these and contracted by a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ShellGroup:
    """All shells of one angular momentum in a molecule.

    Parameters
    ----------
    l : int
    atoms : (n_shells,) int64
        Atom that carries the shell.
    functions : (n_shells, 2l+1) int64
        Positions of its functions among all functions of the molecule.
    exponents : (..., n_shells, n_primitives)
        Bohr^-2; short contractions are padded with exponent 1 and coefficient 0. Leading dimensions are a batch.
    coefficients : (..., n_shells, n_primitives)
        Factors of r^l exp(-a r^2) in the normalised radial part.
    sets : (n_shells,) int64
        Shells of one atom with the same number have the same exponents, as in a generally contracted basis; integrals
        over their primitives are computed once. Whoever replaces exponents keeps that.
    widths : (n_shells,) int64
        Number of primitives without the padding.
    """

    l: int  # noqa: E741
    atoms: Tensor
    functions: Tensor
    exponents: Tensor
    coefficients: Tensor
    sets: Tensor
    widths: Tensor


@dataclass(frozen=True, eq=False)
class Momentum:
    """The shells of one angular momentum on the atoms of one element.

    Parameters
    ----------
    l : int
    group : int
        Their place among the groups of the molecule.
    rows : (n_atoms, n_shells) int64
        Their rows in that group.
    set_rows, columns : (n_primitives,) int64
        Shell (of the n_shells) and column in the group where the exponent of each distinct primitive stands.
    members : (n_shells, n_primitives) bool, or None
        Which primitives a shell contracts; None if every shell is one primitive.
    functions : slice
        Their functions among those of the atom, when these are sorted by angular momentum.
    primitives : slice
        Their primitives among those of the atom.
    """

    l: int  # noqa: E741
    group: int
    rows: Tensor
    set_rows: Tensor
    columns: Tensor
    members: Tensor | None
    functions: slice
    primitives: slice

    @property
    def n_shells(self) -> int:
        return self.rows.shape[1]

    def exponents(self, groups: Sequence[ShellGroup], atoms: slice) -> Tensor:
        """(..., n_atoms, n_primitives) exponents of the distinct primitives of the atoms chosen."""
        return groups[self.group].exponents[..., self.rows[atoms][:, self.set_rows], self.columns]

    def factors(self, groups: Sequence[ShellGroup], atoms: slice) -> Tensor:
        """(..., n_atoms, n_primitives) factors of r^l exp(-a r^2); ones where a contraction has them."""
        factors = groups[self.group].coefficients[..., self.rows[atoms][:, self.set_rows], self.columns]
        return factors if self.members is None else torch.ones_like(factors)

    def contraction(self, groups: Sequence[ShellGroup], atoms: slice) -> Tensor | None:
        """(..., n_atoms, n_shells, n_primitives) contraction of r^l exp(-a r^2); None for one primitive each."""
        if self.members is None:
            return None
        return groups[self.group].coefficients[..., self.rows[atoms][:, :, None], self.columns] * self.members


@dataclass(frozen=True, eq=False)
class Species:
    """The atoms of one element.

    Parameters
    ----------
    atoms : (n_atoms,) int64
    starts : sequence of int
        First function of each of them; an atom's functions are contiguous.
    size : int
        Functions of one atom.
    momenta : sequence of Momentum
        Ascending in l.
    functions : (n_atoms, size) int64
        The functions of each atom, sorted by angular momentum, among all of the molecule.
    order : (size,) int64, or None
        Where the functions of the basis stand when sorted by angular momentum; None if they are sorted already.
    primitive_l : sequence of int
        Angular momentum of each primitive of one atom, ascending.
    """

    atoms: Tensor
    starts: tuple[int, ...]
    size: int
    momenta: tuple[Momentum, ...]
    functions: Tensor
    order: Tensor | None
    primitive_l: tuple[int, ...]


class Arrangement:
    """Where the atoms of each element and their primitives stand in a molecule: made when an integral first asks.

    Parameters
    ----------
    numbers : sequence of int
        Atomic numbers.
    groups : sequence of ShellGroup
        The shells of the molecule; exponents that are replaced later change nothing here.
    """

    def __init__(self, numbers: Sequence[int], groups: Sequence[ShellGroup]) -> None:
        self._numbers, self._groups = numbers, groups

    @cached_property
    def species(self) -> tuple[Species, ...]:
        """The atoms of each element, in the order in which elements first appear."""
        firsts = np.full(len(self._numbers), np.iinfo(np.int64).max)
        for group in self._groups:
            np.minimum.at(firsts, group.atoms.cpu().numpy(), group.functions[:, 0].cpu().numpy())
        with torch.inference_mode(False):  # kept for later calls, which may need derivatives
            return tuple(_species(self._numbers, self._groups, z, firsts) for z in dict.fromkeys(self._numbers))

    @cached_property
    def primitives(self) -> Primitives:
        """The distinct primitives of all atoms."""
        with torch.inference_mode(False):
            return _primitives(self._groups, self.species)


def _species(numbers: Sequence[int], groups: Sequence[ShellGroup], number: int, firsts: NDArray[np.int64]) -> Species:
    device = groups[0].atoms.device
    atoms = [index for index, other in enumerate(numbers) if other == number]
    momenta: list[Momentum] = []
    local: list[int] = []
    primitive_l: list[int] = []
    starts = firsts[atoms].tolist()
    for index, group in enumerate(groups):
        of_atom = group.atoms.cpu().numpy()
        rows = np.array([np.flatnonzero(of_atom == atom) for atom in atoms], dtype=np.int64)
        if not rows.size:
            continue
        first = rows[0]
        sets = group.sets.cpu().numpy()[first]
        widths = group.widths.cpu().numpy()[first]
        leaders = [int(np.flatnonzero(sets == s)[0]) for s in dict.fromkeys(sets.tolist())]
        set_rows = np.concatenate([np.full(widths[i], i) for i in leaders])
        columns = np.concatenate([np.arange(widths[i]) for i in leaders])
        one_each = len(set_rows) == len(first) == len(leaders)
        momenta.append(
            Momentum(
                group.l,
                index,
                torch.tensor(rows, device=device),
                torch.tensor(set_rows, device=device),
                torch.tensor(columns, device=device),
                None if one_each else torch.tensor(sets[:, None] == sets[set_rows], device=device),
                slice(len(local), len(local) + len(first) * (2 * group.l + 1)),
                slice(len(primitive_l), len(primitive_l) + len(set_rows)),
            )
        )
        local += (group.functions[first].reshape(-1) - starts[0]).tolist()
        primitive_l += [group.l] * len(set_rows)
    is_sorted = local == list(range(len(local)))
    return Species(
        torch.tensor(atoms, device=device),
        tuple(starts),
        len(local),
        tuple(momenta),
        torch.tensor(np.array(starts)[:, None] + np.array(local), device=device),
        None if is_sorted else torch.argsort(torch.tensor(local, device=device)),
        tuple(primitive_l),
    )


@dataclass(frozen=True, eq=False)
class Primitives:
    """The distinct primitives of all atoms of a molecule, sorted by angular momentum, then species, then atom.

    Parameters
    ----------
    l : sequence of int
        Of each primitive, ascending.
    atoms : (n_primitives,) int64
    exponents : (n_primitives,) int64
        Where its exponent stands when those of all groups are strung together.
    coefficients : (n_terms,) int64
        For each function and primitive in it, where the coefficient stands in the same way.
    functions, components : (n_terms,) int64
        The function, and the place of primitive and m among those of all primitives.
    n_components : int
        Number of the latter.
    of_species : sequence of (n_atoms, n_primitives of an atom) int64
        The primitives of the atoms of each species.
    angular_places : (n_components,) int64
        Place of every primitive and m when for each species there is (n_atoms, n_primitives of an atom, all l and m).
    """

    l: tuple[int, ...]  # noqa: E741
    atoms: Tensor
    exponents: Tensor
    coefficients: Tensor
    functions: Tensor
    components: Tensor
    n_components: int
    of_species: tuple[Tensor, ...]
    angular_places: Tensor


def _primitives(groups: Sequence[ShellGroup], species: Sequence[Species]) -> Primitives:
    of_l: list[int] = []
    atoms: list[int] = []
    exponents: list[int] = []
    coefficients: list[int] = []
    functions: list[int] = []
    components: list[int] = []
    string = n_components = 0
    for group in groups:
        width, size = group.exponents.shape[-1], 2 * group.l + 1
        shells = [values.tolist() for values in (group.sets, group.widths, group.atoms, group.functions)]
        first_of_set: dict[int, int] = {}
        rows = [r for s in species for m in s.momenta if groups[m.group] is group for r in m.rows.flatten().tolist()]
        for row in rows:
            set_, n, atom, of_shell = (values[row] for values in shells)
            if set_ not in first_of_set:
                first_of_set[set_] = n_components
                n_components += n * size
                of_l += [group.l] * n
                atoms += [atom] * n
                exponents += range(string + row * width, string + row * width + n)
            for column in range(n):
                coefficients += [string + row * width + column] * size
                functions += of_shell
                start = first_of_set[set_] + column * size
                components += range(start, start + size)
        string += len(shells[0]) * width
    of_atom = np.array(atoms)
    of_species = [np.array([np.flatnonzero(of_atom == atom) for atom in s.atoms.tolist()]) for s in species]
    device = groups[0].atoms.device

    def index(values: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return torch.tensor(np.asarray(values), device=device)

    return Primitives(
        tuple(of_l),
        index(atoms),
        index(exponents),
        index(coefficients),
        index(functions),
        index(components),
        n_components,
        tuple(index(places) for places in of_species),
        index(_angular_places(of_l, of_species)),
    )


def _angular_places(of_l: Sequence[int], of_species: Sequence[NDArray[np.int64]]) -> list[int]:
    starts, n_angular = {}, 0
    for l in sorted(set(of_l)):  # noqa: E741
        starts[l], n_angular = n_angular, n_angular + 2 * l + 1
    row_of = np.argsort(np.concatenate([places.reshape(-1) for places in of_species]))
    return [
        int(row) * n_angular + starts[l] + m
        for row, l in zip(row_of, of_l, strict=True)  # noqa: E741
        for m in range(2 * l + 1)
    ]
