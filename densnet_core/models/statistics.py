"""What the models that ship with the core take from their training data before the first step.

Nothing here depends on how molecules are turned, numbered or where they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import DensitySpecification, State
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.models.domain import Composition, count_matrix, plain_state, rank_of
from densnet_core.models.layout import CoefficientLayout

SMALLEST_S_SCALE = 1e-4
"""hartree^1/2 (Coulomb metric)."""
SMALLEST_CHARGE = 1e-3
"""e; unit of the flows where the atoms of the training data carry no charge."""
SMALLEST_FORCE = 1e-6
"""hartree/bohr."""


Amplitudes = Iterable[tuple[Tensor, Tensor]]
"""Portions of atoms: their species (n_atoms,) and their amplitudes (n_components, n_atoms, width)."""
FRAMES_AT_ONCE: Final = 64


def training_amplitudes(
    dataset: Dataset, specification: DensitySpecification, layout: CoefficientLayout
) -> Iterator[tuple[Tensor, Tensor]]:
    """Species and amplitudes of all reference densities of a data set, some frames at a time.

    Raises
    ------
    InputError
        No frame has a density.
    """
    indices = dataset.having("density")
    if not indices:
        raise InputError("No training frame has a density, so its amplitudes have no scale; fit the store first.")
    return _portions(dataset, specification, layout, indices)


def _portions(
    dataset: Dataset, specification: DensitySpecification, layout: CoefficientLayout, indices: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    references = dataset.references(specification)
    for portion in (indices[i : i + FRAMES_AT_ONCE] for i in range(0, len(indices), FRAMES_AT_ONCE)):
        species = layout.species(torch.tensor(np.concatenate([dataset.structures[i].numbers for i in portion])))
        flat = torch.cat([references.coefficients(i) for i in portion])
        yield species, layout.amplitudes(flat, species, layout.flat_places(species))


class _Usual:
    """What is usual for the atoms of each element: mean and squared deviations of what does not depend on a turn.

    That is an s amplitude, and of a shell of higher l the length of its 2l + 1 amplitudes. Portions are merged by the
    formula of Chan, Golub and LeVeque (The American Statistician 37, 242 (1983)).

    Attributes
    ----------
    n_atoms : list of int
        Of each element.
    mean, deviations : (n_elements, l_max + 1, width)
        Deviations are sums over the atoms.
    """

    def __init__(self, layout: CoefficientLayout, portions: Amplitudes) -> None:
        self.n_atoms = [0] * len(layout.elements)
        self.mean = torch.zeros_like(layout.present)
        self.deviations = torch.zeros_like(layout.present)
        for species, amplitudes in portions:
            for index in range(len(layout.elements)):
                chosen = amplitudes[:, species == index]
                if chosen.shape[1]:
                    lengths = [
                        chosen[l_**2 : (l_ + 1) ** 2].square().sum(0).sqrt() for l_ in range(1, layout.l_max + 1)
                    ]
                    self._add(index, torch.stack([chosen[0], *lengths]))

    def _add(self, index: int, values: Tensor) -> None:
        """Let values (l_max + 1, n, width) of atoms of one element count."""
        before, new = self.n_atoms[index], values.shape[1]
        mean = values.mean(1)
        change = mean - self.mean[index]
        self.deviations[index] += (values - mean[:, None]).square().sum(1) + change**2 * (before * new / (before + new))
        self.mean[index] += change * (new / (before + new))
        self.n_atoms[index] += new

    def squares(self, index: int) -> Tensor:
        """(l_max + 1, width) sums of the squared amplitudes of the atoms of an element."""
        return self.deviations[index] + self.n_atoms[index] * self.mean[index] ** 2


def amplitude_statistics(layout: CoefficientLayout, portions: Amplitudes) -> tuple[Tensor, Tensor]:
    """Offset (n_elements, width) of the s amplitudes and scale (n_elements, l_max + 1, width) of all.

    The scale of elements that do not occur is one where they have a function.
    """
    usual = _Usual(layout, portions)
    offset = torch.zeros(len(layout.elements), layout.width, dtype=torch.float64)
    scale = layout.present.clone()
    for index, n_atoms in enumerate(usual.n_atoms):
        if not n_atoms:
            continue
        offset[index] = usual.mean[index, 0] * layout.present[index, 0]
        for l_ in range(layout.l_max + 1):
            sums = usual.deviations[index, 0] if l_ == 0 else usual.squares(index)[l_]
            spread = torch.sqrt(sums / (n_atoms * (2 * l_ + 1)))
            # A floor keeps shells that hardly vary in the sample able to respond; without any variation (a single
            # frame, say) s amplitudes still have to take up the charge.
            floor = max(float(spread.max()) * 0.05, SMALLEST_S_SCALE if l_ == 0 else 0.0)
            scale[index, l_] = spread.clamp(min=floor) * layout.present[index, l_]
    return offset, scale


def amplitude_variation(layout: CoefficientLayout, portions: Amplitudes) -> float:
    """Mean over atoms of the squared deviations of amplitudes from what is usual for their element, hartree (Coulomb).

    Usual is the mean of an s amplitude, and the mean length of the 2l + 1 amplitudes of a shell of higher l: lengths do
    not depend on how a molecule is turned. At least a ten thousandth of the mean square of all amplitudes.
    """
    usual = _Usual(layout, portions)
    n_atoms = sum(usual.n_atoms)
    mean_square = sum(float(usual.squares(index).sum()) for index in range(len(usual.n_atoms))) / n_atoms
    return max(float(usual.deviations.sum()) / n_atoms, 1e-4 * mean_square, SMALLEST_S_SCALE**2)


def charge_scale(layout: CoefficientLayout, portions: Amplitudes) -> float:
    """Root mean square of the electrons that the difference density puts on an atom, e."""
    total, n_atoms = 0.0, 0
    for species, amplitudes in portions:
        total += float((amplitudes[0] * layout.electron_counts(species)).sum(-1).square().sum())
        n_atoms += len(species)
    return max(float(np.sqrt(total / n_atoms)), SMALLEST_CHARGE)


def reference_energies(
    dataset: Dataset,
    elements: tuple[int, ...],
    states: tuple[State, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies of the elements (n_elements,) and of the states (n_states,), hartree, by least squares.

    The sum over atoms and fragments is closest to the training energies; of minimum norm where the compositions do not
    determine it. One state of the training data has no energy of its own: the neutral singlet, or the most common one.
    Energies of isolated atoms that the data set knows are not fitted.
    """
    given = {z: float(energy) for z, energy in dataset.atomic_energies.items() if z in elements}
    of_element = np.array([given.get(z, 0.0) for z in elements])
    of_state = np.zeros(len(states))
    indices = dataset.having("energy")
    free = [z for z in elements if z not in given]
    others, composition, kinds = _compositions(dataset, indices, free, states)
    if not indices or not composition.shape[1]:
        return of_element, of_state
    sums, counts = np.zeros(len(composition)), np.zeros(len(composition))
    for i, kind in zip(indices, kinds, strict=True):
        known = sum(given.get(int(z), 0.0) for z in dataset.structures[i].numbers)
        sums[kind] += float(dataset.value("energy", i)) - known
        counts[kind] += 1.0
    # frames of one composition are one row, as heavy as they are many
    heavy = np.sqrt(counts)
    solution, *_ = np.linalg.lstsq(composition * heavy[:, None], sums / heavy, rcond=1e-8)
    for z, energy in zip(free, solution[: len(free)], strict=True):
        of_element[elements.index(z)] = energy
    for state, energy in zip(others, solution[len(free) :], strict=True):
        of_state[states.index(state)] = energy
    return of_element, of_state


def undetermined(dataset: Dataset, elements: tuple[int, ...], states: tuple[State, ...]) -> str | None:
    """What the fit of atomic energies cannot know, in a sentence; None if the compositions determine all of them."""
    indices = dataset.having("energy")
    present = set(dataset.elements)
    free = [z for z in elements if z not in dataset.atomic_energies and z in present]
    others, composition, _ = _compositions(dataset, indices, free, states)
    if not indices or not free:
        return None
    rank = rank_of(composition)
    if rank == composition.shape[1]:
        return None
    names = ", ".join(symbol(z) for z in free)
    return (
        f"The energies of the atoms ({names}{', and of charges and spins' if others else ''}) are a fit, and the "
        f"compositions of the training frames fix {rank} of {composition.shape[1]}: sums for these compositions are "
        "right, atomization energies and energies of other compositions are not. Compute them ([training.energy] atoms "
        '= "reference") or give them.'
    )


def _compositions(
    dataset: Dataset, indices: Sequence[int], elements: Sequence[int], states: tuple[State, ...]
) -> tuple[list[State], NDArray[np.float64], list[int]]:
    """States with an energy of their own, the numbers of atoms and of these states in each composition that occurs,
    and the composition of each frame."""
    of_frames = [Composition.of(dataset.structures[i]) for i in indices]
    counts = Counter(of_frames)
    places = {one: place for place, one in enumerate(counts)}
    plain = plain_state(counts)
    others = [state for state in states if state != plain]
    return others, count_matrix(counts, elements, others), [places[one] for one in of_frames]


def energy_unit(dataset: Dataset) -> float:
    """Root mean square force, hartree/bohr: the unit in which energies per atom and forces are learned."""
    indices = dataset.having("forces")
    if not indices:
        return 1e-2
    mean = sum(float(np.mean(dataset.value("forces", i) ** 2)) for i in indices) / len(indices)
    return max(float(np.sqrt(mean)), SMALLEST_FORCE)
