"""The stage ``md``: dynamics with the model, a piece in a heat bath and one at constant energy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densnet_core.workflow.folder import key_of
from densnet_core.workflow.keys import identity
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage
from densnet_core.workflow.stages.harmonic import isotopes

if TYPE_CHECKING:
    from densnet_core.md.base import MDEngine

_UNSEEN = {"engine", "options"}


class MD(Stage):
    """Needs the model and [md]. A longer ``nve_ps`` extends the trajectory that is there."""

    name = "md"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("train", "harmonic")

    def inherits(self, run: Project) -> tuple[str, ...]:
        return ("train",)

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.production,)

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        """The trajectory belongs to everything but its length."""
        settings = self.key(run)["md"]
        rest = {**self.key(run), "md": {name: value for name, value in settings.items() if name != "nve_ps"}}
        own = key_of("md", run.folder.key("train"), rest)
        return {run.folder.heating: own, run.folder.production: own}

    def key(self, run: Project) -> dict[str, Any]:
        return {
            **isotopes(run),
            "md": run.config.md.model_dump(
                mode="json", exclude=_UNSEEN if run.config.md.strict else _UNSEEN | {"strict"}
            ),
            "engine": identity(run.selection.engine, run.manager),
        }

    def prepare(self, run: Project) -> None:
        """A missing engine is an error before the training, not after it."""
        self.check(run)
        run.manager.load(run.selection.engine.component)

    def ready(self, run: Project) -> None:
        from densnet_core.workflow.dynamics import to_record

        if run.config.md.record:
            to_record(run.config.md, self._engine(run), run.model())

    def summary(self, run: Project) -> str:
        md = run.config.md
        return f"{md.nvt_ps:g} ps NVT and {md.nve_ps:g} ps NVE of {md.replicas} replicas"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.dynamics import heat_and_run

        engine, model = self._engine(run), run.model()
        provenance = {
            "model": str(run.folder.model),
            "model_key": run.folder.key("train"),
            "engine": self.key(run)["engine"],
        }
        paths = run.folder.heating, run.folder.production
        heat_and_run(run.config.md, engine, model, run.harmonic().structure, paths, provenance, run.reporter)

    def _engine(self, run: Project) -> MDEngine:
        chosen = run.selection.engine
        engine: MDEngine = run.manager.load(chosen.component)(chosen.options)
        return engine
