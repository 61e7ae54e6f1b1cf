"""Starts at constant energy whose modes have the energies of a temperature."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from densnet_core.errors import InputError
from densnet_core.md.base import Recording
from densnet_core.md.batched import TorchEngine
from densnet_core.md.equipartition import Directions, thermal_replicas
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.md.velocities import remove_overall_motion
from densnet_core.spectra.harmonic import normal_modes
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Structure
from densnet_core.testing.md import FEMTOSECOND, shaken
from densnet_core.testing.potentials import ValencePotential
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS
from densnet_core.workflow.thermal import model_harmonic, without_rotation

TEMPERATURE = 200.0
PIECE = MDStage("nve", 300, 0.5 * FEMTOSECOND, TEMPERATURE, 0.0, 4, 0)


@pytest.fixture(scope="module")
def potential() -> ValencePotential:
    return ValencePotential.water()


@pytest.fixture(scope="module")
def directions(potential: ValencePotential) -> Directions:
    return Directions(potential.structure, normal_modes(model_harmonic(potential, potential.structure)).eigenvectors)


def energies_of_modes(potential: ValencePotential, directions: Directions, state: MDState) -> np.ndarray:
    """(n_replicas, n_modes) mean kinetic energies over half a picosecond, in kT/2."""
    structures = [potential.structure] * len(state.positions)
    stage = replace(PIECE, n_steps=1000)
    ends = [b.end for b in TorchEngine().run(potential, structures, stage, state, Recording(block_frames=1))]
    speeds = np.array([directions.speeds(end.positions, end.velocities) for end in ends])
    return np.mean(speeds**2, axis=0) / (BOLTZMANN * TEMPERATURE)


def test_every_mode_has_its_energy_whatever_the_replicas_brought(
    potential: ValencePotential, directions: Directions
) -> None:
    structures = [potential.structure] * 8
    brought, left = [], []
    for seed in range(2):
        # Positions at the minimum and twice the velocities: a mean of kT, in the hands of 8 replicas.
        start = without_rotation(shaken(structures, 2.0 * TEMPERATURE, seed), potential.structure)
        found = thermal_replicas(TorchEngine(), potential, structures, start, PIECE, directions)
        assert found.temperatures == pytest.approx(TEMPERATURE, rel=0.06)
        brought.append(energies_of_modes(potential, directions, start).mean(axis=0))
        energies = energies_of_modes(potential, directions, found.state)
        assert energies.mean() == pytest.approx(1.0, abs=0.03)
        assert energies.std() > 0.3  # replicas still differ, as those of an ensemble do
        left.append(energies.mean(axis=0))
        assert (
            np.abs(
                remove_overall_motion(found.state.velocities, potential.structure.masses, found.state.positions)
                - found.state.velocities
            ).max()
            < 1e-12
        )
    assert np.abs(np.array(left) - 1.0).max() < 0.08
    assert np.abs(np.array(brought) - 1.0).max() > 0.25


def test_a_right_start_is_left_alone(potential: ValencePotential, directions: Directions) -> None:
    structures = [potential.structure] * 4
    start = without_rotation(shaken(structures, 300.0, 1), potential.structure)
    found = thermal_replicas(TorchEngine(), potential, structures, start, PIECE, directions)
    again = thermal_replicas(TorchEngine(), potential, structures, found.state, PIECE, directions)
    if again.pieces == 1:  # nothing but the piece that measured
        (block,) = TorchEngine().run(potential, structures, replace(PIECE, record_every=300), found.state)
        np.testing.assert_allclose(again.state.velocities, block.end.velocities, atol=1e-12)
    assert again.pieces <= found.pieces


def test_directions_turn_with_the_molecule(directions: Directions, potential: ValencePotential) -> None:
    masses, random = potential.structure.masses, np.random.default_rng(0)
    turns = Rotation.random(5, rng=random)
    shift = random.normal(scale=0.03, size=(3, 3))
    moved = np.array([turn.apply(potential.structure.positions + shift) + 7.0 for turn in turns])
    velocity = remove_overall_motion(
        random.normal(size=(1, 3, 3)), masses, (potential.structure.positions + shift)[None]
    )
    velocities = np.array([turn.apply(velocity[0]) for turn in turns])
    speeds = directions.speeds(moved, velocities)
    np.testing.assert_allclose(speeds, np.tile(speeds[0], (5, 1)), atol=1e-9)
    rows = directions.turned(moved).reshape(5, len(directions), -1)
    np.testing.assert_allclose(rows @ rows.transpose(0, 2, 1), np.tile(np.eye(len(directions)), (5, 1, 1)), atol=1e-12)
    kinetic = 0.5 * DALTON_TO_ELECTRON_MASS * (masses[:, None] * velocity[0] ** 2).sum()
    assert 0.5 * (speeds[0] ** 2).sum() == pytest.approx(kinetic, rel=0.01)  # nearly no rotation of the frame is left
    other = directions.with_speeds_changed(moved, velocities, -speeds)
    assert np.abs(directions.speeds(moved, other)).max() < 0.02 * np.abs(speeds).max()


def test_what_is_overall_motion_elsewhere_does_not_count(directions: Directions, potential: ValencePotential) -> None:
    minimum = potential.structure
    assert directions.internal(minimum.positions[None]) == pytest.approx(1.0, abs=1e-9)
    opened = minimum.with_positions(minimum.positions * np.array([1.0, 0.3, 1.0]))  # nearly straight
    shares = directions.internal(opened.positions[None])
    rigid = rigid_body_vectors(minimum.masses, opened.positions, linear_tolerance=1e-6)
    inside = np.eye(9) - rigid.T @ rigid
    # The mean square of a thermal velocity inside along each direction, by sampling.
    random = np.random.default_rng(1).normal(size=(200_000, 9)) @ inside
    rows = directions.turned(opened.positions[None])[0].reshape(len(directions), 9)
    assert shares[0] == pytest.approx(((random @ rows.T) ** 2).mean(axis=0), rel=0.02)


def test_directions_of_another_molecule_are_refused(potential: ValencePotential) -> None:
    with pytest.raises(InputError, match=r"shape \(n, 3, 3\), not \(3, 4, 3\)"):
        Directions(potential.structure, np.zeros((3, 4, 3)))


def test_the_modes_are_those_of_the_potential_whatever_geometry_it_starts_from(potential: ValencePotential) -> None:
    shifted = potential.structure.with_positions(
        potential.structure.positions + np.random.default_rng(3).normal(scale=0.05, size=(3, 3))
    )
    one, other = (normal_modes(model_harmonic(potential, start)) for start in (potential.structure, shifted))
    np.testing.assert_allclose(one.wavenumbers, other.wavenumbers, atol=0.2)
    assert one.wavenumbers == pytest.approx([1658.0, 3875.0, 3931.0], abs=2.0)
    diatomic = ValencePotential.hydrogen_fluoride()
    modes = normal_modes(model_harmonic(diatomic, diatomic.structure))
    assert modes.wavenumbers == pytest.approx([4138.0], abs=3.0)
    heavy = Structure(np.array([1, 9]), diatomic.structure.positions, isotope_masses=np.array([2.014, 18.998]))
    assert normal_modes(model_harmonic(diatomic, heavy)).wavenumbers[0] < 3100.0
