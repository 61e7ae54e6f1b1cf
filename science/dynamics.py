"""How well dynamics with a model conserves the energy, whether molecules hold, and whether cold ones are harmonic.

    python science/dynamics.py FOLDER MODEL GEOMETRY halving|drift|seeds|cold [--replicas 10] [--ps 100] [--fs 0.5]

halving : from the same positions and velocities at 300 K, 2 ps with steps of 1, 0.5, 0.25 and 0.125 fs; the fluctuation
    of the total energy must fall fourfold each time.
drift : two replicas, 0.25 fs a step.
seeds : replicas that begin with velocities of their own at 300 K, 0.5 fs a step; the shortest and the longest bond of
    each kind over all frames, and how many are unlike the training data.
cold : four replicas at 10 K, 0.5 fs a step, 16 ps; the spectrum beside the harmonic one of the model, lines as wide,
    4 cm-1: maxima and integrals line by line, lines that the width does not separate together. The integrator's own
    shift of the frequencies (20 cm-1 at 3750 cm-1) is taken out by ``infrared_spectrum``. The last columns are the
    energy that the modes have in the trajectory as part of kT, from straight normal coordinates (a stretch at the end
    of a torsion is given too much), and the ratio of the integrals by it: with few replicas the start is uneven.

MODEL is a path or a shipped name. Trajectories are kept: a killed run goes on, a longer --ps extends.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from densnet_core.config.dynamics import MDSection, SpectrumSection
from densnet_core.elements import symbol
from densnet_core.md.analysis import energy_conservation
from densnet_core.md.base import Recording
from densnet_core.md.batched import TorchEngine
from densnet_core.md.equipartition import Directions
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.whole import bonds_of
from densnet_core.spectra.bands import bands
from densnet_core.spectra.harmonic import NormalModes, broadened, normal_modes
from densnet_core.spectra.infrared import Spectrum
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure, read_geometry
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOHR_TO_ANGSTROM, BOLTZMANN
from densnet_core.workflow.dynamics import run_model
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.trajectory_spectra import trajectory_spectrum

HALVINGS = (1.0, 0.5, 0.25, 0.125)
BLOCK_FRAMES = 2000
COLD, WIDTH = 10.0, 4.0
"""Kelvin, and full width at half maximum in cm^-1."""
SEPARATE, AROUND = 2.0 * WIDTH, 4.0 * WIDTH
"""Lines closer than this are compared together; a line reaches so far where no other is nearer, cm^-1."""


def run(folder: Path, model: str, structure: Structure, **options: float) -> Path:
    """The production trajectory of the batched engine."""
    section = MDSection(engine="torch", **options)  # type: ignore[arg-type]
    start = time.perf_counter()
    path = run_model(Path(model), structure, section, folder, Reporter())
    print(f"{path}: {time.perf_counter() - start:.0f} s")
    return path


def conservation(store: TrajectoryStore, time_step_fs: float) -> str:
    """Drift and fluctuation per atom."""
    times = store.steps * time_step_fs / ATOMIC_TIME_TO_FEMTOSECOND
    energies = store.potential_energy + store.kinetic_energy
    return str(energy_conservation(times, energies, store.n_replicas * store.structure.n_atoms))


def halving(folder: Path, model: str, structure: Structure, replicas: int, ps: float, fs: float) -> None:
    path = run(folder, model, structure, time_step_fs=0.5, nvt_ps=2.0, nve_ps=0.1, replicas=replicas)
    with TrajectoryStore.open(path.with_name("nvt.zarr")) as store:
        heated = store.restart()
    assert heated is not None
    trained, engine, before = DenSNet.load(model), TorchEngine(), None
    for step in HALVINGS:
        every = round(max(HALVINGS) / step)
        stage = MDStage("nve", round(ps * 1000.0 / step), step / ATOMIC_TIME_TO_FEMTOSECOND, 300.0, 0.0, every, seed=0)
        start = MDState(0, heated.positions, heated.velocities)
        blocks = list(engine.run(trained, [structure] * replicas, stage, start, Recording(BLOCK_FRAMES)))
        steps = np.concatenate([block.steps for block in blocks])
        energies = np.concatenate([block.potential_energy + block.kinetic_energy for block in blocks])
        found = energy_conservation(steps * stage.time_step, energies, replicas * structure.n_atoms)
        ratio = "" if before is None else f", {before / found.fluctuation:.2f} times less"
        print(f"{step} fs: {found}{ratio}", flush=True)
        before = found.fluctuation


def drift(folder: Path, model: str, structure: Structure, replicas: int, ps: float, fs: float) -> None:
    path = run(folder, model, structure, time_step_fs=fs, nvt_ps=2.0, nve_ps=ps, replicas=replicas, record_every=40)
    with TrajectoryStore.open(path) as store:
        print(f"{fs} fs, {replicas} replicas: {conservation(store, fs)}")


def seeds(folder: Path, model: str, structure: Structure, replicas: int, ps: float, fs: float) -> None:
    path = run(folder, model, structure, time_step_fs=fs, nvt_ps=5.0, nve_ps=ps, replicas=replicas, record_every=4)
    with TrajectoryStore.open(path) as store:
        positions = store.positions()
        print(f"{fs} fs, {replicas} replicas: {conservation(store, fs)}")
        freedom = 3 * structure.n_atoms - 6
        kinetic = store.kinetic_energy / replicas
        print(f"temperature {2.0 * kinetic.mean() / (freedom * BOLTZMANN):.1f} K")
    found: dict[str, tuple[float, float]] = {}
    for first, second in bonds_of(structure):
        name = "-".join(sorted(symbol(int(structure.numbers[i])) for i in (first, second)))
        lengths = np.linalg.norm(positions[:, :, first] - positions[:, :, second], axis=-1) * BOHR_TO_ANGSTROM
        shortest, longest = found.get(name, (np.inf, 0.0))
        found[name] = min(shortest, float(lengths.min())), max(longest, float(lengths.max()))
    for name, (shortest, longest) in found.items():
        print(f"{name}: {shortest:.3f} to {longest:.3f} angstrom")
    trained = DenSNet.load(model)
    last = [structure.with_positions(p) for frame in positions[:: max(1, len(positions) // 100)] for p in frame]
    unlike = [one for one in trained.extrapolation(last) if one.reasons]
    print(f"{len(unlike)} of {len(last)} frames are unlike those the model was trained on")


def cold(folder: Path, model: str, structure: Structure, replicas: int, ps: float, fs: float) -> None:
    every = max(1, round(2.0 / fs))
    options = {"time_step_fs": fs, "nvt_ps": 2.0, "nve_ps": ps, "replicas": replicas, "record_every": every}
    path = run(folder, model, structure, temperature=COLD, **options)
    found = trajectory_spectrum(path, SpectrumSection(minimum=0.0, resolution=WIDTH))
    assert found.harmonic is not None
    modes, dynamics = normal_modes(found.harmonic), found.spectrum
    have = energies(path, modes, fs) / found.temperature
    harmonic = replace(dynamics, absorption=broadened(modes, dynamics.wavenumbers, WIDTH), replicas=None)
    print(f"{fs} fs, {replicas} replicas, {ps:g} ps, {found.temperature:.2f} K, width {WIDTH:g} cm-1")
    print("harmonic cm-1           km/mol |    MD cm-1   km/mol | difference  ratio energy  ratio/energy")
    for group, lower, upper in ranges(modes.wavenumbers):
        (place, strength), (moved, measured) = (peak(one, lower, upper) for one in (harmonic, dynamics))
        lines = ", ".join(f"{line:.1f}" for line in modes.wavenumbers[group])
        energy = float(np.average(have[group], weights=modes.intensities[group]))
        ratio = measured / strength
        differences = f"{moved - place:+10.2f} {ratio:6.3f} {energy:6.3f} {ratio / energy:13.3f}"
        print(f"{lines:20} {strength:9.3f} | {moved:10.1f} {measured:8.3f} | {differences}", flush=True)
    print(f"all {modes.intensities.sum():26.3f} | {dynamics.intensity():19.3f} |", flush=True)


def energies(path: Path, modes: NormalModes, fs: float) -> np.ndarray:
    """Kelvin, (n_modes,): the mean kinetic energy of each mode, from the spread of its coordinate.

    Of Verlet's motion it is 1 - (omega h / 2)^2 times the potential one (``densnet_core.spectra.infrared``).
    """
    directions = Directions(modes.structure, modes.eigenvectors)
    with TrajectoryStore.open(path) as store:
        coordinates = [directions.speeds(positions, positions) for positions in np.swapaxes(store.positions(), 0, 1)]
    spread = np.mean([one.var(axis=0) for one in coordinates], axis=0)
    step = fs / ATOMIC_TIME_TO_FEMTOSECOND
    return modes.frequencies**2 * spread * (1.0 - (0.5 * modes.frequencies * step) ** 2) / BOLTZMANN


def ranges(lines: np.ndarray) -> list[tuple[list[int], float, float]]:
    """Indices of lines that belong together, and from where to where their part of the spectrum reaches."""
    places = np.flatnonzero(np.diff(lines) > SEPARATE) + 1
    groups = [part.tolist() for part in np.split(np.arange(lines.size), places)]
    first, last = (np.array([lines[group[i]] for group in groups]) for i in (0, -1))
    middles = [-np.inf, *(0.5 * (last[:-1] + first[1:])), np.inf]
    return [
        (group, max(middles[i], first[i] - AROUND), min(middles[i + 1], last[i] + AROUND))
        for i, group in enumerate(groups)
    ]


def peak(spectrum: Spectrum, lower: float, upper: float) -> tuple[float, float]:
    """Highest maximum (cm-1) and integral (km/mol) of a part of a spectrum."""
    inside = bands(spectrum, lower=lower, upper=upper, min_intensity=0.0)
    highest = max(inside, key=lambda band: band.height, default=None)
    return np.nan if highest is None else highest.position, spectrum.intensity(lower, upper)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("geometry", type=Path)
    parser.add_argument("what", choices=("halving", "drift", "seeds", "cold"))
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--ps", type=float)
    parser.add_argument("--fs", type=float, help="a step, not of halving")
    chosen = parser.parse_args()
    function, replicas, ps, fs = {
        "halving": (halving, 4, 2.0, 0.5),
        "drift": (drift, 2, 100.0, 0.25),
        "seeds": (seeds, 10, 100.0, 0.5),
        "cold": (cold, 4, 16.0, 0.5),
    }[chosen.what]
    chosen.folder.mkdir(parents=True, exist_ok=True)
    structure = read_geometry(chosen.geometry)
    function(
        chosen.folder / chosen.what,
        chosen.model,
        structure,
        chosen.replicas or replicas,
        chosen.ps or ps,
        chosen.fs or fs,
    )


if __name__ == "__main__":
    main()
