"""Training of the density model on reference densities and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset, batches
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel
from densnet_core.models.inputs import check_specification
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.outputs import density_outputs, derived_quantities
from densnet_core.training.terms import Term, Wanted, make_terms, term_errors, total_loss


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
    ) -> None:
        check_specification(model)
        self.model, self.dataset, self.batch_size, self.seed = model, dataset, batch_size, seed
        self._derived = derived_quantities(model.densities, manager or get_manager())
        available = [*model.densities, *self._derived]
        self.terms: list[Term] = make_terms(wanted, available, model.specification, dataset, manager)
        self._needed = {name for term in self.terms for name in term.objective.outputs}

    def prepare(self) -> None:
        """Let the model take its statistics from the training frames."""
        self.model.fit_statistics(self.dataset)

    def _outputs(self, graph: Graph) -> dict[str, Any]:
        return density_outputs(self.model, graph, self._needed, self._derived)

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step and its parts."""
        chosen = batches(len(self.dataset), self.batch_size, number, self.seed)
        graph = self.dataset.graph(chosen, self.model.cutoff)
        return total_loss(self.terms, self._outputs(graph), self.dataset, [int(i) for i in chosen], graph)

    def metrics(self, dataset: Dataset) -> dict[str, float]:
        """Errors of all frames of a data set, in the units of this one."""
        with torch.no_grad():
            return report(self.terms, dataset, self.model.cutoff, self._outputs)


def report(terms: Sequence[Term], dataset: Dataset, cutoff: float | None, outputs: Any) -> dict[str, float]:
    """What every term says of all frames of a data set; ``outputs`` maps a graph to the networks' outputs."""
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in terms]
    for portion in dataset.portions():
        graph = dataset.graph(portion, cutoff)
        given = outputs(graph)
        for term, parts in zip(terms, found, strict=True):
            errors, sizes = term_errors(term, given, dataset, portion, graph)
            if errors is not None:
                parts.append((errors.detach(), sizes))
    told: dict[str, float] = {}
    for term, parts in zip(terms, found, strict=True):
        if parts:
            told |= term.loss.report(torch.cat([e for e, _ in parts]), torch.cat([s for _, s in parts]))
    return told
