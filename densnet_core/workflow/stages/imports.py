"""The stage ``imports``: the frames of ``[data] files``, each file in a store of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densnet_core.errors import ConfigError
from densnet_core.workflow.folder import has_store
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Imports(Stage):
    """Needs [data]."""

    name = "imports"
    early = True

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return tuple(run.imported(file) for file in _files(run))

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        return dict.fromkeys(self.outputs(run))

    def key(self, run: Project) -> dict[str, Any]:
        return {"stores": [path.name for path in self.outputs(run)]}

    def check(self, run: Project) -> None:
        if run.data is None:
            raise ConfigError(f"{run.name}: there is no [data]; name stores of labelled frames in it.")
        for path in run.data.stores:
            if not has_store(path):
                raise ConfigError(f"{run.name}: data.stores: there is no store {path}.")
        for path in run.data.files:
            if not path.is_file():
                raise ConfigError(f"{run.name}: data.files: there is no file {path}.")

    def summary(self, run: Project) -> str:
        return f"frames of {len(_files(run))} files"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.stores import import_file

        data = run.data
        for file in _files(run):
            store = run.imported(file)
            stage = f"import-{store.stem}"
            if data is None or run.folder.is_current(stage, stage, store):
                continue
            added, there, ignored = import_file(
                file, store, data.level, data.backend, data.charge, data.multiplicity, trust=data.trust
            )
            run.reporter.note(f"{file}: {added + there} frames, in {store}.")
            if ignored:
                run.reporter.note(f"{file}: not imported: {', '.join(ignored)}.")
            run.folder.finish(stage, stage, 0.0)

    def result(self, run: Project) -> list[Path]:
        return list(self.outputs(run))


def _files(run: Project) -> list[Path]:
    return [] if run.data is None else run.data.files
