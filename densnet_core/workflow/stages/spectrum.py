"""The stage ``spectrum``: the infrared spectrum of the dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from densnet_core.config.dynamics import ExperimentSection
from densnet_core.config.inputs import check_spectrum
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.workflow.folder import read_json
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Spectrum(Stage):
    """Needs the trajectory of ``md`` and [spectrum]."""

    name = "spectrum"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("md", "harmonic")

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.spectrum, run.folder.picture)

    def key(self, run: Project) -> dict[str, Any]:
        return {"spectrum": run.config.spectrum.model_dump(mode="json")}

    def check(self, run: Project) -> None:
        check_spectrum(run.config)

    def summary(self, run: Project) -> str:
        return "infrared spectrum"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.spectra import spectrum_of, write_spectrum

        section, harmonic = run.config.spectrum, run.harmonic()
        result = spectrum_of(
            run.folder.production,
            lower=section.minimum,
            upper=section.maximum,
            window=section.window,
            width=section.resolution,
            temperature=section.temperature,
            harmonic=harmonic,
        )
        write_spectrum(
            result,
            run.folder.spectrum,
            run.folder.picture,
            title=f"{run.structure.formula}, DenSNet on {run.level}",
            lower=section.minimum,
            upper=section.maximum,
            experiment=_experiment(section.experiment),
            level=str(run.level),
        )

    def result(self, run: Project) -> dict[str, Any]:
        return read_json(run.folder.spectrum)


def _experiment(given: ExperimentSection | None) -> ExperimentalBands | None:
    if given is None:
        return None
    intensities = None if given.intensities is None else tuple(given.intensities)
    return ExperimentalBands(tuple(given.bands), given.source, intensities)
