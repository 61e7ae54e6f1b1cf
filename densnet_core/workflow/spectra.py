"""The infrared spectrum of a trajectory, with a configuration and without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densnet_core.config.dynamics import SpectrumSection
from densnet_core.errors import InputError
from densnet_core.files.records import write_json
from densnet_core.md.analysis import EnergyConservation, energy_conservation, temperature_warning
from densnet_core.md.rigid import vibrational_degrees_of_freedom
from densnet_core.md.velocities import kinetic_temperature
from densnet_core.potentials.densnet import DenSNet
from densnet_core.spectra.bands import LineMatch, bands, match_bands
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.export import spectrum_record
from densnet_core.spectra.harmonic import HarmonicReference, normal_modes
from densnet_core.spectra.infrared import Spectrum, infrared_spectrum
from densnet_core.spectra.plots import plot_spectrum
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.workflow.dynamics import add_dipoles
from densnet_core.workflow.reporter import Reporter


@dataclass(frozen=True)
class SpectrumResult:
    """The spectrum of a run and what it was compared with."""

    spectrum: Spectrum
    matches: list[LineMatch]
    conservation: EnergyConservation
    temperature: float
    warning: str | None
    """Where the temperature is far from the one asked for."""


def spectrum_of(
    path: Path,
    *,
    upper: float,
    window: Any,
    width: float,
    temperature: float | None,
    harmonic: HarmonicReference | None = None,
) -> SpectrumResult:
    """Infrared spectrum of a production trajectory with dipoles.

    Parameters
    ----------
    temperature : float or None
        Kelvin; None takes the kinetic temperature of the vibrations in the trajectory, which is what the intensities
        of this very trajectory are made of.
    """
    with TrajectoryStore.open(path) as store:
        stage = store.stage
        store.check_regular()
        times = store.steps * stage["time_step"]
        kinetic, potential = store.kinetic_energy, store.potential_energy
        structure, n_replicas = store.structure, store.n_replicas
        dipoles = store.array(DIPOLES)
    minimum = structure if harmonic is None else harmonic.structure  # linear or not is decided there
    freedom = vibrational_degrees_of_freedom(structure.masses, minimum.positions)
    measured = kinetic_temperature(kinetic, freedom * n_replicas)
    warning = temperature_warning(measured, stage["temperature"], freedom, n_replicas)
    spectrum = infrared_spectrum(
        dipoles,
        stage["time_step"] * stage["record_every"],
        stage["time_step"],
        measured if temperature is None else temperature,
        temperature_kind="kinetic" if temperature is None else "nominal",
        window=window,
        width=width,
        max_wavenumber=upper + 500.0,
    )
    matches = [] if harmonic is None else match_bands(spectrum, normal_modes(harmonic).wavenumbers)
    conservation = energy_conservation(times, kinetic + potential, structure.n_atoms * n_replicas)
    return SpectrumResult(spectrum, matches, conservation, measured, warning)


def write_spectrum(
    result: SpectrumResult,
    record_path: Path,
    picture_path: Path,
    *,
    title: str,
    lower: float,
    upper: float,
    experiment: ExperimentalBands | None = None,
    harmonic: HarmonicReference | None = None,
    level: str = "",
) -> dict[str, Any]:
    """Write spectrum.json and spectrum.png; returns the record without the curve."""
    modes = None if harmonic is None else normal_modes(harmonic)
    arguments: dict[str, Any] = {
        "bands": bands(result.spectrum, lower=lower, upper=upper),
        "harmonic": modes,
        "matches": result.matches,
        "experiment": experiment,
    }
    dynamics = {
        "vibrational_temperature_kelvin": result.temperature,
        "energy_drift_mev_per_atom_per_ps": result.conservation.drift,
        "energy_fluctuation_mev_per_atom": result.conservation.fluctuation,
        "length_ps": result.conservation.duration,
        **({} if result.warning is None else {"warning": result.warning}),
    }
    write_json(record_path, {**spectrum_record(result.spectrum, **arguments), "dynamics": dynamics})
    plot_spectrum(
        picture_path,
        result.spectrum,
        title=title,
        harmonic=modes,
        harmonic_label=level,
        experiment=experiment,
        lower=lower,
        upper=upper,
    )
    return {**spectrum_record(result.spectrum, curve=False, **arguments), "dynamics": dynamics}


def spectrum_of_store(
    path: Path, section: SpectrumSection, model: Path | None, files: tuple[Path, Path], reporter: Reporter
) -> dict[str, Any]:
    """Infrared spectrum of a trajectory store, without a configuration; its record, which is written with a picture.

    Parameters
    ----------
    model : Path or None
        For the dipoles, where the store has none; None: the model that the store says it was made with.
    files : pair of Path
        The record and the picture.

    Raises
    ------
    InputError
        There are no dipoles and there is no model, or the trajectory is too short for the resolution.
    """
    with TrajectoryStore.open(path) as store:
        known = DIPOLES in store.array_names() and len(store.array(DIPOLES)) == len(store)
        made_with, formula = store.provenance.get("model"), store.structure.formula
    if not known:
        source = model or (Path(made_with) if isinstance(made_with, str) else None)
        if source is None or not source.exists():
            raise InputError(f"{path} has no dipoles of its frames. Name the model that gives them with --model.")
        add_dipoles(path, DenSNet.load(source), reporter)
    result = spectrum_of(
        path,
        upper=section.maximum,
        window=section.window,
        width=section.resolution,
        temperature=section.temperature,
    )
    return write_spectrum(result, *files, title=f"{formula}, {path.name}", lower=section.minimum, upper=section.maximum)
