"""What a model was trained on: the one description that everything which uses a model checks molecules against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import NEUTRAL_SINGLET, DensitySpecification, State, describe_states
from densnet_core.elements import atomic_number, hill_formula, refuse_unknown, symbol
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.surroundings import Distances, Surroundings
from densnet_core.structures import Structure

REMEDY = (
    'Compute the energies of isolated atoms ([training.energy] atoms = "reference") or train on such compositions too; '
    "what follows from the density alone can be had (densnet predict --density-only)."
)


@dataclass(frozen=True)
class Composition:
    """Atoms and states of a molecule, without its geometry.

    Parameters
    ----------
    numbers : tuple of int
        Atomic numbers, ascending.
    states : tuple of (charge, multiplicity)
        Of its fragments, ascending.
    """

    numbers: tuple[int, ...]
    states: tuple[State, ...]

    @classmethod
    def of(cls, structure: Structure) -> Composition:
        states = sorted((part.charge, part.multiplicity) for part in structure.parts)
        return cls(tuple(sorted(structure.numbers.tolist())), tuple(states))

    def __str__(self) -> str:
        formula = hill_formula(self.numbers)
        plain = self.states == (NEUTRAL_SINGLET,)
        return formula if plain else f"{formula} with (charge, multiplicity) {describe_states(self.states)}"


def compositions_of_graph(graph: Graph) -> list[Composition]:
    """Of every molecule of a graph."""
    states: list[list[State]] = [[] for _ in range(graph.n_molecules)]
    charges, multiplicities = graph.charge.tolist(), graph.multiplicity.tolist()
    for owner, charge, multiplicity in zip(graph.fragment_molecule.tolist(), charges, multiplicities, strict=True):
        states[owner].append((int(charge) if float(charge).is_integer() else charge, multiplicity))
    numbers, start, found = graph.numbers.tolist(), 0, []
    for size, own in zip(graph.sizes.tolist(), states, strict=True):
        found.append(Composition(tuple(sorted(numbers[start : start + size])), tuple(sorted(own))))
        start += size
    return found


def count_compositions(dataset: Dataset, indices: Iterable[int]) -> Counter[Composition]:
    """How many of these frames have each composition, in the order of their first frame."""
    return Counter(Composition.of(dataset.structures[i]) for i in indices)


def plain_state(counts: Mapping[Composition, int]) -> State:
    """The state without an energy of its own: the neutral singlet, or the most common one."""
    total = Counter[State]()
    for composition, count in counts.items():
        for state in composition.states:
            total[state] += count
    return NEUTRAL_SINGLET if NEUTRAL_SINGLET in total or not total else total.most_common(1)[0][0]


def count_matrix(
    compositions: Iterable[Composition], elements: Sequence[int], states: Sequence[State]
) -> NDArray[np.float64]:
    """(n_compositions, n_elements + n_states) numbers of atoms and of fragments in each state."""
    rows = [
        [*(float(one.numbers.count(z)) for z in elements), *(float(one.states.count(s)) for s in states)]
        for one in compositions
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(elements) + len(states))


def rank_of(rows: NDArray[np.float64]) -> int:
    """Rank of a matrix of counts."""
    return int(np.linalg.matrix_rank(rows, tol=1e-8 * max(float(rows.max(initial=1.0)), 1.0))) if rows.size else 0


@dataclass(frozen=True, eq=False)
class EnergyReference:
    """For which compositions a model's energies have an origin: the sums of atoms and states that its data fix.

    Parameters
    ----------
    atoms : tuple of int
        Elements whose energies are those of isolated atoms; those of the others are a fit.
    plain : (charge, multiplicity)
        The state without an energy of its own.
    compositions : tuple of Composition
        Of the training frames with an energy, as many as are independent of each other.
    """

    atoms: tuple[int, ...]
    plain: State
    compositions: tuple[Composition, ...]

    @classmethod
    def of(
        cls, dataset: Dataset, start: EnergyReference | None = None, adopted: Collection[int] = ()
    ) -> EnergyReference:
        """That of training data; ``start`` that of the model trained from, whose ``adopted`` elements it decides on."""
        counts = count_compositions(dataset, dataset.having("energy") or range(len(dataset)))
        atoms = set(dataset.atomic_energies) - set(adopted)
        seen = list(counts)
        if start is not None:
            atoms |= set(start.atoms)
            seen = [*start.compositions, *seen]
        plain = plain_state(counts) if start is None else start.plain
        kept: list[Composition] = []
        for one in seen:  # independent in all elements and states, so that they are so in fewer too
            elements = sorted({z for c in (*kept, one) for z in c.numbers})
            states = sorted({s for c in (*kept, one) for s in c.states})
            if rank_of(count_matrix([*kept, one], elements, states)) > len(kept):
                kept.append(one)
        return cls(tuple(sorted(atoms)), plain, tuple(kept))

    def knows(self, composition: Composition) -> bool:
        """Whether the energies of this composition follow from those of the training frames."""
        every = (*self.compositions, composition)
        elements = sorted({z for c in every for z in c.numbers} - set(self.atoms))
        states = sorted({s for c in every for s in c.states} - {self.plain})
        rows = count_matrix(every, elements, states)
        return rank_of(rows) == rank_of(rows[:-1]) if rows.size else True

    def to_dict(self) -> dict[str, Any]:
        return {
            "isolated_atoms": [symbol(z) for z in self.atoms],
            "plain_state": list(self.plain),
            "compositions": [
                {
                    "atoms": {symbol(z): n for z, n in sorted(Counter(one.numbers).items())},
                    "states": [list(state) for state in one.states],
                }
                for one in self.compositions
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EnergyReference:
        compositions = []
        for one in data["compositions"]:
            numbers = sorted(atomic_number(name) for name, n in one["atoms"].items() for _ in range(int(n)))
            compositions.append(Composition(tuple(numbers), tuple((int(c), int(m)) for c, m in one["states"])))
        charge, multiplicity = data["plain_state"]
        atoms = tuple(atomic_number(name) for name in data["isolated_atoms"])
        return cls(atoms, (int(charge), int(multiplicity)), tuple(compositions))


@dataclass(frozen=True)
class Extrapolation:
    """How far a geometry is from those that a model was trained on.

    Parameters
    ----------
    score : float or None
        Distance of the atom whose surroundings are the least like those of training atoms, in units of what ordinary
        frames keep to; above one it is unusual. None: the model does not know.
    reasons : tuple of str
        What is unlike the training data, in words; empty if nothing is.
    """

    score: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Domain:
    """What a model was trained on.

    Parameters
    ----------
    elements : tuple of int
        Atomic numbers, ascending.
    states : tuple of (charge, multiplicity)
        Of fragments, ascending.
    energies : EnergyReference or None
        None: not recorded, as in models of before; energies of any composition pass.
    distances : Distances or None
        Range of the distances between atoms.
    surroundings : tuple of Surroundings
        Of the atoms, of each set of data that the model was trained on one after the other; empty: not known.
    """

    elements: tuple[int, ...]
    states: tuple[State, ...]
    energies: EnergyReference | None = None
    distances: Distances | None = None
    surroundings: tuple[Surroundings, ...] = ()

    @classmethod
    def of_specification(cls, specification: DensitySpecification) -> Domain:
        """All that is known of a model that does not record what it was trained on."""
        return cls(specification.elements, specification.states)

    @classmethod
    def of_data(
        cls,
        dataset: Dataset,
        specification: DensitySpecification,
        start: Domain | None = None,
        adopted: Collection[int] = (),
    ) -> Domain:
        """That of a model trained on a data set.

        Parameters
        ----------
        dataset : Dataset
        specification : DensitySpecification
        start : Domain or None
            Of the model that it started from, which it still knows.
        adopted : collection of int
            Elements whose energies are those of the model that it started from.
        """
        energies = EnergyReference.of(dataset, None if start is None else start.energies, adopted)
        distances, surroundings = Distances.of(dataset.structures), Surroundings.of(dataset.structures)
        every = () if surroundings is None else (surroundings,)
        if start is not None:
            distances = distances if start.distances is None else distances.joined(start.distances)
            every = (*start.surroundings, *every)
        return cls(specification.elements, specification.states, energies, distances, every)

    def check(self, compositions: Iterable[Composition], energies: bool) -> None:
        """Refuse molecules of which the model has learned nothing.

        Parameters
        ----------
        compositions : iterable of Composition
        energies : bool
            Energies or forces are asked for, and not only what follows from the density.

        Raises
        ------
        InputError
            Naming elements or states that are not among those of the training data, or a composition whose energy does
            not follow from theirs; it says what to do.
        """
        held = dict.fromkeys(compositions)
        refuse_unknown("The model", (z for one in held for z in one.numbers), self.elements)
        for one in held:
            for charge, multiplicity in one.states:
                if (charge, multiplicity) not in self.states:
                    raise InputError(
                        f"The model was not trained on {hill_formula(one.numbers)} with charge {charge} and "
                        f"multiplicity {multiplicity}; its training data have {describe_states(self.states)} (charge, "
                        "multiplicity). Take a model that was, or train one on such frames."
                    )
            if energies and not self.knows_energy(one):
                raise InputError(f"{self._why_not(one)} {REMEDY}")

    def knows_energy(self, composition: Composition) -> bool:
        """Whether energies of this composition have an origin; True where that was not recorded."""
        return self.energies is None or self.energies.knows(composition)

    def _why_not(self, composition: Composition) -> str:
        assert self.energies is not None
        seen = ", ".join(str(one) for one in self.energies.compositions[:8])
        more = len(self.energies.compositions) - 8
        return (
            f"The energy of {composition} has no meaning in this model: its atomic energies are a fit to "
            f"{seen}{f' and {more} more' if more > 0 else ''}, from which those of {composition} do not follow."
        )

    def extrapolation(self, structure: Structure) -> Extrapolation:
        """How far a geometry is from those of the training data."""
        reasons = [] if self.distances is None else self.distances.outside(structure)
        if not self.surroundings:
            return Extrapolation(None, tuple(reasons))
        scores = np.min([one.scores(structure) for one in self.surroundings], axis=0)
        worst = int(scores.argmax())
        if scores[worst] > 1.0:
            name = f"the surroundings of {symbol(int(structure.numbers[worst]))} (atom {worst + 1})"
            reasons.append(f"{name} differ {scores[worst]:.3g} times as much from those in training as is usual there")
        return Extrapolation(float(scores[worst]), tuple(reasons))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.json; the arrays are ``tensors``."""
        return {
            "elements": [symbol(z) for z in self.elements],
            "states": [list(state) for state in self.states],
            "energies": None if self.energies is None else self.energies.to_dict(),
            "distances": None if self.distances is None else self.distances.to_dict(),
            "surroundings": [one.to_dict() for one in self.surroundings],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Arrays by name, for the package of a model."""
        return {
            f"{place}.{name}": value
            for place, one in enumerate(self.surroundings)
            for name, value in one.tensors().items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Domain:
        energies, distances = data["energies"], data["distances"]
        surroundings = [
            Surroundings.from_dict(
                one, {k.removeprefix(f"{i}."): t for k, t in tensors.items() if k.startswith(f"{i}.")}
            )
            for i, one in enumerate(data["surroundings"])
        ]
        return cls(
            tuple(atomic_number(name) for name in data["elements"]),
            tuple((int(charge), int(multiplicity)) for charge, multiplicity in data["states"]),
            None if energies is None else EnergyReference.from_dict(energies),
            None if distances is None else Distances.from_dict(distances),
            tuple(surroundings),
        )
