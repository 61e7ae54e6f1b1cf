"""The infrared spectrum of a trajectory, with a configuration and without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densnet_core.config.dynamics import SpectrumSection
from densnet_core.errors import InputError
from densnet_core.files.records import write_json
from densnet_core.md.analysis import EnergyConservation, energy_conservation, temperature_warning
from densnet_core.md.rigid import vibrational_degrees_of_freedom
from densnet_core.md.velocities import kinetic_temperature
from densnet_core.potentials.densnet import DenSNet
from densnet_core.spectra.assignment import Assignment, assign, error_curve
from densnet_core.spectra.bands import bands
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.export import spectrum_record
from densnet_core.spectra.harmonic import HarmonicReference, NormalModes, normal_modes
from densnet_core.spectra.infrared import Spectrum, infrared_spectrum
from densnet_core.spectra.plots import plot_spectrum
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.workflow.dynamics import add_dipoles
from densnet_core.workflow.harmonic import harmonic_from
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.thermal import HARMONIC, START


@dataclass(frozen=True)
class SpectrumResult:
    """The spectrum of a trajectory and what it was compared with."""

    spectrum: Spectrum
    harmonic: NormalModes | None
    """Of the reference calculation."""
    model_harmonic: NormalModes | None
    """Of the model that moved the molecule, where the trajectory has it."""
    assignment: Assignment | None
    """To the lines of the model, or of the reference where these are not known."""
    conservation: EnergyConservation
    temperature: float
    warnings: tuple[str, ...]
    """Where the temperature is far from the one asked for; where replicas are too few for an even spectrum."""


def spectrum_of(
    path: Path,
    *,
    lower: float,
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
        dipoles = store.dipoles()
        documents = {name: store.read_document(name) for name in (START, HARMONIC) if name in store.document_names()}
    of_model = None if HARMONIC not in documents else harmonic_from(documents[HARMONIC])
    known = harmonic or of_model
    minimum = structure if known is None else known.structure  # linear or not is decided there
    freedom = vibrational_degrees_of_freedom(structure.masses, minimum.positions)
    measured = kinetic_temperature(kinetic, freedom * n_replicas)
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
    reference, model_modes = (None if one is None else normal_modes(one) for one in (harmonic, of_model))
    lines, assignment = model_modes or reference, None
    if lines is not None:
        energies = None
        if model_modes is not None and START in documents:
            energies = np.array(documents[START]["mode_kinetic_energies_ev"])
        assignment = assign(spectrum, lines.wavenumbers, lines.intensities, lower=lower, upper=upper, energies=energies)
    told = (
        temperature_warning(measured, stage["temperature"], freedom, n_replicas),
        None if assignment is None else assignment.warning,
    )
    return SpectrumResult(
        spectrum,
        reference,
        model_modes,
        assignment,
        energy_conservation(times, kinetic + potential, structure.n_atoms * n_replicas),
        measured,
        tuple(one for one in told if one is not None),
    )


def write_spectrum(
    result: SpectrumResult,
    record_path: Path,
    picture_path: Path,
    *,
    title: str,
    lower: float,
    upper: float,
    experiment: ExperimentalBands | None = None,
    level: str = "",
) -> dict[str, Any]:
    """Write spectrum.json and spectrum.png; returns the record without the curve."""
    arguments: dict[str, Any] = {
        "bands": bands(result.spectrum, lower=lower, upper=upper),
        "harmonic": result.harmonic,
        "model_harmonic": result.model_harmonic,
        "assignment": result.assignment,
        "experiment": experiment,
    }
    dynamics = {
        "vibrational_temperature_kelvin": result.temperature,
        "energy_drift_mev_per_atom_per_ps": result.conservation.drift,
        "energy_fluctuation_mev_per_atom": result.conservation.fluctuation,
        "length_ps": result.conservation.duration,
        "warnings": list(result.warnings),
    }
    write_json(record_path, {**spectrum_record(result.spectrum, **arguments), "dynamics": dynamics})
    plot_spectrum(
        picture_path,
        result.spectrum,
        errors=error_curve(result.spectrum) if result.assignment is None else result.assignment.errors,
        title=title,
        harmonic=result.harmonic or result.model_harmonic,
        harmonic_label=level if result.harmonic is not None else "model",
        experiment=experiment,
        warning=" ".join(result.warnings) or None,
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
        known = bool(np.isfinite(store.dipoles()).all())
        made_with, formula = store.provenance.get("model"), store.structure.formula
    if not known:
        source = model or (Path(made_with) if isinstance(made_with, str) and Path(made_with).exists() else None)
        if source is None:
            raise InputError(f"{path} has no dipoles of its frames. Name the model that gives them with --model.")
        add_dipoles(path, DenSNet.load(source), reporter)
    result = spectrum_of(
        path,
        lower=section.minimum,
        upper=section.maximum,
        window=section.window,
        width=section.resolution,
        temperature=section.temperature,
    )
    return write_spectrum(result, *files, title=f"{formula}, {path.name}", lower=section.minimum, upper=section.maximum)
