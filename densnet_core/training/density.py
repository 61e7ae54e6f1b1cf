"""Training of the density model on reference densities and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel
from densnet_core.models.inputs import check_data
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.outputs import density_outputs, derived_quantities
from densnet_core.training.batches import Batches, Graphs, batch_loss
from densnet_core.training.native import outputs_in_training
from densnet_core.training.terms import Term, Wanted, make_terms, report


class DensityObjective:
    """The weighted terms of the density stage over batches of a data set.

    loss = sum over terms of weight * mean over frames (squared error / size) / unit; the terms that ship with the core
    are the error of the density in its metric and that of the dipole moment, against the reference's own dipole.

    Parameters
    ----------
    model : DensityModel
    dataset : Dataset
        Training frames.
    wanted : sequence of Wanted
        See ``densnet_core.training.terms.wanted_objectives``.
    batch_size, seed : int
    manager : Manager or None
    device : str or torch.device
        Where the model trains; ``prepare`` moves it there.
    native : bool
        Steps by native code, see ``densnet_core.training.native``.

    Raises
    ------
    InputError
        The model does not use an input that varies in the data, coefficients do not belong to its basis, or there is
        nothing to learn.
    """

    def __init__(
        self,
        model: DensityModel,
        dataset: Dataset,
        wanted: Sequence[Wanted],
        batch_size: int,
        seed: int,
        manager: Manager | None = None,
        device: str | torch.device = "cpu",
        native: bool = False,
    ) -> None:
        check_data(model, dataset)
        self.model, self.dataset, self.device = model, dataset, torch.device(device)
        self.graphs = Graphs(dataset, model.cutoff, self.device, tables=native)
        self.native = native
        self.batches = Batches(self.graphs, batch_size, seed)
        self._derived = derived_quantities(model.densities, manager or get_manager())
        self._manager = manager
        self.want(wanted)

    def want(self, wanted: Sequence[Wanted]) -> None:
        """Take other terms, as a second stage does."""
        available = [*self.model.densities, *self._derived]
        self.terms: list[Term] = make_terms(wanted, available, self.model.specification, self.dataset, self._manager)
        self.batches.learn(self.terms)
        self._needed = {name for term in self.terms for name in term.objective.outputs}
        self._compile()

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        return self.model

    def prepare(self) -> None:
        """Let the model take its statistics from the training frames; on the CPU, once."""
        self.model.cpu().fit_statistics(self.dataset)
        self.start()

    def start(self) -> None:
        """Move the model to the device, its statistics being there."""
        self.model.to(self.device)
        self._compile()

    def _compile(self) -> None:
        """For the terms and the buffers as they are now."""
        self._trained = outputs_in_training(self.module, self._outputs, self._needed, self.native)

    def _outputs(self, graph: Graph) -> dict[str, Any]:
        return density_outputs(self.model, graph, self._needed, self._derived)

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step, or of this process's part of it, and its parts."""
        batch = self.batches.of_step(number)
        return batch_loss(self.terms, self._trained(batch.parts), batch)

    def metrics(self, dataset: Dataset) -> dict[str, float]:
        """Errors of all frames of a data set, in the units of this one, and the weighted loss."""
        with torch.no_grad():
            return report(self.terms, dataset, Graphs(dataset, self.model.cutoff, self.device), self._outputs)
