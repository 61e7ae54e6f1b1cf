"""The stage ``basis``: the density basis optimised on training frames, where exponents = 'element'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.library import basis_from_file
from densnet_core.errors import ConfigError
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Basis(Stage):
    """Needs [system], [sampling], [reference], [basis] and the split of [training]."""

    name = "basis"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("reference",)

    def inherits(self, run: Project) -> tuple[str, ...]:
        return ()

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.basis,)

    def key(self, run: Project) -> dict[str, Any]:
        return {
            "basis": run.given_basis.content_hash(),
            "frames": run.digests("train"),
            "optimization": run.config.needed_basis().optimization.model_dump(mode="json"),
        }

    def check(self, run: Project) -> None:
        if run.data is not None:
            raise ConfigError(
                f"{run.name}: basis.exponents = 'element' optimises for the molecule of a run. With [data], make a "
                "basis with 'densnet basis optimize' and name it in [basis] file."
            )
        _ = run.given_basis

    def summary(self, run: Project) -> str:
        return f"functions like those of {run.given_basis.name}, optimised for this molecule"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.element_basis import optimize_on_training_frames

        run.keep_splits()
        options = run.config.needed_basis().optimization
        optimize_on_training_frames(
            run.store_path, run.given_basis, options, run.folder.basis, run.folder.root, run.reporter
        )

    def result(self, run: Project) -> GaussianBasis:
        return basis_from_file(run.folder.basis)
