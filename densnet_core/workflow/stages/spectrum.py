"""The stage ``spectrum``: the infrared spectrum of the dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from densnet_core.config.inputs import check_spectrum
from densnet_core.spectra.lines import HarmonicLines
from densnet_core.workflow.folder import read_json
from densnet_core.workflow.keys import file_digest
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
        section = run.config.spectrum
        key: dict[str, Any] = {"spectrum": section.model_dump(mode="json", exclude={"compare", "compare_weights"})}
        if section.compare:
            key["compared"] = [[file_digest(path) for path in section.compare], section.compare_weights]
        return key

    def check(self, run: Project) -> None:
        check_spectrum(run.config)
        if run.config.spectrum.compare:
            _compared(run)

    def summary(self, run: Project) -> str:
        return "infrared spectrum"

    def work(self, run: Project) -> None:
        from densnet_core.workflow.spectra import SpectrumFiles, spectrum_of, write_spectrum
        from densnet_core.workflow.weighted import Weighted

        folder, section, level = run.folder, run.config.spectrum, str(run.level)
        compared = _compared(run)
        result = spectrum_of([Weighted(folder.production)], section, run.harmonic(), level)
        files = SpectrumFiles(folder.spectrum, folder.picture, folder.page)
        title = f"{run.structure.formula}, DenSNet on {level}"
        write_spectrum(result, files, section, title=title, compared=compared)

    def result(self, run: Project) -> dict[str, Any]:
        return read_json(run.folder.spectrum)


def _compared(run: Project) -> list[HarmonicLines]:
    """Harmonic lines of the files that [spectrum] names."""
    from densnet_core.workflow.compared import files_of, lines_of_files

    section = run.config.spectrum
    return lines_of_files(files_of(section), run.structure, section.temperature or run.config.md.temperature)
