"""Dynamics of a run: heating, production at constant energy, dipoles, and the infrared spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densnet_core.config.schema import MDSection
from densnet_core.errors import InputError
from densnet_core.md.analysis import EnergyConservation, energy_conservation, temperature_warning
from densnet_core.md.base import MDEngine
from densnet_core.md.rigid import is_linear, vibrational_degrees_of_freedom
from densnet_core.md.runner import run_stage
from densnet_core.md.velocities import kinetic_temperature, remove_overall_motion, thermal_velocities
from densnet_core.md.watch import Watch
from densnet_core.potentials.base import Potential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.spectra.bands import LineMatch, bands, match_bands
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.export import spectrum_record, write_json
from densnet_core.spectra.harmonic import HarmonicReference, normal_modes
from densnet_core.spectra.infrared import Spectrum, infrared_spectrum
from densnet_core.spectra.plots import plot_spectrum
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.structures import Structure
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND
from densnet_core.workflow.folder import has_store
from densnet_core.workflow.reporter import Reporter

HEATING_RECORD_STEPS = 100
BLOCK_STEPS = 400
"""Steps between commits: what a killed run does again at most."""


def production_stage(md: MDSection) -> MDStage:
    """The piece at constant energy."""
    return _stage(md, "nve", md.nve_ps, md.record_every)


def heating_stage(md: MDSection) -> MDStage:
    """The piece in the heat bath; few frames are recorded, because each costs one more evaluation of the forces."""
    return _stage(md, "nvt", md.nvt_ps, HEATING_RECORD_STEPS)


def _stage(md: MDSection, ensemble: str, picoseconds: float, record_every: int) -> MDStage:
    n_steps = round(picoseconds * 1000.0 / md.time_step_fs)
    record_every = max(1, min(record_every, n_steps))
    return MDStage(
        ensemble,
        n_steps - n_steps % record_every,
        md.time_step_fs / ATOMIC_TIME_TO_FEMTOSECOND,
        md.temperature,
        md.friction_per_ps * ATOMIC_TIME_TO_FEMTOSECOND / 1000.0,
        record_every,
        md.seed,
    )


def integrate(
    path: Path,
    engine: MDEngine,
    potential: Potential,
    structures: Sequence[Structure],
    stage: MDStage,
    start: MDState,
    provenance: Mapping[str, Any],
    description: str,
    reporter: Reporter,
    strict: bool = False,
) -> MDState:
    """Run a stage into a trajectory store, or continue the one that is there; returns the end.

    Frames unlike those that the potential was made from are told, or with ``strict`` end it.

    ``structures`` are replicas of one molecule: the store keeps one set of masses.
    """
    molecule = structures[0]
    if not all(np.array_equal(other.masses, molecule.masses) for other in structures):
        raise InputError(f"Replicas of {molecule.formula} with other isotopes need a trajectory of their own.")
    if has_store(path):
        store = TrajectoryStore.open(path, writable=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        store = TrajectoryStore.create(path, molecule, len(structures), stage, dict(provenance))
    with store:
        advance = reporter.task(description, stage.n_steps)
        watch = Watch(potential, structures, store.append, reporter.note, strict)
        end = run_stage(
            engine,
            potential,
            structures,
            stage,
            start,
            watch,
            store.restart(),
            lambda done: advance(done, "steps"),
            max(1, BLOCK_STEPS // stage.record_every),
        )
        watch.end()
        return end


def thermal_start(structures: Sequence[Structure], temperature: float, seed: int) -> MDState:
    """Replicas of a molecule at its minimum, with Maxwell-Boltzmann velocities."""
    positions, masses = (np.array([getattr(one, name) for one in structures]) for name in ("positions", "masses"))
    linear = is_linear(structures[0].masses, structures[0].positions)
    return MDState(0, positions, thermal_velocities(masses, positions, temperature, seed, linear=linear))


def without_rotation(state: MDState, minimum: Structure) -> MDState:
    """The start of a production run: no overall translation and rotation of any replica."""
    masses, linear = minimum.masses, is_linear(minimum.masses, minimum.positions)
    return MDState(0, state.positions, remove_overall_motion(state.velocities, masses, state.positions, linear))


def add_dipoles(path: Path, model: DenSNet, reporter: Reporter) -> None:
    """Dipoles of all frames of a trajectory from the predicted density, kept with it."""
    with TrajectoryStore.open(path, writable=True) as store:
        if DIPOLES in store.array_names() and len(store.array(DIPOLES)) == len(store):
            return
        positions = store.positions()
        n_frames, n_replicas = positions.shape[:2]
        advance = reporter.task("dipoles of the predicted densities", n_frames)
        dipoles = np.empty((n_frames, n_replicas, 3))
        block = max(1, 4096 // n_replicas)
        for first in range(0, n_frames, block):
            part = positions[first : first + block]
            flat = model.along(store.structure, part.reshape(-1, *part.shape[2:]), "dipole")
            dipoles[first : first + block] = flat.reshape(len(part), n_replicas, 3)
            advance(min(first + block, n_frames), "frames")
        store.set_array(DIPOLES, dipoles, "e bohr", "(n_frames, n_replicas, 3) dipole moment of each replica")


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
    harmonic: HarmonicReference,
    *,
    lower: float,
    upper: float,
    window: Any,
    width: float,
    temperature: float | None,
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
    freedom = vibrational_degrees_of_freedom(structure.masses, harmonic.structure.positions)
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
    lines = normal_modes(harmonic).wavenumbers
    conservation = energy_conservation(times, kinetic + potential, structure.n_atoms * n_replicas)
    return SpectrumResult(spectrum, match_bands(spectrum, lines), conservation, measured, warning)


def write_spectrum(
    result: SpectrumResult,
    harmonic: HarmonicReference,
    record_path: Path,
    picture_path: Path,
    *,
    title: str,
    level: str,
    lower: float,
    upper: float,
    experiment: ExperimentalBands | None,
) -> dict[str, Any]:
    """Write spectrum.json and spectrum.png; returns the record without the curve."""
    modes = normal_modes(harmonic)
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
