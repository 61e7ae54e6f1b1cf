"""Conformance suite for engines of molecular dynamics; it runs on ``ValencePotential`` of ``testing.potentials``.

A plugin's test subclasses ``MDEngineTests`` and says how to make the engine::

    class TestMyEngine(MDEngineTests):
        def make_engine(self, **options: object) -> MDEngine:
            return MyEngine(MyOptions(**options))
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import DenSNetError, InputError
from densnet_core.md.base import MDEngine, Recording
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.structures import Array, Structure
from densnet_core.testing.potentials import ValencePotential
from densnet_core.testing.suites import ConformanceSuite
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOLTZMANN, DALTON_TO_ELECTRON_MASS

FEMTOSECOND = 1.0 / ATOMIC_TIME_TO_FEMTOSECOND
"""One femtosecond in atomic units of time."""


def replicas(potential: ValencePotential, n: int) -> list[Structure]:
    """The molecule of a potential at its minimum, n times."""
    return [potential.structure] * n


def at_rest(structures: Sequence[Structure]) -> MDState:
    """All molecules where they are, without velocity."""
    positions = np.array([structure.positions for structure in structures])
    return MDState(0, positions, np.zeros_like(positions))


def electron_masses(structures: Sequence[Structure]) -> Array:
    """(n_replicas, n_atoms, 1) masses in units of the electron's."""
    return np.array([structure.masses for structure in structures])[..., None] * DALTON_TO_ELECTRON_MASS


def shaken(structures: Sequence[Structure], temperature: float, seed: int = 0) -> MDState:
    """All molecules where they are, with normally distributed velocities of this temperature (kelvin)."""
    start = at_rest(structures)
    width = np.sqrt(BOLTZMANN * temperature / electron_masses(structures))
    return replace(start, velocities=np.random.default_rng(seed).normal(size=start.positions.shape) * width)


def normal_modes(potential: Potential, structure: Structure) -> tuple[Array, Array]:
    """Vibrational angular frequencies (n,) and mass-weighted modes (n, 3 n_atoms) from central differences of forces.

    Atomic units.
    """
    step, bound = 1e-4, BoundPotential(potential, [structure])
    rows = []
    for coordinate in range(3 * structure.n_atoms):
        shift = np.zeros(3 * structure.n_atoms)
        shift[coordinate] = step
        forces = [
            bound.energy_and_forces((structure.positions + sign * shift.reshape(-1, 3))[None])[1].ravel()
            for sign in (1.0, -1.0)
        ]
        rows.append((forces[1] - forces[0]) / (2.0 * step))
    root = np.sqrt(np.repeat(electron_masses([structure]), 3))
    values, vectors = np.linalg.eigh((np.array(rows) + np.array(rows).T) / 2.0 / np.outer(root, root))
    vibrations = values > 1e-8
    return np.sqrt(values[vibrations]), vectors.T[vibrations]


def joined(blocks: Sequence[MDFrames]) -> MDFrames:
    """Consecutive blocks as one."""
    return MDFrames(
        np.concatenate([block.steps for block in blocks]),
        np.concatenate([block.positions for block in blocks]),
        np.concatenate([block.potential_energy for block in blocks]),
        np.concatenate([block.kinetic_energy for block in blocks]),
        blocks[-1].end,
        {name: np.concatenate([block.observables[name] for block in blocks]) for name in blocks[0].observables},
    )


NVE = MDStage("nve", 100, 0.25 * FEMTOSECOND, 0.0, 0.0, 1, 1)
NVT = MDStage("nvt", 100, 0.5 * FEMTOSECOND, 400.0, 0.05 / FEMTOSECOND, 1, 1)


class MDEngineTests(ConformanceSuite):
    """What every engine must do. Subclasses give ``make_engine``; pytest finds the rest."""

    maker = "make_engine"

    @abstractmethod
    def make_engine(self, **options: Any) -> MDEngine:
        """A new engine with the options under test."""

    def trajectory(
        self,
        potential: Potential,
        structures: Sequence[Structure],
        stage: MDStage,
        start: MDState,
        block_frames: int = 64,
    ) -> MDFrames:
        return joined(list(self.make_engine().run(potential, structures, stage, start, Recording(block_frames))))

    def test_a_morse_oscillator_of_each_isotope_has_its_frequency_of_velocity_verlet(self) -> None:
        potential = ValencePotential.hydrogen_fluoride()
        light = potential.structure
        structures = [light, replace(light, isotope_masses=np.array([2.01410177812, 18.998403162]))]
        start = at_rest(structures)
        start.positions[:, 1, 2] += 1e-6
        frames = self.trajectory(potential, structures, NVE, start)
        stretch = frames.positions[:, :, 1, 2] - frames.positions[:, :, 0, 2] - 1.7325
        for coordinate, (hydrogen, fluorine) in zip(stretch.T, electron_masses(structures)[..., 0], strict=True):
            omega = 1.1741 * np.sqrt(2.0 * 0.2250 * (1.0 / hydrogen + 1.0 / fluorine))
            expected = 2.0 / NVE.time_step * np.arcsin(omega * NVE.time_step / 2.0)
            assert observed_frequency(coordinate, NVE.time_step) == pytest.approx(expected, rel=1e-6)

    def test_normal_modes_of_water_have_the_frequencies_of_velocity_verlet(self) -> None:
        potential = ValencePotential.water()
        frequencies, modes = normal_modes(potential, potential.structure)
        structures = replicas(potential, len(frequencies))
        start = at_rest(structures)
        root = np.sqrt(electron_masses(structures))
        start.positions[:] += 1e-3 * modes.reshape(-1, 3, 3) / root
        frames = self.trajectory(potential, structures, replace(NVE, n_steps=400), start)
        moved = (frames.positions - potential.structure.positions) * root
        for index, (omega, mode) in enumerate(zip(frequencies, modes, strict=True)):
            coordinate = moved[:, index].reshape(len(moved), -1) @ mode
            expected = 2.0 / NVE.time_step * np.arcsin(omega * NVE.time_step / 2.0)
            assert observed_frequency(coordinate, NVE.time_step) == pytest.approx(expected, rel=1e-4)

    def test_nve_conserves_energy_to_second_order_in_the_time_step(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 4)
        spreads = []
        for divisor in (1, 2):
            stage = replace(NVE, n_steps=800 * divisor, time_step=0.4 * FEMTOSECOND / divisor, record_every=divisor)
            frames = self.trajectory(potential, structures, stage, shaken(structures, 600.0))
            total = frames.potential_energy + frames.kinetic_energy
            spreads.append(float(np.std(total)))
            early, late = np.array_split(total, 2)
            assert abs(late.mean() - early.mean()) < 0.2 * spreads[-1]
        assert spreads[0] < 1e-2 * frames.kinetic_energy.mean()
        assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.15)

    def test_recorded_energies_belong_to_the_recorded_state(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 3)
        bound = BoundPotential(potential, structures)
        for stage in (NVE, NVT):
            frames = self.trajectory(
                potential, structures, replace(stage, n_steps=12, record_every=4), shaken(structures, 500.0)
            )
            expected = [bound.energy_and_forces(x)[0].sum() for x in frames.positions]
            np.testing.assert_allclose(frames.potential_energy, expected, rtol=1e-7)
            kinetic = 0.5 * (electron_masses(structures) * frames.end.velocities**2).sum()
            assert frames.kinetic_energy[-1] == pytest.approx(kinetic, rel=1e-6)
            np.testing.assert_array_equal(frames.positions[-1], frames.end.positions)

    def test_nve_follows_velocity_verlet(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 2)
        start = shaken(structures, 500.0)
        frames = self.trajectory(potential, structures, replace(NVE, n_steps=20), start)
        positions, velocities = velocity_verlet(potential, structures, start, NVE.time_step, 20)
        np.testing.assert_allclose(frames.positions, positions, atol=1e-8)
        np.testing.assert_allclose(frames.end.velocities, velocities[-1], atol=1e-10)

    def test_nvt_reaches_the_kinetic_energy_of_the_bath(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 64)
        stage = replace(NVT, n_steps=1600, record_every=40)
        frames = self.trajectory(potential, structures, stage, at_rest(structures))
        kinetic = frames.kinetic_energy[len(frames.steps) // 2 :]
        degrees = 64 * 9
        expected = 0.5 * degrees * BOLTZMANN * stage.temperature
        # 40 steps are one friction time, so frames are taken as independent halves: twice the variance, 4 sigma.
        error = expected * np.sqrt(2.0 / degrees) / np.sqrt(len(kinetic) / 2.0)
        assert abs(kinetic.mean() - expected) < 4.0 * error
        assert kinetic.std() == pytest.approx(expected * np.sqrt(2.0 / degrees), rel=0.6)

    def test_replicas_do_not_interact(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 4)
        start = shaken(structures, 800.0)
        order = np.array([2, 0, 3, 1])
        permuted = MDState(0, start.positions[order], start.velocities[order])
        one, other = (self.trajectory(potential, structures, NVE, state) for state in (start, permuted))
        np.testing.assert_allclose(other.positions, one.positions[:, order], atol=1e-10)
        alone = MDState(0, start.positions[2:3], start.velocities[2:3])
        single = self.trajectory(potential, structures[:1], NVE, alone)
        np.testing.assert_allclose(single.positions[:, 0], one.positions[:, 2], atol=1e-10)

    def test_a_restart_continues_the_same_trajectory(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 2)
        stage = replace(NVE, record_every=5)
        whole = self.trajectory(potential, structures, stage, shaken(structures, 500.0))
        blocks = self.make_engine().run(potential, structures, stage, shaken(structures, 500.0), Recording(3))
        first = [next(blocks), next(blocks)]
        blocks.close()  # type: ignore[attr-defined]
        again = joined([*first, self.trajectory(potential, structures, stage, first[-1].end, 7)])
        np.testing.assert_array_equal(again.steps, whole.steps)
        np.testing.assert_allclose(again.positions, whole.positions, atol=1e-10)
        np.testing.assert_allclose(again.potential_energy, whole.potential_energy, atol=1e-10)
        np.testing.assert_allclose(again.kinetic_energy, whole.kinetic_energy, atol=1e-10)
        np.testing.assert_allclose(again.end.velocities, whole.end.velocities, atol=1e-12)

    def test_frames_blocks_and_progress_are_counted_right(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 1)
        stage = replace(NVE, n_steps=21, record_every=3)
        told: list[int] = []
        start = shaken(structures, 300.0)
        blocks = list(self.make_engine().run(potential, structures, stage, start, Recording(3, told.append)))
        assert [block.steps.tolist() for block in blocks] == [[0, 3, 6], [9, 12, 15], [18, 21]]
        assert [block.end.step for block in blocks] == [6, 15, 21]
        assert all(block.positions.shape == (len(block.steps), 1, 3, 3) for block in blocks)
        assert told == [0, 3, 6, 9, 12, 15, 18, 21]
        assert list(self.make_engine().run(potential, structures, stage, blocks[-1].end)) == []

    def test_outputs_are_recorded_or_refused(self) -> None:
        potential = ValencePotential.water()
        structures, recording = replicas(potential, 2), Recording(3, outputs=("dipole",))
        engine = self.make_engine()
        run = engine.run(
            potential, structures, replace(NVE, n_steps=8, record_every=2), shaken(structures, 300.0), recording
        )
        if not engine.records_outputs:
            with pytest.raises(InputError, match="dipole"):
                list(run)
            return
        found = list(run)
        positions = np.concatenate([block.positions for block in found])
        dipoles = np.concatenate([block.observables["dipole"] for block in found])
        expected = np.einsum("a,frax->frx", potential.charges.numpy(), positions)
        np.testing.assert_allclose(dipoles, expected, atol=1e-9)

    def test_seeds_decide_the_noise(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 2)
        stage = replace(NVT, n_steps=20)
        one, same = (self.trajectory(potential, structures, stage, at_rest(structures)).positions for _ in range(2))
        np.testing.assert_array_equal(one, same)
        other = self.trajectory(potential, structures, replace(stage, seed=2), at_rest(structures)).positions
        assert np.abs(other[-1] - one[-1]).max() > 1e-3

    def test_a_restart_does_not_repeat_the_noise(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 2)
        stage = replace(NVT, n_steps=20)
        begun = self.trajectory(potential, structures, stage, at_rest(structures))
        later = self.trajectory(
            potential, structures, replace(stage, n_steps=40), replace(at_rest(structures), step=20)
        )
        assert np.abs(later.positions[-1] - begun.positions[-1]).max() > 1e-3

    @pytest.mark.parametrize("record_every", [1, 10])
    @pytest.mark.parametrize("ensemble", ["nve", "nvt"])
    def test_values_that_are_not_finite_stop_the_run(self, ensemble: str, record_every: int) -> None:
        # A bath of no friction, so that both ensembles tear at the same step, or the next.
        stage = replace(NVE, ensemble=ensemble, temperature=1e-6, friction=1e-12, record_every=record_every)
        potential = ValencePotential.water(torn_beyond=2.6)
        structures = replicas(potential, 3)
        start = at_rest(structures)
        start.velocities[1, 1] = (0.008, 0.006, 0.0)  # hydrogen of replica 1 leaves its oxygen
        path, _ = velocity_verlet(ValencePotential.water(), structures, start, stage.time_step, stage.n_steps)
        torn = int(np.argmax(np.linalg.norm(path[:, 1, 0] - path[:, 1, 1], axis=1) > 2.6))
        assert 10 < torn < stage.n_steps
        frames: list[MDFrames] = []
        blocks = self.make_engine().run(potential, structures, stage, start, Recording(1))
        with pytest.raises(DenSNetError, match=r"(?s)step \d+\b.*replica 1\b") as caught:
            frames.extend(blocks)
        named = int(re.findall(r"step (\d+)", str(caught.value))[0])
        assert abs(named - torn) <= (ensemble == "nvt")
        recorded = joined(frames)
        assert recorded.steps.tolist() == list(range(0, named, record_every))
        assert np.isfinite(recorded.positions).all()
        assert np.isfinite(recorded.potential_energy).all()

    def test_a_start_that_is_not_finite_is_refused(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 2)
        start = at_rest(structures)
        start.positions[1, 0] = start.positions[1, 1]
        with pytest.raises(DenSNetError, match=r"(?s)step 0\b.*replica 1\b"):
            list(self.make_engine().run(potential, structures, NVE, start))

    @pytest.mark.parametrize(
        "change",
        [{"ensemble": "npt"}, {"time_step": 0.0}, {"record_every": 0}, {"n_steps": 7, "record_every": 2}],
        ids=lambda change: "-".join(change),
    )
    def test_impossible_stages_are_refused(self, change: dict[str, object]) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 1)
        with pytest.raises(InputError):
            list(self.make_engine().run(potential, structures, replace(NVE, **change), at_rest(structures)))  # type: ignore[arg-type]

    def test_a_start_of_another_shape_is_refused(self) -> None:
        potential = ValencePotential.water()
        structures = replicas(potential, 2)
        with pytest.raises(InputError, match=r"\(2, 3, 3\)"):
            list(self.make_engine().run(potential, structures, NVE, at_rest(structures[:1])))

    def test_molecules_that_the_potential_does_not_know_or_that_differ_are_refused(self) -> None:
        potential = ValencePotential.water()
        other = ValencePotential.hydrogen_fluoride().structure
        for structures in ([other], [potential.structure, other], []):
            with pytest.raises(InputError):
                list(self.make_engine().run(potential, structures, NVE, at_rest(structures[:1])))


def observed_frequency(coordinate: Array, time_step: float) -> float:
    """Angular frequency of a sampled harmonic motion, from q(n+1) + q(n-1) = 2 cos(omega dt) q(n)."""
    middle = coordinate[1:-1]
    cosine = middle @ (coordinate[2:] + coordinate[:-2]) / (2.0 * middle @ middle)
    return float(np.arccos(cosine) / time_step)


def velocity_verlet(
    potential: Potential, structures: Sequence[Structure], start: MDState, time_step: float, n_steps: int
) -> tuple[Array, Array]:
    """Positions and velocities (n_steps + 1, n_replicas, n_atoms, 3), integrated here in a few lines of NumPy."""
    masses, bound = electron_masses(structures), BoundPotential(potential, structures)
    x, v = start.positions.copy(), start.velocities.copy()
    forces = bound.energy_and_forces(x)[1]
    path = [(x, v)]
    for _ in range(n_steps):
        half = v + 0.5 * time_step * forces / masses
        x = x + time_step * half
        forces = bound.energy_and_forces(x)[1]
        v = half + 0.5 * time_step * forces / masses
        path.append((x, v))
    return np.array([x for x, _ in path]), np.array([v for _, v in path])
