"""Fine-tuning of both networks together on densities, dipoles, energies and forces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel, densities_up_to
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.outputs import (
    common_cutoff,
    degree_for,
    densities_for,
    derived_quantities,
    energy_outputs,
)
from densnet_core.training.batches import Batches, Graphs, batch_loss
from densnet_core.training.energy import check_pair
from densnet_core.training.native import outputs_in_training
from densnet_core.training.terms import Term, Wanted, make_terms, report


class JointObjective:
    """The weighted terms of both stages, with the parameters of both networks free.

    Parameters
    ----------
    density, energy : models
        Trained; or the energy model is new, as one that learns together with the density model is.
    dataset : Dataset
    wanted : sequence of Wanted
        Of both stages.
    batch_size, seed : int
    manager : Manager or None
    device : str or torch.device
        Where the models train; ``start`` moves both there.
    native : bool
        Steps by native code, see ``densnet_core.training.native``.

    Raises
    ------
    InputError
        As for the objectives of the stages.
    """

    def __init__(
        self,
        density: DensityModel,
        energy: EnergyModel,
        dataset: Dataset,
        wanted: Sequence[Wanted],
        batch_size: int,
        seed: int,
        manager: Manager | None = None,
        device: str | torch.device = "cpu",
        native: bool = False,
    ) -> None:
        check_pair(density, energy)
        self.density, self.energy, self.dataset = density, energy, dataset
        self.device = torch.device(device)
        self.module = nn.ModuleDict({"density": density, "energy": energy}).requires_grad_(True)
        self.graphs = Graphs(dataset, common_cutoff(density, energy), self.device, tables=native)
        self.native = native
        self.batches = Batches(self.graphs, batch_size, seed)
        self._manager = manager
        self._known = derived_quantities(density.densities, manager or get_manager())
        self.want(wanted)

    def want(self, wanted: Sequence[Wanted]) -> None:
        """Take other terms, as a second stage does."""
        density, energy = self.density, self.energy
        available = [*density.densities, *self._known, *energy.outputs, "forces"]
        self.terms: list[Term] = make_terms(wanted, available, density.specification, self.dataset, self._manager)
        self.batches.learn(self.terms)
        self._needed = needed = {name for term in self.terms for name in term.objective.outputs}
        self._derived = {name: derive for name, derive in self._known.items() if name in needed - set(energy.outputs)}
        self._forces = "forces" in needed
        self._degree = degree_for(needed, self._derived, energy)
        self._names = densities_for(needed, self._derived, energy)
        self._compile()

    def prepare(self) -> None:
        """Let the energy model take its statistics from the training frames; on the CPU, once."""
        self.energy.cpu().fit_statistics(self.dataset, self.density.cpu())
        self.start()

    def start(self) -> None:
        """Move both models to the device."""
        self.module.to(self.device)
        self._compile()

    def _compile(self) -> None:
        """For the terms and the buffers as they are now."""
        outputs = partial(self._outputs, training=True)
        self._trained = outputs_in_training(self.module, outputs, self._needed, self.native)

    def _outputs(self, graph: Graph, training: bool = False) -> dict[str, Any]:
        density = partial(densities_up_to, self.density, l_max=self._degree, names=self._names)
        found, densities = energy_outputs(density, self.energy, graph, self._forces, training)
        specification = self.density.specification
        with torch.set_grad_enabled(training):
            more = {name: derive(graph, densities, specification) for name, derive in self._derived.items()}
        return {**densities, **more, **found}

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step, or of this process's part of it, and its parts."""
        batch = self.batches.of_step(number)
        return batch_loss(self.terms, self._trained(batch.parts), batch)

    def metrics(self, dataset: Dataset) -> dict[str, float]:
        """Errors of all frames of a data set, in the units of this one, and the weighted loss."""
        graphs = Graphs(dataset, common_cutoff(self.density, self.energy), self.device)
        return report(self.terms, dataset, graphs, self._outputs)
