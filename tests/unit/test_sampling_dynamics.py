"""Langevin dynamics: the canonical distribution, restarts, and what happens to molecules that break."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densnet_core.errors import DataError, InputError
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.local import LocalExecutor
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.config import DynamicsOptions, LangevinOptions
from densnet_core.sampling.dynamics import DynamicsSampler
from densnet_core.sampling.integrator import HeatBath, Motion, propagate
from densnet_core.sampling.langevin import LangevinSampler
from densnet_core.sampling.walkers import WalkerFile
from densnet_core.structures import Structure
from densnet_core.units import BOLTZMANN

sys.path.insert(0, str(Path(__file__).parent))
from sampling_forces import PAIRS, STIFFNESS, WATER, Springs, SpringSampler


def sampler(**options: object) -> SpringSampler:
    defaults = {"count": 12, "walkers": 3, "interval_fs": 5.0, "equilibration_fs": 10.0, "temperature": 300.0}
    return SpringSampler(DynamicsOptions(**(defaults | options)))


def hashes(structures: list[Structure]) -> list[bytes]:
    return [structure.content_hash() for structure in structures]


def test_positions_of_an_oscillator_have_the_canonical_variance_even_with_a_long_step():
    # In a harmonic potential the positions of BAOAB have no error of the time step at all: here omega h = 1.
    atom = Structure(np.array([1]), np.zeros((1, 3)), multiplicity=2)
    stiffness, temperature, mass = 0.3, 400.0, 1.008 * 1822.888486209
    bath = HeatBath(temperature, friction=0.02, time_step=float(np.sqrt(mass / stiffness)))
    generator = np.random.default_rng(0)
    state = Motion(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)))
    squares = []
    for step in range(20_000):
        state = propagate(state, atom, lambda s: -stiffness * s.positions, bath, 1, generator)
        if step >= 100:
            squares.append(np.square(state.positions).mean())
    # The correlation time is a few steps: 3 x 20 000 / 5 independent values, standard error about 1.3 %.
    assert np.mean(squares) == pytest.approx(BOLTZMANN * temperature / stiffness, rel=0.05)


def test_without_friction_the_energy_is_conserved():
    bath = HeatBath(300.0, friction=0.0, time_step=5.0)
    springs = Springs()
    generator = np.random.default_rng(0)
    velocities = generator.normal(scale=2e-4, size=(3, 3))
    state = Motion(WATER.positions, velocities, springs(WATER))
    masses = WATER.masses[:, None] * 1822.888486209

    def energy(state: Motion) -> float:
        lengths = [np.linalg.norm(state.positions[i] - state.positions[j]) for i, j in PAIRS]
        rest = [np.linalg.norm(WATER.positions[i] - WATER.positions[j]) for i, j in PAIRS]
        stretched = 0.5 * np.dot(STIFFNESS, np.square(np.subtract(lengths, rest)))
        return float(stretched + 0.5 * (masses * state.velocities**2).sum())

    before = energy(state)
    for _ in range(20):
        state = propagate(state, WATER, springs, bath, 20, generator)
        assert energy(state) == pytest.approx(before, rel=0.01)


def test_the_ensemble_has_the_temperature():
    frames = sampler(count=800, walkers=5, interval_fs=10.0, equilibration_fs=200.0).sample(WATER)
    assert len(frames) == 800
    lengths = np.array([[np.linalg.norm(f.positions[i] - f.positions[j]) for i, j in PAIRS] for f in frames])
    rest = [np.linalg.norm(WATER.positions[i] - WATER.positions[j]) for i, j in PAIRS]
    # Three springs, three vibrations: on average kT / 2 in each, but for small anharmonic terms.
    energies = 0.5 * np.square(lengths - rest) @ STIFFNESS
    assert energies.mean() == pytest.approx(1.5 * BOLTZMANN * 300.0, rel=0.1)
    centres = np.array([f.masses @ f.positions / f.masses.sum() for f in frames])
    assert np.abs(centres - WATER.masses @ WATER.positions / WATER.masses.sum()).max() < 1e-8


def test_equal_seeds_give_equal_lists_and_starts_have_their_own_numbers():
    first, again, other = (hashes(sampler(seed=seed).sample(WATER)) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)
    assert not set(first) & set(hashes(sampler(seed=1).sample(WATER, SamplingContext(stream=1))))
    assert len(set(first)) == 12


def test_the_executor_does_not_change_the_result():
    context = SamplingContext(executor=LocalExecutor(LocalExecutorOptions(workers=2)))
    assert hashes(sampler().sample(WATER, context)) == hashes(sampler().sample(WATER))


class Killed(Exception):
    """Stands for the end of the process."""


class MortalSprings:
    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, structure: Structure) -> np.ndarray:
        self.calls -= 1
        if self.calls < 0:
            raise Killed
        return Springs()(structure)


def test_a_killed_sampler_goes_on_to_the_same_result(tmp_path):
    expected = hashes(sampler().sample(WATER))
    kills = 0
    while True:
        interrupted = sampler()
        interrupted.springs = MortalSprings(150)
        try:
            found = interrupted.sample(WATER, SamplingContext(folder=tmp_path / "sampling"))
            break
        except Killed:
            kills += 1
            assert kills < 10, "nothing is kept"
    assert kills >= 1
    assert hashes(found) == expected


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "walkers.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"walkers\.npz is damaged .* Remove it"):
        WalkerFile(tmp_path / "walkers.npz").read()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_file_that_ends_early_is_named(tmp_path, share):
    file = WalkerFile(tmp_path / "walkers.npz")
    sampler(count=4, walkers=2).sample(WATER, SamplingContext(folder=tmp_path))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"walkers\.npz is damaged .* Remove it"):
        file.read()


def test_refused_frames_are_counted_and_left_out():
    hot = sampler(count=200, temperature=4000.0, walkers=4)
    hot.springs = Springs(fails_beyond=2.2)
    context = SamplingContext()
    frames = hot.sample(WATER, context)
    assert len(frames) == 200
    assert len(context.refused) > 0
    (record,) = context.refused.records()
    assert record["reason"] == "no forces"
    assert "bohr long" in record["example"]
    assert max(np.linalg.norm(f.positions[0] - f.positions[1]) for f in frames) <= 2.2


def test_a_molecule_that_breaks_again_and_again_ends_the_run():
    with pytest.raises(InputError, match=r"broke the molecule 5 times in a row; .*(come apart|too short)"):
        sampler(temperature=1e6).sample(WATER)
    dead = sampler()
    dead.springs = Springs(fails_beyond=0.1)
    with pytest.raises(InputError, match="bohr long"):
        dead.sample(WATER)


def test_the_backend_sampler_needs_the_backend():
    assert LangevinSampler.needs_backend
    assert issubclass(LangevinSampler, DynamicsSampler)
    with pytest.raises(InputError, match="needs the reference backend"):
        LangevinSampler(LangevinOptions()).sample(WATER)


def test_another_error_of_the_forces_is_not_a_refusal():
    broken = sampler()
    broken.springs = lambda structure: (_ for _ in ()).throw(InputError("no such functional"))
    with pytest.raises(InputError, match="no such functional"):
        broken.sample(WATER)


def test_progress_counts_every_frame():
    told: list[int] = []
    context = replace(SamplingContext(), task=lambda description, total: lambda done, note: told.append(done))
    sampler().sample(WATER, context)
    assert told == sorted(told)
    assert told[-1] == 3 * (2 + 4)  # three walkers with two discarded and four kept frames each
