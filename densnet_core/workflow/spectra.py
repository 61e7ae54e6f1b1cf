"""The infrared spectrum of trajectories, with a configuration and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from densnet_core.config.dynamics import ExperimentSection, SpectrumSection
from densnet_core.errors import InputError
from densnet_core.files.records import write_json
from densnet_core.md.analysis import EnergyConservation
from densnet_core.potentials.densnet import DenSNet
from densnet_core.spectra.assignment import Assignment, assign, error_curve
from densnet_core.spectra.bands import bands
from densnet_core.spectra.experiment import ExperimentalBands, Region
from densnet_core.spectra.export import spectrum_record
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.spectra.infrared import Spectrum
from densnet_core.spectra.lines import Conformer, HarmonicLines
from densnet_core.spectra.mixture import energies_together, mixture
from densnet_core.spectra.page import write_page
from densnet_core.spectra.plots import plot_spectrum
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.workflow.compared import lines_of_files
from densnet_core.workflow.dynamics import add_dipoles
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.trajectory_spectra import (
    TrajectorySpectrum,
    check_together,
    trajectory_spectrum,
    weights_of,
)
from densnet_core.workflow.weighted import Weighted


@dataclass(frozen=True)
class SpectrumFiles:
    """Where a spectrum is written: its record, its picture, and the page to look at it in a browser."""

    record: Path
    picture: Path
    page: Path

    @classmethod
    def of(cls, stem: Path) -> Self:
        """Files whose names begin alike."""
        return cls(*(stem.with_name(f"{stem.name}{suffix}") for suffix in (".json", ".png", ".html")))


@dataclass(frozen=True)
class SpectrumResult:
    """The spectrum of one trajectory or several, and what it was compared with."""

    spectrum: Spectrum
    harmonic: HarmonicLines | None
    """Of the reference calculation."""
    model_harmonic: HarmonicLines | None
    """Of the model that moved the molecule, where every trajectory has it."""
    assignment: Assignment | None
    """To the lines of the model, or of the reference where these are not known."""
    conservation: EnergyConservation
    """Of the trajectory that conserves its energy worst."""
    temperature: float
    warnings: tuple[str, ...]
    """Where the temperature is far from the one asked for; where replicas are too few for an even spectrum."""
    trajectories: tuple[dict[str, Any], ...]
    """Plain data of each, where there are several."""
    weights_from: str
    """Where the weights of several are from, in words."""


def spectrum_of(
    given: Sequence[Weighted], section: SpectrumSection, harmonic: HarmonicReference | None = None, level: str = ""
) -> SpectrumResult:
    """Infrared spectrum of production trajectories with dipoles: the weighted mean, if there are several.

    Parameters
    ----------
    given : sequence of Weighted
        Trajectories of one molecule at one temperature.
    section : SpectrumSection
    harmonic : HarmonicReference or None
        Of the reference calculation.
    level : str
        Its level of theory.

    Raises
    ------
    InputError
        The trajectories do not belong together, are too short for the resolution, or need weights.
    """
    check_together([one.path for one in given])
    found = [trajectory_spectrum(one.path, section, harmonic) for one in given]
    weights, origin = weights_of(given, found)
    spectrum = found[0].spectrum if len(found) == 1 else mixture([one.spectrum for one in found], weights)
    reference = None if harmonic is None else _lines(level, [harmonic])
    minima = [one.harmonic for one in found if one.harmonic is not None]
    names = [str(one.path) for one in found]
    of_model = _lines("model", minima, names, weights, origin) if len(minima) == len(found) else None
    lines, assignment = of_model or reference, None
    if lines is not None:
        energies = None if of_model is None else _energies(found, of_model)
        assignment = assign(
            spectrum, lines.wavenumbers, lines.intensities,
            lower=section.minimum, upper=section.maximum, energies=energies,
        )  # fmt: skip
    told = [one.warning and (f"{one.path}: {one.warning}" if len(found) > 1 else one.warning) for one in found]
    told += [None if assignment is None else assignment.warning]
    return SpectrumResult(
        spectrum,
        reference,
        of_model,
        assignment,
        max((one.conservation for one in found), key=lambda one: abs(one.drift)),
        float(np.dot(weights, [one.temperature for one in found])),
        tuple(one for one in told if one is not None),
        tuple(_trajectory(one, weight) for one, weight in zip(found, weights, strict=True) if len(found) > 1),
        origin if len(found) > 1 else "",
    )


def _lines(
    label: str,
    references: Sequence[HarmonicReference],
    names: Sequence[str] = ("",),
    weights: Sequence[float] = (1.0,),
    origin: str = "",
) -> HarmonicLines:
    conformers = [Conformer.of(*one) for one in zip(references, names, weights, strict=True)]
    return HarmonicLines(label, tuple(conformers), origin if len(conformers) > 1 else "")


def _energies(found: Sequence[TrajectorySpectrum], lines: HarmonicLines) -> Any:
    """(n_replicas, n_lines) that modes started with, in the order of the lines; None if one does not know its own."""
    own = [one.energies for one in found if one.energies is not None]
    if len(own) < len(found):
        return None
    first = np.cumsum([0, *(one.shape[1] for one in own)])
    return energies_together(own)[:, [first[number] + mode for number, mode in lines.places]]


def _trajectory(one: TrajectorySpectrum, weight: float) -> dict[str, Any]:
    settings = one.spectrum.settings
    return {
        "file": str(one.path),
        "weight_ratio": weight,
        "n_replicas": settings.n_replicas,
        "length_picosecond": settings.length,
        "temperature_kelvin": one.temperature,
    }


def write_spectrum(
    result: SpectrumResult,
    files: SpectrumFiles,
    section: SpectrumSection,
    *,
    title: str,
    compared: Sequence[HarmonicLines] = (),
) -> dict[str, Any]:
    """Write spectrum.json, spectrum.png and spectrum.html; returns the record without the curve."""
    lower, upper = section.minimum, section.maximum
    experiment = _experiment(section.experiment)
    arguments: dict[str, Any] = {
        "bands": bands(result.spectrum, lower=lower, upper=upper),
        "harmonic": result.harmonic,
        "model_harmonic": result.model_harmonic,
        "compared": compared,
        "assignment": result.assignment,
        "experiment": experiment,
    }
    more: dict[str, Any] = {
        "title": title,
        "range": {"lower_per_cm": lower, "upper_per_cm": upper},
        "dynamics": {
            "vibrational_temperature_kelvin": result.temperature,
            "energy_drift_mev_per_atom_per_ps": result.conservation.drift,
            "energy_fluctuation_mev_per_atom": result.conservation.fluctuation,
            "length_ps": result.spectrum.settings.length,
            "warnings": list(result.warnings),
        },
    }
    if result.trajectories:
        more |= {"trajectories": list(result.trajectories), "weights_from": result.weights_from}
    record = {**spectrum_record(result.spectrum, **arguments), **more}
    write_json(files.record, record)
    write_page(files.page, record)
    lines = [one for one in (result.model_harmonic, result.harmonic, *compared) if one is not None]
    plot_spectrum(
        files.picture,
        result.spectrum,
        errors=error_curve(result.spectrum) if result.assignment is None else result.assignment.errors,
        title=title,
        lines=lines,
        experiment=experiment,
        remarks=[*_weights(result, compared), *result.warnings],
        lower=lower,
        upper=upper,
    )
    return {**spectrum_record(result.spectrum, curve=False, **arguments), **more}


def _weights(result: SpectrumResult, compared: Sequence[HarmonicLines]) -> list[str]:
    """What is a weighted mean, in words."""
    told = []
    if result.trajectories:
        parts = ", ".join(f"{one['weight_ratio']:.2f}" for one in result.trajectories)
        told.append(f"{len(result.trajectories)} trajectories with weights {parts} ({result.weights_from})")
    for lines in compared:
        if lines.weights_from:
            parts = ", ".join(f"{one.weight:.2f}" for one in lines.conformers)
            told.append(
                f"{lines.label}: {len(lines.conformers)} conformers with weights {parts} ({lines.weights_from})"
            )
    return told


def _experiment(given: ExperimentSection | None) -> ExperimentalBands | None:
    if given is None:
        return None
    intensities = None if given.intensities is None else tuple(given.intensities)
    regions = tuple(Region(**region.model_dump()) for region in given.regions or ())
    return ExperimentalBands(tuple(given.bands), given.source, intensities, regions)


def spectrum_of_stores(
    given: Sequence[Weighted],
    section: SpectrumSection,
    model: Path | None,
    files: SpectrumFiles,
    reporter: Reporter,
    compare: Sequence[Weighted] = (),
) -> dict[str, Any]:
    """Infrared spectrum of trajectory stores, without a configuration; its record, which is written with a picture.

    Parameters
    ----------
    given : sequence of Weighted
        Stores of one molecule; of several the weighted mean.
    model : Path or None
        For the dipoles, where a store has none; None: the model that the store says it was made with.
    compare : sequence of Weighted
        ``modes.json`` of ``densnet vibrations`` whose lines are to stand beside.

    Raises
    ------
    InputError
        There are no dipoles and there is no model, a trajectory is too short for the resolution, or trajectories or
        files do not belong together.
    """
    check_together([one.path for one in given])
    with TrajectoryStore.open(given[0].path) as store:
        structure, temperature = store.structure, float(store.stage["temperature"])
    compared = lines_of_files(compare, structure, section.temperature or temperature)
    for one in given:
        _make_dipoles(one.path, model, reporter)
    named = given[0].path.name if len(given) == 1 else f"mean of {len(given)} trajectories"
    title = f"{structure.formula}, {named}"
    return write_spectrum(spectrum_of(given, section), files, section, title=title, compared=compared)


def _make_dipoles(path: Path, model: Path | None, reporter: Reporter) -> None:
    """Give a trajectory dipoles where it has none."""
    with TrajectoryStore.open(path) as store:
        known = bool(np.isfinite(store.dipoles()).all())
        made_with = store.provenance.get("model")
    if not known:
        source = model or (Path(made_with) if isinstance(made_with, str) and Path(made_with).exists() else None)
        if source is None:
            raise InputError(f"{path} has no dipoles of its frames. Name the model that gives them with --model.")
        add_dipoles(path, DenSNet.load(source), reporter)
