"""Training of the energy model on energies and forces, through a density model that is kept fixed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel, densities_up_to
from densnet_core.models.energy import EnergyModel
from densnet_core.models.inputs import check_data
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.outputs import Densities, common_cutoff, energy_outputs
from densnet_core.training.batches import Batches, Graphs, batch_loss
from densnet_core.training.linearised import LinearisedDensities, pays
from densnet_core.training.terms import Term, Wanted, make_terms, report


class EnergyObjective:
    """The weighted terms of the energy stage; those of the core are energies per atom and forces.

    Parameters
    ----------
    model : EnergyModel
    density : DensityModel
        Trained; its parameters are not changed.
    dataset : Dataset
    wanted : sequence of Wanted
    batch_size, seed : int
    manager : Manager or None
    device : str or torch.device
        Where the models train; ``prepare`` moves both there.
    steps : int
        That are planned: with many for each frame the densities and their derivatives are computed once.

    Raises
    ------
    InputError
        As for a ``DensityObjective``; or the energy model reads a density that the density model does not predict, or
        its invariants, which change while both learn.
    """

    def __init__(
        self,
        model: EnergyModel,
        density: DensityModel,
        dataset: Dataset,
        wanted: Sequence[Wanted],
        batch_size: int,
        seed: int,
        manager: Manager | None = None,
        device: str | torch.device = "cpu",
        steps: int = 0,
    ) -> None:
        if model.reads_invariants:
            raise InputError(f"{type(model).__name__} learns together with the density model: take a JointObjective.")
        check_data(model, dataset)
        check_pair(density, model)
        self.model, self.density, self.dataset = model, density, dataset
        self.device = torch.device(device)
        self.density.requires_grad_(False).eval()
        self.graphs = Graphs(dataset, common_cutoff(density, model), self.device)
        self.batches = Batches(self.graphs, batch_size, seed)
        self._many = pays(density, dataset, steps * batch_size / len(dataset), model.densities)
        self._linearised: LinearisedDensities | None = None
        self._manager = manager
        self.want(wanted)

    def want(self, wanted: Sequence[Wanted]) -> None:
        """Take other terms, as a second stage does."""
        available = [*self.model.outputs, "forces"]
        self.terms: list[Term] = make_terms(wanted, available, self.model.specification, self.dataset, self._manager)
        self.batches.learn(self.terms)
        self._needed = {name for term in self.terms for name in term.objective.outputs}

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        return self.model

    def prepare(self) -> None:
        """Let the model take its statistics from the training frames; on the CPU, once."""
        self.model.cpu().fit_statistics(self.dataset, self.density.cpu())
        self.start()

    def start(self) -> None:
        """Move the models to the device, their statistics being there."""
        self.model.to(self.device)
        self.density.to(self.device)
        self._linearised = None

    def _outputs(self, graph: Graph, density: Densities | None = None, training: bool = False) -> dict[str, Any]:
        model = self.model
        density = density or partial(densities_up_to, self.density, l_max=model.l_max, names=model.densities)
        return energy_outputs(density, self.model, graph, "forces" in self._needed, training)[0]

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step, or of this process's part of it, and its parts."""
        batch = self.batches.of_step(number)
        density: Densities | None = None
        if self._many:
            if self._linearised is None:
                self._linearised = LinearisedDensities(self.density, self.graphs, self.model.densities)
            density = self._linearised.at(batch.indices)
        return batch_loss(self.terms, self._outputs(batch.graph, density, training=True), batch)

    def metrics(self, dataset: Dataset) -> dict[str, float]:
        """Errors of all frames of a data set, in the units of this one, and the weighted loss."""
        graphs = Graphs(dataset, common_cutoff(self.density, self.model), self.device)
        return report(self.terms, dataset, graphs, self._outputs)


def check_pair(density: DensityModel, energy: EnergyModel) -> None:
    """``InputError`` if an energy model reads densities that a density model does not predict."""
    missing = sorted(energy.densities - density.densities)
    if missing:
        raise InputError(
            f"{type(energy).__name__} reads {', '.join(missing)}, which {type(density).__name__} does not predict (it "
            f"predicts {', '.join(sorted(density.densities))}). Combine it with a density model that does."
        )
