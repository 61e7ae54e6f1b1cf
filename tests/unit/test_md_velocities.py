"""Starting velocities, overall motion and energy drift."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from densnet_core.errors import InputError
from densnet_core.md.analysis import energy_conservation, temperature_warning
from densnet_core.md.rigid import is_linear, rigid_body_vectors, vibrational_degrees_of_freedom
from densnet_core.md.velocities import (
    kinetic_energy,
    kinetic_temperature,
    remove_overall_motion,
    thermal_velocities,
)
from densnet_core.structures import Structure
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOLTZMANN, DALTON_TO_ELECTRON_MASS, HARTREE_TO_EV
from densnet_core.workflow.thermal import thermal_start, without_rotation

WATER = np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]])
WATER_MASSES = np.array([15.999, 1.008, 1.008])
CARBON_DIOXIDE = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.2], [0.0, 0.0, -2.2]])
CARBON_DIOXIDE_MASSES = np.array([12.011, 15.999, 15.999])


def momenta(velocities, masses, positions):
    """Linear momentum and angular momentum about the centre of mass of every replica."""
    centred = positions - np.einsum("a,rai->ri", masses, positions)[:, None] / masses.sum()
    linear = np.einsum("a,rai->ri", masses, velocities)
    angular = np.einsum("a,rai->ri", masses, np.cross(centred, velocities))
    return linear, angular


def turned(positions, n_replicas, seed=1):
    rotations = Rotation.random(n_replicas, rng=np.random.default_rng(seed))
    return np.array([rotation.apply(positions) + np.array([0.3, -2.0, 5.0]) for rotation in rotations])


@pytest.mark.parametrize(("masses", "molecule"), [(WATER_MASSES, WATER), (CARBON_DIOXIDE_MASSES, CARBON_DIOXIDE)])
def test_no_momentum_and_no_angular_momentum_is_left(masses, molecule):
    positions = turned(molecule, 20)
    velocities = thermal_velocities(masses, positions, 300.0, seed=7)
    linear, angular = momenta(velocities, masses, positions)
    assert np.abs(linear).max() < 1e-12
    assert np.abs(angular).max() < 1e-12
    assert np.abs(velocities).max() > 1e-5


def test_replicas_of_different_isotopes_have_masses_of_their_own():
    masses = np.array([WATER_MASSES, [15.999, 2.014, 2.014], [15.999, 1.008, 2.014]])
    positions = turned(WATER, 3)
    velocities = thermal_velocities(masses, positions, 300.0, seed=7)
    for own, position, velocity in zip(masses, positions, velocities, strict=True):
        linear, angular = momenta(velocity[None], own, position[None])
        assert max(np.abs(linear).max(), np.abs(angular).max()) < 1e-12
    alone = kinetic_energy(velocities[1], masses[1])
    assert kinetic_energy(velocities, masses)[1] == pytest.approx(alone)
    assert remove_overall_motion(velocities, masses, positions) == pytest.approx(velocities)


def test_a_spinning_drifting_molecule_comes_to_rest():
    positions = turned(WATER, 1)
    spin = np.cross([0.1, -0.4, 0.2], positions[0] - WATER_MASSES @ positions[0] / WATER_MASSES.sum())
    velocities = spin[None] + np.array([1.0, 2.0, 3.0])
    assert np.abs(remove_overall_motion(velocities, WATER_MASSES, positions)).max() < 1e-13


def test_vibrations_are_not_touched():
    breathing = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    rotation = Rotation.from_rotvec([0.4, 1.1, -0.3])
    velocities = rotation.apply(breathing[0])[None]
    left = remove_overall_motion(velocities, CARBON_DIOXIDE_MASSES, rotation.apply(CARBON_DIOXIDE)[None])
    assert np.abs(left - velocities).max() < 1e-14


def carbon_dioxide_modes():
    """Force constants (hartree/bohr^2, mass-weighted) and vectors of CO2 on springs of its bonds and of its bend."""
    hessian = np.zeros((3, 3, 3, 3))
    for end, direction in ((1, 1.0), (2, -1.0)):
        bond = np.zeros((3, 3))
        bond[end, 2], bond[0, 2] = direction, -direction
        hessian += 1.0 * np.einsum("ai,bj->aibj", bond, bond)
    for axis in (0, 1):
        bend = np.zeros((3, 3))
        bend[:, axis] = np.array([-2.0, 1.0, 1.0]) / 2.2
        hessian += 0.16 * np.einsum("ai,bj->aibj", bend, bend)
    roots = np.sqrt(np.repeat(CARBON_DIOXIDE_MASSES * DALTON_TO_ELECTRON_MASS, 3))
    values, vectors = np.linalg.eigh(hessian.reshape(9, 9) / roots[:, None] / roots)
    assert (values[:5] < 1e-12).all()
    return values[5:], vectors[:, 5:], roots


def test_every_vibration_of_a_linear_molecule_has_its_thermal_energy():
    """Bent by heat it still has five rigid motions; with six the two bends have half of it."""
    constants, modes, roots = carbon_dioxide_modes()
    kt = BOLTZMANN * 300.0
    normal = np.random.default_rng(0).standard_normal((4000, 4)) * np.sqrt(kt / constants)
    positions = CARBON_DIOXIDE + ((normal @ modes.T) / roots).reshape(-1, 3, 3)
    shares = {}
    for linear in (True, False):
        velocities = thermal_velocities(CARBON_DIOXIDE_MASSES, positions, 300.0, seed=1, linear=linear)
        momenta_of_modes = (velocities.reshape(-1, 9) * roots) @ modes
        shares[linear] = (momenta_of_modes**2).mean(0) / kt
    assert is_linear(CARBON_DIOXIDE_MASSES, CARBON_DIOXIDE)
    assert not is_linear(CARBON_DIOXIDE_MASSES, positions[0])
    assert shares[True] == pytest.approx(1.0, abs=0.07)  # three standard deviations of 4000 squares
    assert shares[False][:2] == pytest.approx(0.5, abs=0.07)


def test_a_run_asks_the_minimum_whether_the_molecule_is_linear():
    """Of a minimum that is linear to 1e-4 of its length, and of frames that heat has bent."""
    almost = CARBON_DIOXIDE + np.array([[1e-4, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    minimum = Structure(np.array([6, 8, 8]), almost)
    state = thermal_start([minimum] * 4000, 300.0, 3)
    energies = kinetic_energy(state.velocities, minimum.masses)
    assert 2.0 * energies.mean() / (BOLTZMANN * 300.0) == pytest.approx(4.0, rel=0.05)  # not 3
    bent = state.positions + np.array([[0.2, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    spinning = replace(state, positions=bent, velocities=np.random.default_rng(0).standard_normal(bent.shape))
    five, six = (
        remove_overall_motion(spinning.velocities, minimum.masses, bent, linear=linear) for linear in (True, False)
    )
    assert np.array_equal(without_rotation(spinning, minimum).velocities, five)
    assert np.abs(five - six).max() > 0.1


@pytest.mark.parametrize(
    ("masses", "molecule", "expected"), [(WATER_MASSES, WATER, 3), (CARBON_DIOXIDE_MASSES, CARBON_DIOXIDE, 4)]
)
def test_temperature_and_degrees_of_freedom(masses, molecule, expected):
    assert vibrational_degrees_of_freedom(masses, molecule) == expected
    positions = turned(molecule, 4000)
    energies = kinetic_energy(thermal_velocities(masses, positions, 350.0, seed=2), masses)
    # The kinetic energy of f degrees of freedom has the standard deviation kT sqrt(f/2).
    error = 350.0 * np.sqrt(2.0 / expected / 4000)
    assert kinetic_temperature(energies, expected) == pytest.approx(350.0, abs=4 * error)
    assert np.std(energies) == pytest.approx(BOLTZMANN * 350.0 * np.sqrt(expected / 2), rel=0.1)


def test_every_component_is_maxwellian_before_removal():
    velocities = thermal_velocities(WATER_MASSES, turned(WATER, 20000), 300.0, seed=5, keep_overall_motion=True)
    expected = BOLTZMANN * 300.0 / (WATER_MASSES * 1822.888486209)
    assert velocities.var(axis=0) == pytest.approx(np.repeat(expected[:, None], 3, axis=1), rel=0.05)


def test_seeds_decide():
    positions = turned(WATER, 3)
    first = thermal_velocities(WATER_MASSES, positions, 300.0, seed=1)
    assert np.array_equal(first, thermal_velocities(WATER_MASSES, positions, 300.0, seed=1))
    assert not np.allclose(first, thermal_velocities(WATER_MASSES, positions, 300.0, seed=2))


@pytest.mark.parametrize(("molecule", "count"), [(WATER, 6), (CARBON_DIOXIDE, 5)])
def test_rigid_motions_are_orthonormal(molecule, count):
    vectors = rigid_body_vectors(WATER_MASSES, molecule + np.array([100.0, 0.0, -50.0]))
    assert vectors.shape == (count, 9)
    assert np.abs(vectors @ vectors.T - np.eye(count)).max() < 1e-12


def test_an_atom_only_moves():
    assert rigid_body_vectors(np.array([4.0]), np.array([[7.0, 8.0, 9.0]])).shape == (3, 3)


@pytest.mark.parametrize(
    ("masses", "positions", "message"),
    [
        (WATER_MASSES, WATER, "n_replicas, n_atoms, 3"),
        (WATER_MASSES[:2], WATER[None], "n_replicas, n_atoms, 3"),
        (np.array([WATER_MASSES, WATER_MASSES]), WATER[None], "n_replicas, n_atoms, 3"),
        (-WATER_MASSES, WATER[None], "must be positive"),
    ],
)
def test_wrong_shapes_and_masses_are_named(masses, positions, message):
    with pytest.raises(InputError, match=message):
        remove_overall_motion(np.zeros_like(positions), masses, positions)


def test_drift_of_a_known_line_is_recovered_under_a_large_offset():
    picoseconds = np.linspace(0.0, 20.0, 4001)
    mev_per_atom = 0.03 * picoseconds + 0.5 * np.sin(40 * picoseconds)
    energies = -76000.0 + mev_per_atom * 1e-3 / HARTREE_TO_EV * 48
    result = energy_conservation(picoseconds * 1e3 / ATOMIC_TIME_TO_FEMTOSECOND, energies, n_atoms=48)
    assert result.drift == pytest.approx(0.03, abs=2e-3)
    assert result.fluctuation == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert result.duration == pytest.approx(20.0)
    assert 0 < result.drift_error < 2e-3
    assert "meV/atom/ps" in str(result)


def test_a_drift_needs_frames_in_order():
    with pytest.raises(InputError, match="at least three frames"):
        energy_conservation(np.arange(2.0), np.zeros(2), 3)
    with pytest.raises(InputError, match="must ascend"):
        energy_conservation(np.array([0.0, 2.0, 1.0]), np.zeros(3), 3)


def test_too_few_replicas_are_told_with_how_many_would_do() -> None:
    """Ammonia from the untouched starter file: 385 K where 300 were asked, 8 replicas of 6 vibrations."""
    assert temperature_warning(321.0, 300.0, 6, 8) is None
    told = temperature_warning(385.0, 300.0, 6, 8)
    assert told is not None
    assert "385 K where 300 K were asked for" in told
    assert "off by 14%" in told
    assert "replicas = 67" in told
    # harmonic energies of 48 degrees of freedom, drawn from the canonical ensemble: a Gamma distribution
    energies = np.random.default_rng(0).gamma(48.0, 1.0 / 48.0, 100_000)
    assert energies.std() == pytest.approx(0.144, abs=2e-3)
