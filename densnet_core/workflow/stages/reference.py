"""The stage ``reference``: labels of all sampled geometries, frame by frame, in one store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from densnet_core.errors import DenSNetError
from densnet_core.reference.level import PROPERTIES
from densnet_core.workflow.keys import CODE, code_of, plain
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage
from densnet_core.workflow.stages.harmonic import check_labels, labelled


class Reference(Stage):
    """Needs [system], [sampling] and [reference].

    The store holds a frame once: more geometries extend it. Frames that other code of the backend computed are kept,
    since they cost the most of all; ``--again reference`` computes them anew.
    """

    name = "reference"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("sample",)

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.store_path,)

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        return {run.store_path: None}

    def key(self, run: Project) -> dict[str, Any]:
        known, asked = run.manager.quantities(), run.config.needed_reference().properties
        labels = {name: code_of(known[name], run.manager) for name in asked if name not in PROPERTIES}
        return {**labelled(run), "properties": asked, "labels": {name: {CODE: one} for name, one in labels.items()}}

    def check(self, run: Project) -> None:
        check_labels(run)

    def unfinished(self, run: Project, left: Any) -> str | None:
        if left is None or left == plain(run.selection.executor):
            return None
        return "calculations that failed are tried again, since [executor] has changed"

    def remark(self, run: Project, left: Any) -> str | None:
        if left is None:
            return None
        return "Some calculations failed and are left out; they are tried again when [executor] changes."

    def summary(self, run: Project) -> str:
        return f"{len(run.samples())} calculations with {run.backend.component.name}, {run.level}"

    def work(self, run: Project) -> Any:
        from densnet_core.stores.scf_states import state_notes
        from densnet_core.workflow.labels import label_into, open_store, plugin_label

        structures, name = run.samples(), run.backend.component.name
        asked, known = run.config.needed_reference().properties, run.manager.quantities()
        factory = replace(run.factory, properties=tuple(name for name in asked if name in PROPERTIES))
        more = [plugin_label(known[name], run.manager) for name in asked if name not in PROPERTIES]
        with open_store(run.store_path, run.factory, name) as store:
            made_by, now = store.versions, run.factory.make().versions()
            if len(store) and dict(made_by) != now:
                run.reporter.note(
                    f"Frames of {run.store_path.name} that are there were computed by {_text(made_by)} and are kept; "
                    f"now it is {_text(now)}; --again reference computes them anew."
                )
            advance = run.reporter.task("calculations", len(structures))
            failures = label_into(store, factory, structures, run.executor, advance, more)
            notes = state_notes(store)
        for sentence in notes:
            run.reporter.note(sentence)
        if not failures:
            return None
        told = f"{len(failures)} of {len(structures)} calculations failed"
        if len(failures) == len(structures):
            raise DenSNetError(f"{told}. The first failure: {failures[0][1]}")
        run.reporter.note(f"{told} and are left out; the first: {failures[0][1]}")
        return plain(run.selection.executor)


def _text(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
