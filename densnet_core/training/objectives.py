"""Terms of a loss: invariant, intensive squared errors of outputs against labels, each in a unit of its own.

The unit of a term is the spread of its label in the training data, so that every term starts near one. Neither errors
nor units depend on how molecules are turned or where they stand, and large molecules count no more than small ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import PluginError
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.statistics import amplitude_variation, energy_unit, training_amplitudes
from densnet_core.plugins.quantity import Objective, Quantity
from densnet_core.units import AU_TO_DEBYE, EV_PER_ANGSTROM, HARTREE_TO_EV

SMALLEST_DIPOLE: Final = 3e-3
"""(e bohr)^2 per atom: unit where molecules have no dipole moment."""
SMALLEST: Final = 1e-12


class Loss(ABC):
    """Compares outputs with labels, frame by frame.

    Parameters
    ----------
    objective : Objective
    quantities : mapping
        The quantities that the objective names, where they are announced.
    specification : DensitySpecification
    dataset : Dataset
        The training frames: where the unit comes from.

    Attributes
    ----------
    unit : float
        Squared error that counts as one.
    """

    unit: float = 1.0

    def __init__(
        self,
        objective: Objective,
        quantities: Mapping[str, Quantity],
        specification: DensitySpecification,
        dataset: Dataset,
    ) -> None:
        self.objective, self.quantities, self.specification = objective, quantities, specification

    @abstractmethod
    def errors(self, outputs: Mapping[str, Any], dataset: Dataset, indices: Sequence[int]) -> Tensor:
        """(n,) squared errors of frames that all have the labels, atomic units, differentiable.

        Parameters
        ----------
        outputs : mapping
            What the networks give for these frames, as one batch: tensors by the name of a quantity, ``Expansion`` by
            the name of a density.
        dataset : Dataset
        indices : sequence of int
            Of the frames.
        """

    def prepare(self, dataset: Dataset, indices: Sequence[int], device: torch.device) -> None:  # noqa: B027
        """Make what ``errors`` of these frames will need and no output is needed for; called ahead of the step.

        It runs in another thread, with the data set of one batch, and must not change any number.
        """

    def sizes(self, dataset: Dataset, indices: Sequence[int]) -> Tensor:
        """(n,) by which the squared errors are divided to be intensive; one unless a subclass says otherwise."""
        return torch.ones(len(indices), dtype=torch.float64)

    def report(self, errors: Tensor, sizes: Tensor) -> dict[str, float]:
        """Figures for people from squared errors of many frames; keys name their unit."""
        return {f"{self.objective.name}_rms_error_au": sqrt(max(float(errors.mean()), 0.0))}


def atoms_of(dataset: Dataset, indices: Sequence[int]) -> Tensor:
    """(n,) atoms of frames, float64."""
    return torch.tensor([float(dataset.structures[int(i)].n_atoms) for i in indices], dtype=torch.float64)


class SquaredError(Loss):
    """Mean over components of the squared difference of one output and one label; of an extensive one per atom.

    Raises
    ------
    PluginError
        The objective names more than one output or label, or a quantity of functions, or the unit cannot be known.
    """

    def __init__(
        self,
        objective: Objective,
        quantities: Mapping[str, Quantity],
        specification: DensitySpecification,
        dataset: Dataset,
    ) -> None:
        super().__init__(objective, quantities, specification, dataset)
        known = quantities.get(objective.labels[0]) if len(objective.labels) == len(objective.outputs) == 1 else None
        if known is None or known.per == "function":
            raise PluginError(
                f"The objective {objective.name!r} has labels {objective.labels} and outputs {objective.outputs}; the "
                "squared error compares one announced quantity of atoms or molecules with one output. Give it a loss "
                "of its own."
            )
        self.label, self.output = objective.labels[0], objective.outputs[0]
        self.quantity = known
        self.unit = objective.unit if objective.unit is not None else self.spread(dataset)

    def spread(self, dataset: Dataset) -> float:
        """Mean squared label, of scalars about their mean; per atom where extensive."""
        if self.quantity.depends_on_origin:
            raise PluginError(
                f"The objective {self.objective.name!r} must give its unit: the spread of {self.label!r} depends on "
                "where the molecules stand."
            )
        indices = dataset.having(self.label)
        sizes = self.sizes(dataset, indices).tolist()

        def mean(of: Callable[[Any, float], Any]) -> float:
            found = (np.mean(of(dataset.value(self.label, i), size)) for i, size in zip(indices, sizes, strict=True))
            return float(sum(found)) / len(indices)

        usual = mean(lambda value, size: value / size) if self.quantity.rank == 0 else 0.0
        return max(mean(lambda value, size: (value - usual * size) ** 2 / size), SMALLEST)

    def errors(self, outputs: Mapping[str, Any], dataset: Dataset, indices: Sequence[int]) -> Tensor:
        per_atom = self.quantity.per == "atom"
        found: Tensor = outputs[self.output]
        wanted = dataset.tensor(self.label, indices, concatenated=per_atom).to(found.device)
        squares = (found.to(torch.float64) - wanted) ** 2
        squares = squares.flatten(1).mean(1) if squares.ndim > 1 else squares
        if not per_atom:
            return squares
        parts = torch.split(squares, [dataset.structures[int(i)].n_atoms for i in indices])
        return torch.stack([part.mean() for part in parts])

    def sizes(self, dataset: Dataset, indices: Sequence[int]) -> Tensor:
        extensive = self.quantity.extensive and self.quantity.per == "molecule"
        return atoms_of(dataset, indices) if extensive else super().sizes(dataset, indices)


class DensityError(Loss):
    """(rho - rho_hat | M | rho - rho_hat) per atom, in the metric of the specification; two-centre integrals alone.

    The unit is how much the training densities vary per atom, see ``amplitude_variation``.
    """

    def __init__(
        self,
        objective: Objective,
        quantities: Mapping[str, Quantity],
        specification: DensitySpecification,
        dataset: Dataset,
    ) -> None:
        super().__init__(objective, quantities, specification, dataset)
        self.name = objective.labels[0]
        dataset.references(specification, self.name)  # which refuses coefficients of another basis
        self.unit = self._spread(dataset)

    def _spread(self, dataset: Dataset) -> float:
        specification = self.specification
        layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        if self.name == "density":
            return amplitude_variation(layout, training_amplitudes(dataset, specification, layout))
        rows = len(np.atleast_2d(dataset.value(self.name, dataset.having(self.name)[0])))
        return rows * amplitude_variation(layout, self._rows(dataset, layout))

    def _rows(self, dataset: Dataset, layout: CoefficientLayout) -> Iterator[tuple[Tensor, Tensor]]:
        """Species and amplitudes of each density of each frame."""
        for i in dataset.having(self.name):
            species = layout.species(torch.tensor(dataset.structures[i].numbers))
            for row in np.atleast_2d(dataset.value(self.name, i)):
                yield species, layout.amplitudes(torch.tensor(row), species, layout.flat_places(species))

    def prepare(self, dataset: Dataset, indices: Sequence[int], device: torch.device) -> None:
        dataset.references(self.specification, self.name).prepare(list(indices), device)

    def errors(self, outputs: Mapping[str, Any], dataset: Dataset, indices: Sequence[int]) -> Tensor:
        references = dataset.references(self.specification, self.name)
        predicted: Expansion = outputs[self.name]
        return references.squared_errors([int(i) for i in indices], predicted)

    def sizes(self, dataset: Dataset, indices: Sequence[int]) -> Tensor:
        return atoms_of(dataset, indices)

    def report(self, errors: Tensor, sizes: Tensor) -> dict[str, float]:
        relative = float((errors / sizes).mean().clamp(min=0.0)) / self.unit
        return {f"{self.name}_rms_error_relative": sqrt(relative)}


class DipoleError(SquaredError):
    """Squared length of the error of the dipole moment, per atom.

    The error does not depend on the origin, as predicted and true charge are the same; the unit is that of moments
    about the centre of the nuclear charge.
    """

    def spread(self, dataset: Dataset) -> float:
        total, indices = 0.0, dataset.having(self.label)
        for i in indices:
            structure = dataset.structures[i]
            centre = structure.numbers @ structure.positions / structure.numbers.sum()
            about_centre = dataset.value(self.label, i) - structure.charge * centre
            total += float((about_centre**2).sum()) / structure.n_atoms
        return max(total / len(indices), SMALLEST_DIPOLE)

    def errors(self, outputs: Mapping[str, Any], dataset: Dataset, indices: Sequence[int]) -> Tensor:
        dipoles: Tensor = outputs[self.output]
        return ((dipoles - dataset.tensor(self.label, indices).to(dipoles.device)) ** 2).sum(-1)

    def report(self, errors: Tensor, sizes: Tensor) -> dict[str, float]:
        return {"dipole_rms_debye": sqrt(float(errors.mean())) * AU_TO_DEBYE}


class EnergyError(SquaredError):
    """Squared error of the energy per atom, in the unit of the forces' spread."""

    def spread(self, dataset: Dataset) -> float:
        return energy_unit(dataset) ** 2

    def errors(self, outputs: Mapping[str, Any], dataset: Dataset, indices: Sequence[int]) -> Tensor:
        energies: Tensor = outputs[self.output]
        wanted, atoms = dataset.tensor(self.label, indices), atoms_of(dataset, indices)
        return ((energies - wanted.to(energies.device)) / atoms.to(energies.device)) ** 2

    def sizes(self, dataset: Dataset, indices: Sequence[int]) -> Tensor:
        return torch.ones(len(indices), dtype=torch.float64)

    def report(self, errors: Tensor, sizes: Tensor) -> dict[str, float]:
        return {
            "energy_mae_mev_per_atom": float(errors.sqrt().mean()) * 1e3 * HARTREE_TO_EV,
            "energy_rms_mev_per_atom": sqrt(float(errors.mean())) * 1e3 * HARTREE_TO_EV,
        }


class ForceError(SquaredError):
    """Mean squared error of the force components."""

    def spread(self, dataset: Dataset) -> float:
        return energy_unit(dataset) ** 2

    def report(self, errors: Tensor, sizes: Tensor) -> dict[str, float]:
        return {"force_rms_mev_per_angstrom": sqrt(float(errors.mean())) * 1e3 * EV_PER_ANGSTROM}
