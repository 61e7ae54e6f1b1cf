"""The stage ``spectrum``: the infrared spectrum of the dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from densnet_core.config.inputs import check_spectrum
from densnet_core.workflow.folder import read_json
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Spectrum(Stage):
    """Needs the trajectory of ``md`` and [spectrum]."""

    name = "spectrum"

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("md", "harmonic")

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.spectrum, run.folder.picture, run.folder.page)

    def key(self, run: Project) -> dict[str, Any]:
        return {"spectrum": run.config.spectrum.model_dump(mode="json")}

    def check(self, run: Project) -> None:
        check_spectrum(run.config)

    def summary(self, run: Project) -> str:
        return "infrared spectrum"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.spectra import SpectrumFiles, spectrum_of, write_spectrum
        from densnet_core.workflow.weighted import Weighted

        folder, section, level = run.folder, run.config.spectrum, str(run.level)
        result = spectrum_of([Weighted(folder.production)], section, run.harmonic(), level)
        files = SpectrumFiles(folder.spectrum, folder.picture, folder.page)
        write_spectrum(result, files, section, title=f"{run.structure.formula}, DenSNet on {level}")

    def result(self, run: Project) -> dict[str, Any]:
        return read_json(run.folder.spectrum)
