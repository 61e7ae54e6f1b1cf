"""The spectra of single trajectories, and whether and with which weights they make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.config.dynamics import SpectrumSection
from densnet_core.errors import InputError
from densnet_core.md.analysis import EnergyConservation, energy_conservation, temperature_warning
from densnet_core.md.rigid import vibrational_degrees_of_freedom
from densnet_core.md.velocities import kinetic_temperature
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.spectra.infrared import Spectrum, infrared_spectrum
from densnet_core.spectra.weights import boltzmann, shares
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure
from densnet_core.units import HARTREE_TO_KJ_PER_MOL
from densnet_core.workflow.compared import check_alike
from densnet_core.workflow.harmonic import harmonic_from
from densnet_core.workflow.thermal import HARMONIC, START
from densnet_core.workflow.weighted import Weighted

Array = NDArray[np.float64]
SAME_MINIMUM: Final = 0.05 / HARTREE_TO_KJ_PER_MOL
"""Hartree; minima that differ by less are taken for one, or for mirror images."""


@dataclass(frozen=True, eq=False)
class TrajectorySpectrum:
    """The spectrum of one trajectory, and what is known of it.

    Parameters
    ----------
    path : Path
    structure : Structure
    stage, provenance : dict
        As the store has them.
    spectrum : Spectrum
    harmonic : HarmonicReference or None
        Of the model, at the minimum that the trajectory is about.
    energies : (n_replicas, n_modes) or None
        That its modes started with.
    conservation : EnergyConservation
    temperature : float
        Of the vibrations, kelvin.
    warning : str or None
        That this is far from the one asked for.
    """

    path: Path
    structure: Structure
    stage: dict[str, Any]
    provenance: dict[str, Any]
    spectrum: Spectrum
    harmonic: HarmonicReference | None
    energies: Array | None
    conservation: EnergyConservation
    temperature: float
    warning: str | None


def trajectory_spectrum(
    path: Path, section: SpectrumSection, reference: HarmonicReference | None = None
) -> TrajectorySpectrum:
    """Infrared spectrum of a production trajectory with dipoles.

    Parameters
    ----------
    section : SpectrumSection
        Its temperature None takes the kinetic one of the vibrations in the trajectory, which is what the intensities of
        this very trajectory are made of.
    reference : HarmonicReference or None
        At whose minimum it is seen whether the molecule is linear; None: at that of the model, if it is known.
    """
    with TrajectoryStore.open(path) as store:
        stage = store.stage
        store.check_regular()
        times = store.steps * stage["time_step"]
        kinetic, potential = store.kinetic_energy, store.potential_energy
        structure, n_replicas, provenance = store.structure, store.n_replicas, store.provenance
        dipoles = store.dipoles()
        documents = {name: store.read_document(name) for name in (START, HARMONIC) if name in store.document_names()}
    parts = None if section.experiment is None else section.experiment.regions
    ends = [region.upper for region in parts or ()]
    of_model = None if HARMONIC not in documents else harmonic_from(documents[HARMONIC])
    known = reference or of_model
    minimum = structure if known is None else known.structure
    freedom = vibrational_degrees_of_freedom(structure.masses, minimum.positions)
    measured = kinetic_temperature(kinetic, freedom * n_replicas)
    spectrum = infrared_spectrum(
        dipoles,
        stage["time_step"] * stage["record_every"],
        stage["time_step"],
        measured if section.temperature is None else section.temperature,
        temperature_kind="kinetic" if section.temperature is None else "nominal",
        window=section.window,
        width=section.resolution,
        max_wavenumber=max([section.maximum + 500.0, *ends]),
    )
    return TrajectorySpectrum(
        path,
        structure,
        stage,
        provenance,
        spectrum,
        of_model,
        np.array(documents[START]["mode_kinetic_energies_ev"]) if START in documents and of_model else None,
        energy_conservation(times, kinetic + potential, structure.n_atoms * n_replicas),
        measured,
        temperature_warning(measured, stage["temperature"], freedom, n_replicas),
    )


def check_together(paths: Sequence[Path]) -> None:
    """``InputError`` unless trajectories are of one molecule at one temperature, with frames at the same times."""
    first: tuple[Path, Structure, dict[str, Any]] | None = None
    named: set[Path] = set()
    for path in paths:
        if path.resolve() in named:
            raise InputError(f"{path} is named twice; its replicas would count as if there were twice as many.")
        named.add(path.resolve())
        with TrajectoryStore.open(path) as store:
            structure, stage = store.structure, store.stage
        if first is None:
            first = path, structure, stage
            continue
        check_alike(first[1], structure, str(path))
        for key, what in (
            ("temperature", "temperature"),
            ("time_step", "time step"),
            ("record_every", "number of steps between frames"),
        ):
            if stage[key] != first[2][key]:
                raise InputError(f"{path} has another {what} than {first[0]}; only like trajectories are averaged.")


def weights_of(given: Sequence[Weighted], found: Sequence[TrajectorySpectrum]) -> tuple[list[float], str]:
    """The weight of each trajectory, and where it is from in words.

    Raises
    ------
    InputError
        There are several, not of one minimum as far as is known, and no weights; the message names Boltzmann's.
    """
    weights = shares([one.weight for one in given], "trajectories")
    if weights is not None:
        return weights.tolist(), "given"
    if len(found) == 1:
        return [1.0], ""
    minima = [one.harmonic for one in found]
    energies = [one.energy for one in minima if one is not None]
    known = len(energies) == len(found) and len({str(one.provenance.get("model")) for one in found}) == 1
    if known and max(energies) - min(energies) < SAME_MINIMUM:
        replicas = [one.spectrum.settings.n_replicas for one in found]
        return [count / sum(replicas) for count in replicas], "every replica counts the same"
    if not known:
        raise InputError(
            "Several trajectories that are not known to be of one minimum of one model need weights: name them as "
            "TRAJECTORY=WEIGHT."
        )
    temperature = float(found[0].stage["temperature"])
    named = " ".join(
        f"{one.path}={part:.3f}" for one, part in zip(found, boltzmann(energies, temperature), strict=True)
    )
    spread = (max(energies) - min(energies)) * HARTREE_TO_KJ_PER_MOL
    raise InputError(
        f"The trajectories are of conformers that the model has up to {spread:.2f} kJ/mol apart; give them weights. "
        f"Those of these energies at {temperature:.0f} K, each trajectory counted once and no mirror image thought of, "
        f"are: {named}"
    )
