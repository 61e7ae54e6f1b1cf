"""The stage ``export``: the model as TorchScript for OpenMM."""

from __future__ import annotations

from pathlib import Path

from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Export(Stage):
    """For the molecule of [system], its atoms in their order."""

    name = "export"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("train", "harmonic")

    def inherits(self, run: Project) -> tuple[str, ...]:
        return ("train",)

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.potential,)

    def summary(self, run: Project) -> str:
        return "TorchScript for openmm-torch"

    def work(self, run: Project) -> None:
        from densnet_core.potentials.bound import BoundPotential

        BoundPotential(run.model(), [run.harmonic().structure]).save_torchscript(run.folder.potential)
