"""The numbers that the finished run of `make demo` has to reach; nothing is computed here but their comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densnet_core.md.analysis import energy_conservation
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND

RUN = Path(__file__).resolve().parent.parent / "runs" / "water"
STAGES = ("harmonic", "sample", "reference", "train", "evaluate", "export", "md", "spectrum")


def finished(name: str) -> Path:
    """A result of the run; a failure that says what to do if it is not there."""
    path = RUN / name
    if not path.exists():
        pytest.fail(f"There is no {path}; run `make demo` first.")
    return path


def record(name: str) -> Any:
    return json.loads(finished(name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def errors() -> Any:
    return record("evaluation.json")


@pytest.fixture(scope="module")
def production() -> TrajectoryStore:
    """The constant-energy trajectory, opened for reading."""
    finished("stages/md.json")
    return TrajectoryStore.open(finished("md/nve.zarr"))


def test_at_least_fifty_frames_were_held_out(errors) -> None:
    assert errors["frames"] >= 50


@pytest.mark.parametrize(
    ("group", "key", "limit"),
    [
        ("density", "nmae_model_vs_reference_percent", 1.0),
        ("density", "electron_count_max_error", 1e-6),
        ("dipole", "mae_debye", 0.01),
        ("forces", "mae_mev_per_angstrom", 15.0),
    ],
)
def test_errors_on_held_out_frames(errors, group: str, key: str, limit: float) -> None:
    assert errors[group][key] <= limit


def test_the_fit_floor_is_below_the_error_of_the_model(errors) -> None:
    """The three density errors are different numbers: the triangle inequality holds between them."""
    floor, network, total = (
        errors["density"][f"nmae_{name}_percent"] for name in ("fit_floor", "model_vs_fit", "model_vs_reference")
    )
    assert 0 < floor <= 1.0
    assert abs(floor - network) <= total <= floor + network


def test_energy_is_conserved(production) -> None:
    times = production.steps * production.stage["time_step"]
    assert production.stage["ensemble"] == "nve"
    assert production.stage["time_step"] * ATOMIC_TIME_TO_FEMTOSECOND == pytest.approx(0.5, rel=1e-9)
    energies = production.kinetic_energy + production.potential_energy
    conservation = energy_conservation(times, energies, production.structure.n_atoms * production.n_replicas)
    assert conservation.duration >= 20.0 * (1 - 1e-9)
    assert abs(conservation.drift) < 0.1


def test_dynamics_starts_without_overall_rotation(production) -> None:
    """The engine's kinetic energy, too, is that of the vibrations alone: no motion of the whole molecule is hidden."""
    masses = production.structure.masses
    # Velocities are not recorded, but so close to the start the first two frames give the mean ones between them:
    # angular momentum is conserved, so zero at the start is zero there.
    pair = production.positions(slice(0, 2))
    elapsed = production.stage["time_step"] * production.stage["record_every"]
    for replica in range(production.n_replicas):
        before, after = pair[:, replica]
        velocities = (after - before) / elapsed
        momentum = masses[:, None] * velocities
        spin = np.cross(0.5 * (before + after) - masses @ before / masses.sum(), momentum).sum(axis=0)
        scale = np.linalg.norm(momentum) * np.ptp(before, axis=0).max()
        assert np.abs(spin).max() < 1e-3 * scale
        assert np.abs(momentum.sum(axis=0)).max() < 1e-4 * np.linalg.norm(momentum)


def test_bands_are_at_the_harmonic_lines() -> None:
    """Bend and both stretches, after the correction for the time step."""
    spectrum = record("spectrum.json")
    assert spectrum["settings"]["time_step_corrected"] is True
    lines = spectrum["harmonic"]
    assert len(lines) == 3
    rows = spectrum["assignment"]["rows"]
    assert [row["modes"] for row in rows] == [[0], [1], [2]]
    positions = [row["position_per_cm"] for row in rows]
    shifts = [position - line["wavenumber_per_cm"] for position, line in zip(positions, lines, strict=True)]
    assert np.abs(shifts).max() <= 25.0, shifts
    assert positions == sorted(set(positions))


def test_the_bands_have_the_intensities_of_the_model_and_the_temperature_is_right() -> None:
    """Within 15 %, or two standard errors of a weak band, of the model's harmonic ones; 3 % of 200 K."""
    spectrum = record("spectrum.json")
    assert spectrum["dynamics"]["vibrational_temperature_kelvin"] == pytest.approx(200.0, rel=0.03)
    assert spectrum["assignment"]["lines_of"] == "model_harmonic"
    for row in spectrum["assignment"]["rows"]:
        allowed = max(0.15 * row["harmonic_intensity_km_per_mol"], 2.0 * row["standard_error_km_per_mol"])
        assert abs(row["intensity_km_per_mol"] - row["harmonic_intensity_km_per_mol"]) <= allowed, row


def test_the_picture_was_drawn() -> None:
    assert finished("spectrum.png").read_bytes().startswith(b"\x89PNG")


def test_the_run_took_at_most_ten_minutes() -> None:
    """Sum of the stages; measured on two cores that had nothing else to do."""
    seconds = {stage: record(f"stages/{stage}.json")["seconds"] for stage in STAGES}
    assert sum(seconds.values()) <= 600.0, seconds
