"""Optimisation, Hessians and normal modes of force fields whose vibrations are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.spatial.transform import Rotation

from densnet_core.errors import ConvergenceError, InputError
from densnet_core.md.velocities import kinetic_energy, kinetic_temperature
from densnet_core.spectra.bands import match_bands
from densnet_core.spectra.harmonic import HarmonicReference, finite_differences, harmonic_reference, normal_modes
from densnet_core.spectra.infrared import infrared_spectrum
from densnet_core.spectra.model_hessian import model_hessian, torsion_gradient
from densnet_core.spectra.optimise import optimise
from densnet_core.structures import Structure
from densnet_core.units import (
    ATOMIC_TIME_TO_FEMTOSECOND,
    BOLTZMANN,
    DALTON_TO_ELECTRON_MASS,
    HARTREE_TO_WAVENUMBER,
)
from densnet_core.workflow.harmonic import harmonic_from, harmonic_record

CHARGES = {8: -0.7, 1: 0.35, 6: 1.4}
AIM = Rotation.from_rotvec([0.3, -0.9, 0.5])


class ValenceForceField:
    """Morse bonds and harmonic angles between fixed partial charges, with a count of its calculations."""

    def __init__(self, bonds, angles):
        self.bonds, self.angles, self.count = bonds, angles, 0

    def energy(self, positions):
        total = 0.0
        for i, j, length, force_constant in self.bonds:
            stretch = np.linalg.norm(positions[i] - positions[j]) - length
            depth = 0.2
            total += depth * (1.0 - np.exp(-np.sqrt(force_constant / (2 * depth)) * stretch)) ** 2
        for i, j, k, angle, force_constant in self.angles:
            u, v = positions[i] - positions[j], positions[k] - positions[j]
            cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
            total += 0.5 * force_constant * (np.arccos(np.clip(cosine, -1.0, 1.0)) - angle) ** 2
        return total

    def forces(self, positions, step=1e-4):
        result = np.empty(positions.size)
        for index in range(positions.size):
            shift = np.zeros(positions.size)
            shift[index] = step
            shift = shift.reshape(positions.shape)
            near = self.energy(positions + shift) - self.energy(positions - shift)
            far = self.energy(positions + 2 * shift) - self.energy(positions - 2 * shift)
            result[index] = -(8 * near - far) / (12 * step)
        return result.reshape(positions.shape)

    def __call__(self, structures):
        self.count += len(structures)
        return [
            (
                self.energy(s.positions),
                self.forces(s.positions),
                np.array([CHARGES[int(z)] for z in s.numbers]) @ s.positions,
            )
            for s in structures
        ]


def water(length=1.81, angle=1.82):
    half = 0.5 * angle
    positions = length * np.array([[0, 0, 0], [0, np.sin(half), np.cos(half)], [0, -np.sin(half), np.cos(half)]])
    return Structure(np.array([8, 1, 1]), AIM.apply(positions) + np.array([1.0, -2.0, 0.5]))


def water_force_field():
    return ValenceForceField([(0, 1, 1.81, 0.54), (0, 2, 1.81, 0.54)], [(1, 0, 2, 1.82, 0.16)])


class LinearTriatomic:
    """CO2 with bonds k (r - r0)^2 / 2 and a quadratic bending term (d_O1 + d_O2 - 2 d_C)_perpendicular^2 b / 2."""

    def __init__(self, stretch, bend):
        axis = AIM.apply([0.0, 0.0, 1.0])
        along = np.outer(axis, axis)
        across = np.eye(3) - along
        hessian = np.zeros((3, 3, 3, 3))
        for oxygen in (1, 2):
            for i, j, sign in ((0, 0, 1), (oxygen, oxygen, 1), (0, oxygen, -1), (oxygen, 0, -1)):
                hessian[i, :, j, :] += sign * stretch * along
        weights = np.array([-2.0, 1.0, 1.0])
        hessian += bend * np.einsum("i,j,xy->ixjy", weights, weights, across)
        self.hessian = hessian.reshape(9, 9)
        self.structure = Structure(np.array([6, 8, 8]), np.outer([0.0, 2.2, -2.2], axis))
        self.charges = np.array([1.4, -0.7, -0.7])

    def reference(self):
        derivatives = np.repeat(self.charges, 3)[:, None] * np.tile(np.eye(3), (3, 1))
        return HarmonicReference(self.structure, 0.0, self.hessian, derivatives)


def test_a_linear_molecule_has_four_vibrations_at_their_closed_form_frequencies():
    # Herzberg, Infrared and Raman Spectra, section II.4: a linear symmetric XY2 molecule.
    stretch, bend = 1.0, 0.02
    modes = normal_modes(LinearTriatomic(stretch, bend).reference())
    carbon, oxygen = np.array([12.011, 15.999]) * DALTON_TO_ELECTRON_MASS
    squares = [
        bend * (2.0 / oxygen + 4.0 / carbon),
        bend * (2.0 / oxygen + 4.0 / carbon),
        stretch / oxygen,
        stretch * (1.0 / oxygen + 2.0 / carbon),
    ]
    assert modes.wavenumbers == pytest.approx(np.sqrt(squares) * HARTREE_TO_WAVENUMBER, rel=1e-10)
    assert modes.intensities[2] == pytest.approx(0.0, abs=1e-10)
    # |d mu / d Q|^2 of the antisymmetric stretch is (2 q)^2 (1/(2 m_O) + 1/m_C) with the charge q of an oxygen atom.
    expected = (2 * 0.7) ** 2 * (1 / (2 * 15.999) + 1 / 12.011)
    # 1 e^2/dalton is 974.88 km/mol: 42.2561 (debye/angstrom)^2 times 4.80320 debye/(e angstrom) squared.
    assert modes.intensities[3] == pytest.approx(42.2561 * 4.80320**2 * expected, rel=1e-4)
    assert modes.intensities[:2].sum() == pytest.approx(2 * modes.intensities[3], rel=1e-9)


def test_a_diatomic():
    hydroxide = Structure(np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 1.2, 1.3]]), charge=-1)
    field = ValenceForceField([(0, 1, np.hypot(1.2, 1.3), 0.5)], [])
    modes = normal_modes(finite_differences(field, hydroxide))
    oxygen, hydrogen = 15.999, 1.008
    # The normal mode's reduced mass is not the one of the textbook's bond coordinate, which fixes the frequency.
    conventional = oxygen * hydrogen * (oxygen + hydrogen) / (oxygen**2 + hydrogen**2)
    assert modes.reduced_masses == pytest.approx([conventional], rel=1e-9)
    mass = oxygen * hydrogen / (oxygen + hydrogen)
    expected = np.sqrt(0.5 / (mass * DALTON_TO_ELECTRON_MASS)) * HARTREE_TO_WAVENUMBER
    assert modes.wavenumbers == pytest.approx([expected], rel=1e-4)


def test_modes_are_orthonormal_and_free_of_overall_motion():
    modes = normal_modes(finite_differences(water_force_field(), water(1.9, 1.7)))
    vectors = modes.eigenvectors.reshape(3, 9)
    assert np.abs(vectors @ vectors.T - np.eye(3)).max() < 1e-12
    masses = modes.structure.masses
    positions = modes.structure.positions
    linear = np.einsum("a,kai->ki", masses, modes.displacements)
    angular = np.einsum("a,kai->ki", masses, np.cross(positions, modes.displacements))
    assert np.abs(linear).max() < 1e-12
    assert np.abs(angular).max() < 1e-12


def test_a_hilltop_has_a_negative_frequency():
    reference = LinearTriatomic(1.0, -0.02).reference()
    assert np.sign(normal_modes(reference).wavenumbers) == pytest.approx([-1, -1, 1, 1])


def test_optimisation_finds_the_minimum_in_few_calculations():
    field = water_force_field()
    harmonic = harmonic_reference(field, water(1.95, 1.60))
    first, second = harmonic.structure.positions[1:] - harmonic.structure.positions[0]
    assert np.linalg.norm(first) == pytest.approx(1.81, abs=2e-4)
    assert np.linalg.norm(second) == pytest.approx(1.81, abs=2e-4)
    angle = np.arccos(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert angle == pytest.approx(1.82, abs=1e-3)
    assert field.count - (6 * 3 + 1) <= 10
    assert harmonic.energy == pytest.approx(0.0, abs=1e-7)


def test_displacements_go_in_one_batch():
    batches = []
    field = water_force_field()

    def calculate(structures):
        batches.append(len(structures))
        return field(structures)

    finite_differences(calculate, water())
    assert batches == [19]


def test_an_optimisation_that_does_not_end_says_so():
    with pytest.raises(ConvergenceError, match=r"forces of .* after 3 calculations"):
        optimise(water_force_field(), water(2.4, 1.3), max_calculations=3)


def test_forces_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="finite energy and forces"):
        optimise(lambda batch: [(np.nan, s.positions, np.zeros(3)) for s in batch], water())


@pytest.mark.parametrize("positions", [None, [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 4.0], [0.5, 1.5, 5.5]]])
def test_the_model_hessian_is_positive_and_turns_with_the_molecule(positions):
    structure = water() if positions is None else Structure(np.array([1, 6, 6, 1]), np.array(positions))
    hessian = model_hessian(structure)
    assert np.linalg.eigvalsh(hessian).min() > 0.004
    rotation = Rotation.from_rotvec([1.0, 0.2, -0.7]).as_matrix()
    turn = np.kron(np.eye(structure.n_atoms), rotation)
    turned = model_hessian(structure.with_positions(structure.positions @ rotation.T))
    assert turned == pytest.approx(turn @ hessian @ turn.T, abs=1e-10)


def test_model_torsion_is_the_gradient_of_the_dihedral_angle():
    positions = np.random.default_rng(0).normal(size=(4, 3)) * 2

    def dihedral(flat):
        i, j, k, m = flat.reshape(4, 3)
        first, second = np.cross(j - i, k - j), np.cross(k - j, m - k)
        return np.arctan2(np.cross(first, second) @ (k - j) / np.linalg.norm(k - j), first @ second)

    expected = approx_fprime(positions.ravel(), dihedral, 1e-7)
    assert torsion_gradient(*positions) == pytest.approx(expected, abs=1e-5)


def test_raman_activities_are_averages_over_orientations_of_scattered_light():
    """Of light along z that is scattered at a right angle: <alpha_zz^2> with the field, <alpha_zx^2> across it."""
    random, molecule = np.random.default_rng(4), water()
    tensors = random.normal(size=(9, 3, 3))
    harmonic = replace(finite_differences(water_force_field(), molecule), polarizability_derivatives=tensors)
    modes = normal_modes(harmonic)
    cartesian = modes.displacements.reshape(3, 9)
    along = np.einsum("qi,ixy->qxy", cartesian, 0.5 * (tensors + tensors.swapaxes(1, 2)))
    turns = Rotation.create_group("I").as_matrix()  # its average is exact for tensors of rank four
    turned = np.einsum("gax,gby,qxy->gqab", turns, turns, along)
    parallel, across = (turned[..., 2, 2] ** 2).mean(0), (turned[..., 2, 0] ** 2).mean(0)
    unit = 0.529177210903**4 * 1822.888486
    np.testing.assert_allclose(modes.raman_activities, 45.0 * unit * (parallel + across), rtol=1e-8)
    np.testing.assert_allclose(modes.depolarization_ratios, across / parallel, rtol=1e-8)
    again = harmonic_from(harmonic_record(harmonic))
    np.testing.assert_allclose(normal_modes(again).raman_activities, modes.raman_activities, rtol=1e-12)
    assert normal_modes(finite_differences(water_force_field(), molecule)).raman_activities is None


def test_a_mode_that_changes_no_polarizability_scatters_nothing():
    modes = normal_modes(
        replace(finite_differences(water_force_field(), water()), polarizability_derivatives=np.zeros((9, 3, 3)))
    )
    assert (modes.raman_activities == 0.0).all()
    np.testing.assert_allclose(modes.depolarization_ratios, 0.75)


def test_polarizability_derivatives_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"polarizability derivatives of shape \(9, 3, 3\), not \(9, 3\)"):
        replace(finite_differences(water_force_field(), water()), polarizability_derivatives=np.zeros((9, 3)))


def test_a_reference_with_wrong_shapes_is_refused():
    with pytest.raises(InputError, match=r"Hessian of shape \(9, 9\)"):
        HarmonicReference(water(), 0.0, np.zeros((6, 6)), np.zeros((9, 3)))
    with pytest.raises(InputError, match="not finite"):
        HarmonicReference(water(), 0.0, np.full((9, 9), np.nan), np.zeros((9, 3)))
    with pytest.raises(InputError, match="displacement"):
        finite_differences(water_force_field(), water(), displacement=0.0)


@pytest.mark.parametrize("femtoseconds", [0.5, 1.0])
def test_dynamics_in_the_harmonic_potential_gives_the_harmonic_spectrum(femtoseconds):
    """Cartesian velocity Verlet of eight replicas at kT in every mode: lines and intensities come back."""
    harmonic = finite_differences(water_force_field(), water())
    modes = normal_modes(harmonic)
    masses = harmonic.structure.masses
    inertia = np.repeat(masses, 3) * DALTON_TO_ELECTRON_MASS
    rows = modes.eigenvectors.reshape(3, 9) * np.sqrt(inertia)
    hessian = rows.T @ np.diag(modes.frequencies**2) @ rows  # without the finite-difference residue in rotations
    step, temperature = femtoseconds / ATOMIC_TIME_TO_FEMTOSECOND, 300.0
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, (8, 3))
    # Amplitudes for which every mode has the shadow energy kT.
    scale = np.sqrt(2 * BOLTZMANN * temperature / (1 - (0.5 * step * modes.frequencies) ** 2)) / modes.frequencies
    speed = np.sqrt(2 * BOLTZMANN * temperature)
    flat = modes.displacements.reshape(3, 9)
    position, velocity = (scale * np.cos(phases)) @ flat, (speed * np.sin(phases)) @ flat
    positions, kinetic = [], []
    for _ in range(int(8000 / femtoseconds)):
        positions.append(position)
        kinetic.append(kinetic_energy(velocity.reshape(8, 3, 3), masses))
        velocity = velocity - 0.5 * step * position @ hessian / inertia
        position = position + step * velocity
        velocity = velocity - 0.5 * step * position @ hessian / inertia
    measured = kinetic_temperature(np.array(kinetic), 3)
    assert measured == pytest.approx(temperature, rel=2e-3)
    dipoles = np.array(positions) @ harmonic.dipole_derivatives + [0.1, 0.4, -0.6]
    spectrum = infrared_spectrum(dipoles, step, step, measured)
    for match, intensity in zip(match_bands(spectrum, modes.wavenumbers), modes.intensities, strict=True):
        assert match.shift == pytest.approx(0.0, abs=0.3)
        assert match.band.intensity == pytest.approx(intensity, rel=5e-3)


DEUTERIUM = 2.01410177812


def moments_of_inertia(structure, masses):
    centred = structure.positions - masses @ structure.positions / masses.sum()
    tensor = np.einsum("a,ai,aj->ij", masses, centred, centred)
    return np.linalg.eigvalsh(np.trace(tensor) * np.eye(3) - tensor)


@pytest.mark.parametrize("hydrogens", [(DEUTERIUM, DEUTERIUM), (DEUTERIUM, 1.008), (3.01604928, DEUTERIUM)])
def test_isotopes_obey_the_product_rule_and_have_the_frequencies_of_their_masses(hydrogens):
    """Teller and Redlich: Herzberg, Infrared and Raman Spectra, equation II,290; all vibrations of one molecule."""
    light = finite_differences(water_force_field(), water(), displacement=1e-3)
    heavy_water = replace(light.structure, isotope_masses=np.array([15.999, *hydrogens]))
    heavy = harmonic_from(harmonic_record(replace(light, structure=heavy_water)))  # as harmonic.json keeps it
    frequencies = normal_modes(heavy).wavenumbers
    one, two = np.array([15.999, 1.008, 1.008]), np.array([15.999, *hydrogens])
    inertia = np.prod(moments_of_inertia(water(), two)) / np.prod(moments_of_inertia(water(), one))
    expected = np.sqrt(np.prod(one / two) ** 3 * (two.sum() / one.sum()) ** 3 * inertia)
    ratio = np.prod(frequencies) / np.prod(normal_modes(light).wavenumbers)
    assert ratio == pytest.approx(expected, rel=1e-6)
    # The same Hessian weighted here; overall motion has frequency zero to the accuracy of the differences.
    weights = np.repeat(1.0 / np.sqrt(two * DALTON_TO_ELECTRON_MASS), 3)
    squares = np.linalg.eigvalsh(light.hessian * np.outer(weights, weights))
    assert frequencies == pytest.approx(np.sqrt(squares[-3:]) * HARTREE_TO_WAVENUMBER, rel=1e-6)


def test_dynamics_of_heavy_water_has_its_velocities_and_the_labels_of_light_water():
    field, heavy = water_force_field(), replace(water(), isotope_masses=np.array([15.999, DEUTERIUM, DEUTERIUM]))
    one, two = harmonic_reference(field, water()), harmonic_reference(field, heavy)
    assert np.array_equal(one.hessian, two.hessian)
    assert two.structure.masses[1] == DEUTERIUM
    ratio = normal_modes(two).wavenumbers / normal_modes(one).wavenumbers
    assert ((ratio > 0.71) & (ratio < 0.76)).all()  # between sqrt(1.008 / D) = 0.707 and that of the O-H reduced mass
