"""The stage ``sample``: the geometries that are to be labelled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from densnet_core.sampling.base import SamplingContext
from densnet_core.structures import Structure, write_xyz
from densnet_core.workflow.feasible import check_sampling
from densnet_core.workflow.folder import write_json
from densnet_core.workflow.keys import identity
from densnet_core.workflow.project import Project
from densnet_core.workflow.sampling import summary
from densnet_core.workflow.stages.base import Stage
from densnet_core.workflow.stages.harmonic import isotopes, labelled, molecule


class Sample(Stage):
    """Needs [system], and [reference] for samplers that compute energies."""

    name = "sample"

    def needs(self, run: Project) -> tuple[str, ...]:
        run.config.needed_system()
        return ("harmonic",) if run.sampling.needs_harmonic else ()

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.samples, run.folder.sampling)

    def owned(self, run: Project, key: str) -> dict[Path, str | None]:
        return dict.fromkeys((*self.outputs(run), run.folder.unfinished_sampling), key)

    def key(self, run: Project) -> dict[str, Any]:
        section, start = run.config.sampling, run.selection.sampling_start
        return {
            **(labelled(run) if run.sampling.needs_backend else molecule(run)),
            **isotopes(run),
            "sampler": identity(run.selection.sampler, run.manager),
            "start": None if start is None else identity(start, run.manager),
            "select": None if section.select is None else section.select.count,
            "min_difference": section.min_difference,
        }

    def check(self, run: Project) -> None:
        check_sampling(run.name, run.sampling, run.structure)

    def summary(self, run: Project) -> str:
        return f"geometries by {run.selection.sampler.component.name}"

    def work(self, run: Project) -> None:
        plan, folder = run.sampling, run.folder
        context = SamplingContext(
            run.harmonic() if plan.needs_harmonic else None,
            run.factory if plan.needs_backend else None,
            run.executor,
            folder.unfinished_sampling,
            task=run.reporter.task,
        )
        structures, record = plan.carry_out(run.structure, context)
        write_json(folder.sampling, record)
        write_xyz(folder.samples, structures)
        shutil.rmtree(folder.unfinished_sampling, ignore_errors=True)
        if told := summary(record):
            run.reporter.note(told)

    def result(self, run: Project) -> list[Structure]:
        return run.samples()
