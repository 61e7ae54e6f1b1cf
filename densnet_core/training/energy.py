"""Training of the energy model on energies and forces, through a density model that is kept fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from densnet_core.datasets.dataset import Dataset, batches
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.models.inputs import check_specification
from densnet_core.plugins.manager import Manager
from densnet_core.potentials.outputs import common_cutoff, energy_outputs
from densnet_core.training.density import report
from densnet_core.training.terms import Term, Wanted, make_terms, total_loss


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

    Raises
    ------
    InputError
        As for a ``DensityObjective``; or the energy model reads a density that the density model does not predict.
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
    ) -> None:
        check_specification(model)
        check_pair(density, model)
        self.model, self.density, self.dataset = model, density, dataset
        self.batch_size, self.seed = batch_size, seed
        self.density.requires_grad_(False)
        available = [*model.outputs, "forces"]
        self.terms: list[Term] = make_terms(wanted, available, model.specification, dataset, manager)
        self._needed = {name for term in self.terms for name in term.objective.outputs}

    def prepare(self) -> None:
        """Let the model take its statistics from the training frames."""
        self.model.fit_statistics(self.dataset, self.density)

    def _outputs(self, graph: Graph, training: bool = False) -> dict[str, Any]:
        return energy_outputs(self.density, self.model, graph, "forces" in self._needed, training)[0]

    def step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the batch of a step and its parts."""
        chosen = batches(len(self.dataset), self.batch_size, number, self.seed)
        graph = self.dataset.graph(chosen, common_cutoff(self.density, self.model))
        outputs = self._outputs(graph, training=True)
        return total_loss(self.terms, outputs, self.dataset, [int(i) for i in chosen], graph)

    def metrics(self, dataset: Dataset) -> dict[str, float]:
        """Errors of all frames of a data set, in the units of this one."""
        return report(self.terms, dataset, common_cutoff(self.density, self.model), self._outputs)


def check_pair(density: DensityModel, energy: EnergyModel) -> None:
    """``InputError`` if an energy model reads densities that a density model does not predict."""
    missing = sorted(energy.densities - density.densities)
    if missing:
        raise InputError(
            f"{type(energy).__name__} reads {', '.join(missing)}, which {type(density).__name__} does not predict (it "
            f"predicts {', '.join(sorted(density.densities))}). Combine it with a density model that does."
        )
