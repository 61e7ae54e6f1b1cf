"""What the models that ship with the core take from their training data before the first step.

Nothing here depends on how molecules are turned, numbered or where they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import NEUTRAL_SINGLET, DensitySpecification, State
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.models.layout import CoefficientLayout

SMALLEST_S_SCALE = 1e-4
"""hartree^1/2 (Coulomb metric)."""
SMALLEST_CHARGE = 1e-3
"""e; unit of the flows where the atoms of the training data carry no charge."""
SMALLEST_FORCE = 1e-6
"""hartree/bohr."""


def training_amplitudes(
    dataset: Dataset, specification: DensitySpecification, layout: CoefficientLayout
) -> tuple[Tensor, Tensor]:
    """Species (n_atoms,) and amplitudes (n_components, n_atoms, width) of all reference densities of a data set.

    Raises
    ------
    InputError
        No frame has a density.
    """
    indices = dataset.having("density")
    if not indices:
        raise InputError("No training frame has a density, so its amplitudes have no scale; fit the store first.")
    references = dataset.references(specification)
    numbers = np.concatenate([dataset.structures[i].numbers for i in indices])
    species = layout.species(torch.tensor(numbers))
    flat = torch.cat([references.coefficients(i) for i in indices])
    return species, layout.amplitudes(flat, species, layout.flat_places(species))


def amplitude_statistics(layout: CoefficientLayout, species: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
    """Offset (n_elements, width) of the s amplitudes and scale (n_elements, l_max + 1, width) of all.

    The scale of elements that do not occur is one where they have a function.
    """
    offset = torch.zeros(len(layout.elements), layout.width, dtype=torch.float64)
    scale = layout.present.clone()
    for index in range(len(layout.elements)):
        chosen = amplitudes[:, species == index]
        if chosen.shape[1] == 0:
            continue
        offset[index] = chosen[0].mean(0) * layout.present[index, 0]
        for l_ in range(layout.l_max + 1):
            rows = chosen[l_**2 : (l_ + 1) ** 2]
            rows = rows - offset[index] if l_ == 0 else rows
            spread = torch.sqrt((rows**2).mean(dim=(0, 1)))
            # A floor keeps shells that hardly vary in the sample able to respond; without any variation (a single
            # frame, say) s amplitudes still have to take up the charge.
            floor = max(float(spread.max()) * 0.05, SMALLEST_S_SCALE if l_ == 0 else 0.0)
            scale[index, l_] = spread.clamp(min=floor) * layout.present[index, l_]
    return offset, scale


def amplitude_variation(layout: CoefficientLayout, species: Tensor, amplitudes: Tensor) -> float:
    """Mean over atoms of the squared deviations of amplitudes from what is usual for their element, hartree (Coulomb).

    Usual is the mean of an s amplitude, and the mean length of the 2l + 1 amplitudes of a shell of higher l: lengths do
    not depend on how a molecule is turned. At least a ten thousandth of the mean square of all amplitudes.
    """
    total = 0.0
    for index in range(len(layout.elements)):
        chosen = amplitudes[:, species == index]
        if chosen.shape[1] == 0:
            continue
        for l_ in range(layout.l_max + 1):
            rows = chosen[l_**2 : (l_ + 1) ** 2]
            values = rows[0] if l_ == 0 else rows.square().sum(0).sqrt()
            total += float((values - values.mean(0)).square().sum())
    mean_square = float(amplitudes.square().sum()) / amplitudes.shape[1]
    return max(total / amplitudes.shape[1], 1e-4 * mean_square, SMALLEST_S_SCALE**2)


def charge_scale(layout: CoefficientLayout, species: Tensor, amplitudes: Tensor) -> float:
    """Root mean square of the electrons that the difference density puts on an atom, e."""
    electrons = (amplitudes[0] * layout.electron_counts(species)).sum(-1)
    return max(float((electrons**2).mean().sqrt()), SMALLEST_CHARGE)


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
    others, composition = _compositions(dataset, indices, free, states)
    if not indices or not composition.shape[1]:
        return of_element, of_state
    energies = np.array([float(dataset.value("energy", i)) for i in indices])
    energies -= np.array([sum(given.get(int(z), 0.0) for z in dataset.structures[i].numbers) for i in indices])
    solution, *_ = np.linalg.lstsq(composition, energies, rcond=1e-8)
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
    others, composition = _compositions(dataset, indices, free, states)
    if not indices or not free:
        return None
    rank = int(np.linalg.matrix_rank(composition, tol=1e-8 * max(composition.max(), 1.0)))
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
) -> tuple[list[State], NDArray[np.float64]]:
    """States with an energy of their own, and the numbers of atoms and of these states in each frame."""
    frames = [dataset.structures[i] for i in indices]
    found = [Counter((part.charge, part.multiplicity) for part in s.parts) for s in frames]
    total = sum(found, Counter[State]())
    plain = NEUTRAL_SINGLET if NEUTRAL_SINGLET in total or not total else total.most_common(1)[0][0]
    others = [state for state in states if state != plain]
    rows = [
        [*(float(np.sum(s.numbers == z)) for z in elements), *(float(counts[state]) for state in others)]
        for s, counts in zip(frames, found, strict=True)
    ]
    return others, np.array(rows, dtype=np.float64).reshape(len(frames), len(elements) + len(others))


def energy_unit(dataset: Dataset) -> float:
    """Root mean square force, hartree/bohr: the unit in which energies per atom and forces are learned."""
    indices = dataset.having("forces")
    if not indices:
        return 1e-2
    mean = np.mean([np.mean(dataset.value("forces", i) ** 2) for i in indices])
    return max(float(np.sqrt(mean)), SMALLEST_FORCE)
