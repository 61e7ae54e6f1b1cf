"""Dynamics of a run: heating, production at constant energy, dipoles, and the infrared spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from densnet_core import __version__
from densnet_core.config.dynamics import MDSection, SpectrumSection
from densnet_core.errors import InputError
from densnet_core.files.records import write_json
from densnet_core.md.analysis import EnergyConservation, energy_conservation, temperature_warning
from densnet_core.md.base import MDEngine
from densnet_core.md.rigid import is_linear, vibrational_degrees_of_freedom
from densnet_core.md.runner import run_stage
from densnet_core.md.velocities import kinetic_temperature, remove_overall_motion, thermal_velocities
from densnet_core.md.watch import Watch
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.threads import torch_threads
from densnet_core.spectra.bands import LineMatch, bands, match_bands
from densnet_core.spectra.experiment import ExperimentalBands
from densnet_core.spectra.export import spectrum_record
from densnet_core.spectra.harmonic import HarmonicReference, normal_modes
from densnet_core.spectra.infrared import Spectrum, infrared_spectrum
from densnet_core.spectra.plots import plot_spectrum
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.stores.molecules import structure_record
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.structures import Structure
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND
from densnet_core.workflow.folder import RunFolder, has_store, key_of
from densnet_core.workflow.keys import code_of, weights_digest
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


def heat_and_run(
    md: MDSection,
    engine: MDEngine,
    model: DenSNet,
    minimum: Structure,
    paths: tuple[Path, Path],
    provenance: Mapping[str, Any],
    reporter: Reporter,
) -> None:
    """Heating and production of replicas of a molecule with dipoles, each piece into a store or from where it stopped.

    Parameters
    ----------
    paths : pair of Path
        The stores of both pieces. A production that is too short is extended; one that is too long is set aside.
    provenance : mapping
        What the stores say about how they came about.
    """
    molecules, (heating, production) = [minimum] * md.replicas, paths
    provenance = {**provenance, "densnet-core": __version__}
    _set_longer_aside(production, production_stage(md), reporter)
    with torch_threads(1):
        run = partial(
            integrate, engine=engine, potential=model, structures=molecules, provenance=provenance, strict=md.strict
        )
        state, stage = thermal_start(molecules, md.temperature, md.seed), heating_stage(md)
        if stage.n_steps:
            state = run(heating, stage=stage, start=state, description="heating", reporter=reporter)
        cold = without_rotation(state, minimum)
        run(production, stage=production_stage(md), start=cold, description="production", reporter=reporter)
        add_dipoles(production, model, reporter)


def _set_longer_aside(path: Path, stage: MDStage, reporter: Reporter) -> None:
    if not has_store(path):
        return
    with TrajectoryStore.open(path) as store:
        n_steps = int(store.steps[-1]) if len(store) else 0
    if n_steps > stage.n_steps:
        aside = path.with_name(f"{path.stem}-{n_steps}-steps{path.suffix}")
        while aside.exists():
            aside = aside.with_name(f"{aside.stem}-older{path.suffix}")
        path.rename(aside)
        reporter.note(f"{path.name} is longer than asked for and is kept as {aside}.")


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
        store.lengthen(stage)
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
        known = store.array(DIPOLES) if DIPOLES in store.array_names() else np.empty((0, store.n_replicas, 3))
        n_frames, n_replicas = len(store), store.n_replicas
        if len(known) == n_frames:
            return
        advance = reporter.task("dipoles of the predicted densities", n_frames)
        dipoles = np.concatenate([known, np.empty((n_frames - len(known), n_replicas, 3))])
        bound = BoundPotential(model, [store.structure] * n_replicas)
        bound.compile_for(n_frames - len(known))
        for first in range(len(known), n_frames, BLOCK_STEPS):
            part = store.positions(slice(first, first + BLOCK_STEPS))
            for place, positions in enumerate(part, first):
                dipoles[place] = bound.evaluate(positions, ("dipole",))["dipole"]
            advance(first + len(part), "frames")
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


def run_model(path: Path, structure: Structure, md: MDSection, output: Path, reporter: Reporter) -> Path:
    """Dynamics of a molecule with a model, without a configuration; the path of the production trajectory.

    A second call goes on where the first was killed, and extends the trajectory if it is to be longer; what belongs to
    another model, molecule or setting is set aside.

    Parameters
    ----------
    path : Path
        The model.
    output : Path
        The directory of both trajectories.
    """
    manager, folder = get_manager(), RunFolder(output)
    model = DenSNet.load(path)
    component = manager.find(Kind.MD_ENGINE, md.engine)
    options = manager.options(component, md.options, where="md.options")
    engine = manager.load(component)(options)
    settings = md.model_dump(mode="json", exclude={"nve_ps"})
    key = key_of(weights_digest(path), structure_record(structure), settings, code_of(component, manager))
    provenance = {"model": str(path.absolute()), "engine": {"name": md.engine, **options.model_dump(mode="json")}}
    with folder.locked():
        for place in (folder.heating, folder.production):
            if (aside := folder.own(place, key)) is not None:
                reporter.note(f"{place.name} of another model, molecule or setting is kept as {aside}.")
        heat_and_run(md, engine, model, structure, (folder.heating, folder.production), provenance, reporter)
    return folder.production


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
