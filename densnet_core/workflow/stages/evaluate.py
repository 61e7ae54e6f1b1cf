"""The stage ``evaluate``: errors of the model on the frames that are held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densnet_core.workflow.folder import read_json, write_json
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Evaluate(Stage):
    """Errors of all held-out frames, under "stores" of each store and under "formulas" of each formula."""

    name = "evaluate"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("train",)

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.evaluation,)

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        return {run.folder.evaluation: key, run.folder.parity: key}

    def key(self, run: Project) -> dict[str, Any]:
        # The record names the stores; that of the run itself moves with it.
        stores = [] if run.data is None else [str(source.path) for source in run.sources]
        return {"frames": run.digests("test"), "stores": stores}

    def summary(self, run: Project) -> str:
        return "errors on the held-out frames"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.evaluation import held_out_errors

        run.keep_splits()
        model = run.model()
        record = held_out_errors(run, model)
        write_json(run.folder.evaluation, record)
        model.document["metrics"] = {**model.document["metrics"], "held_out": record}
        model.save(run.folder.model)

    def result(self, run: Project) -> dict[str, Any]:
        return read_json(run.folder.evaluation)
