"""Observables of a density against closed forms, finite differences, quadrature and rotation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import erf, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.density.charges import coefficient_charges, hirshfeld_charges
from densnet_core.density.electron import Density, ExpandedDensity, OrbitalDensity
from densnet_core.density.electrostatics import nuclear_attraction_energy, nuclear_repulsion_energy
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.density.surface import isodensity_surface, surface_potential
from densnet_core.errors import InputError
from densnet_core.structures import Structure

sys.path.insert(0, str(Path(__file__).parent))
from turned_density import changes

Array = NDArray[np.float64]
RANDOM = np.random.default_rng(8)
PRIOR = AtomicPrior(
    GaussianBasis(
        "prior",
        {
            1: [Shell(0, (1.5, 0.3), (1.0, 0.4))],
            7: [Shell(0, (8.0, 0.6), (1.0, 2.0))],
            8: [Shell(0, (9.0, 0.7), (1.0, 2.0))],
        },
    )
)
BASIS = GaussianBasis(
    "difference",
    {z: [*(Shell(l, (0.5 + 0.2 * l,), (1.0,)) for l in range(5)), Shell(1, (1.9, 0.8), (1.0, 0.5))] for z in (1, 7, 8)},  # noqa: E741
)
WATER = Structure(np.array([8, 1, 1]), np.array([[0.3, 0.1, 0.2], [0.3, 1.53, -0.9], [0.35, -1.33, -0.8]]))
AROUND = 0.1 + 2 * pi / 3 * np.arange(3)
HYDROGENS = np.column_stack([1.77 * np.cos(AROUND), 1.77 * np.sin(AROUND), np.full(3, -0.5)])
AMMONIA = Structure(np.array([7, 1, 1, 1]), np.vstack([[0.0, 0.0, 0.2], HYDROGENS]))


def density_of(structure: Structure, scale: float = 0.05, seed: int = 4) -> ExpandedDensity:
    size = BASIS.n_functions(structure.numbers)
    return ExpandedDensity(structure, BASIS, np.random.default_rng(seed).normal(scale=scale, size=size), PRIOR)


DENSITY = density_of(WATER)
ORBITALS = OrbitalDensity(
    WATER, BASIS, RANDOM.normal(scale=0.1, size=(len(DENSITY.coefficients), 2)), np.array([2.0, 1.0])
)


def gaussian_atom(exponent: float) -> ExpandedDensity:
    """A hydrogen atom whose electron is one normalised Gaussian, (a/pi)^(3/2) exp(-a r^2), at (1, 0, 0)."""
    prior = AtomicPrior(GaussianBasis("one", {1: [Shell(0, (exponent,), (1.0,))]}))
    atom = Structure(np.array([1]), np.array([[1.0, 0.0, 0.0]]), multiplicity=2)
    return ExpandedDensity(atom, GaussianBasis("p", {1: [Shell(1, (1.0,), (1.0,))]}), np.zeros(3), prior)


@pytest.mark.parametrize("exponent", [0.1, 1.0, 40.0])
def test_electrostatics_of_a_gaussian_atom(exponent: float) -> None:
    """Textbook closed forms (Helgaker, Jorgensen, Olsen, section 9.7)."""
    density = gaussian_atom(exponent)
    assert density.hartree_energy() == pytest.approx(0.5 * sqrt(2 * exponent / pi), rel=1e-13)
    assert density.nuclear_attraction_energy() == pytest.approx(-2 * sqrt(exponent / pi), rel=1e-13)
    distances = np.array([0.01, 0.5, 2.0])
    points = density.structure.positions + distances[:, None] * np.array([0.6, 0.0, 0.8])
    expected = [(1 - erf(sqrt(exponent) * d)) / d for d in distances]
    np.testing.assert_allclose(density.electrostatic_potential(points), expected, rtol=1e-11, atol=1e-16)
    np.testing.assert_allclose(density.hellmann_feynman_forces(), 0.0, atol=1e-15)
    assert np.isposinf(density.electrostatic_potential(density.structure.positions)).all()


def slopes(function: Callable[[Array], Array], points: Array, step: float = 1e-4) -> Array:
    """Central differences (n_points, 3) of a function of points."""
    rows = [(function(points + step * e) - function(points - step * e)) / (2 * step) for e in np.eye(3)]
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("density", [DENSITY, ORBITALS], ids=["expanded", "orbitals"])
def test_gradients_are_slopes_of_the_density(density: Density) -> None:
    points = RANDOM.normal(size=(20, 3)) * 1.5
    np.testing.assert_allclose(density.gradient(points), slopes(density.evaluate, points), atol=2e-6, rtol=2e-6)


def test_the_field_is_minus_the_slope_of_the_potential() -> None:
    points = RANDOM.normal(size=(20, 3)) * 3
    np.testing.assert_allclose(
        DENSITY.electric_field(points), -slopes(DENSITY.electrostatic_potential, points), atol=1e-6, rtol=1e-6
    )


def test_the_potential_satisfies_poissons_equation() -> None:
    """Its Laplacian is 4 pi times the electrons per volume, away from nuclei: neither sign nor factor is left open."""
    points = WATER.positions[:1] + RANDOM.normal(size=(10, 3))
    step = 2e-3
    around = [DENSITY.electrostatic_potential(points + sign * step * e) for e in np.eye(3) for sign in (1, -1)]
    laplacian = (np.sum(around, axis=0) - 6 * DENSITY.electrostatic_potential(points)) / step**2
    np.testing.assert_allclose(laplacian, 4 * pi * DENSITY.evaluate(points), atol=2e-4, rtol=1e-4)


def test_hellmann_feynman_forces_are_slopes_at_a_fixed_density() -> None:
    parts, centres = (DENSITY.atoms_part, DENSITY.difference_part), torch.tensor(WATER.positions)
    charges = torch.tensor(WATER.numbers, dtype=torch.float64)

    def energy(nuclei: Array) -> float:
        given = torch.tensor(nuclei)
        attraction = nuclear_attraction_energy(parts, centres, given, charges)
        return float(attraction + nuclear_repulsion_energy(given, charges))

    assert energy(WATER.positions) - float(nuclear_repulsion_energy(centres, charges)) == pytest.approx(
        DENSITY.nuclear_attraction_energy(), rel=1e-14
    )
    expected = np.zeros((3, 3))
    for index in np.ndindex(3, 3):
        shift = np.zeros((3, 3))
        shift[index] = 1e-4
        expected[index] = -(energy(WATER.positions + shift) - energy(WATER.positions - shift)) / 2e-4
    np.testing.assert_allclose(DENSITY.hellmann_feynman_forces(), expected, atol=1e-6)


def test_a_nucleus_and_an_electron_cloud_attract_each_other() -> None:
    """Extra electrons on the right of a proton pull it to the right, as does a missing proton on the left."""
    right = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [6.0, 0, 0]]))
    basis = GaussianBasis("s", {1: [Shell(0, (1.0,), (1.0,))]})
    extra = ExpandedDensity(right, basis, np.array([0.0, 0.3]), AtomicPrior(PRIOR.basis.restricted_to([1])))
    assert extra.hellmann_feynman_forces()[0, 0] > 1e-3
    assert extra.electrostatic_potential(np.array([[10.0, 0.0, 0.0]]))[0] < 0.0


@pytest.mark.parametrize("density", [DENSITY, ORBITALS], ids=["expanded", "orbitals"])
def test_moments_and_count_are_those_of_the_values(density: Density) -> None:
    points, weights = quadrature(WATER, 80, 41)
    values = weights * density.evaluate(points)
    assert density.electron_count() == pytest.approx(values.sum(), abs=2e-6)
    nuclei = np.einsum("a,ai,aj->ij", WATER.numbers, WATER.positions, WATER.positions)
    expected = nuclei - np.einsum("p,pi,pj->ij", values, points, points)
    np.testing.assert_allclose(density.second_moments(), expected, atol=3e-5)
    origin = np.array([0.4, -0.3, 1.0])
    about = points - origin
    nuclei = np.einsum("a,ai,aj->ij", WATER.numbers, WATER.positions - origin, WATER.positions - origin)
    moments = nuclei - np.einsum("p,pi,pj->ij", values, about, about)
    theta = 1.5 * moments - 0.5 * np.trace(moments) * np.eye(3)
    np.testing.assert_allclose(density.quadrupole(origin), theta, atol=1e-4)


def test_hartree_energy_is_half_of_the_density_in_its_own_potential() -> None:
    points, weights = quadrature(WATER, 80, 35)
    nuclei = (WATER.numbers / np.linalg.norm(points[:, None] - WATER.positions, axis=-1)).sum(1)
    own = nuclei - DENSITY.electrostatic_potential(points)
    assert DENSITY.hartree_energy() == pytest.approx(0.5 * weights @ (DENSITY.evaluate(points) * own), rel=1e-6)
    attraction = -weights @ (DENSITY.evaluate(points) * nuclei)
    assert DENSITY.nuclear_attraction_energy() == pytest.approx(attraction, rel=1e-6)


def test_charges_of_the_free_atoms_are_zero() -> None:
    atoms = density_of(WATER, scale=0.0)
    np.testing.assert_array_equal(hirshfeld_charges(atoms), np.zeros(3))
    np.testing.assert_array_equal(coefficient_charges(atoms), np.zeros(3))


def test_charges_add_up_to_that_of_the_molecule_exactly() -> None:
    charge = 10.0 - DENSITY.electron_count()
    assert abs(charge) > 0.01
    assert hirshfeld_charges(DENSITY, n_radial=20, degree=11).sum() == pytest.approx(charge, abs=1e-13)
    assert coefficient_charges(DENSITY).sum() == pytest.approx(charge, abs=1e-13)


def test_coefficient_charges_count_the_s_functions_of_each_atom() -> None:
    coefficients = np.zeros_like(DENSITY.coefficients)
    per_atom = len(coefficients) // 3
    coefficients[per_atom] = -0.2  # the s function of the first hydrogen
    coefficients[2 * per_atom + 2] = 5.0  # a p function of the second
    integral = (2 * 0.5 / pi) ** 0.75 * (pi / 0.5) ** 1.5
    found = coefficient_charges(ExpandedDensity(WATER, BASIS, coefficients, PRIOR))
    np.testing.assert_allclose(found, [0.0, 0.2 * integral, 0.0], atol=1e-14)


def test_hirshfeld_charges_share_by_the_free_atoms() -> None:
    """Two equal atoms and a difference on the right one: the integral of the share by brute force in cylinders."""
    pair = Structure(np.array([1, 1]), np.array([[0.0, 0, -0.8], [0.0, 0, 0.8]]))
    basis = GaussianBasis("s", {1: [Shell(0, (0.8,), (1.0,))]})
    prior = AtomicPrior(GaussianBasis("one", {1: [Shell(0, (0.6,), (1.0,))]}))
    density = ExpandedDensity(pair, basis, np.array([0.0, 0.1]), prior)
    z, r = np.linspace(-9, 9, 1801), np.linspace(0, 8, 1601)
    on_z, on_r = np.meshgrid(z, r, indexing="ij")
    # rho_right / (rho_left + rho_right) of Gaussians is a logistic function of z
    share = 1.0 / (1.0 + np.exp(-4 * 0.6 * 0.8 * on_z))
    extra = 0.1 * (2 * 0.8 / pi) ** 0.75 * np.exp(-0.8 * (on_r**2 + (on_z - 0.8) ** 2))
    expected = -np.trapezoid(np.trapezoid(extra * share * 2 * pi * on_r, r, axis=1), z)
    found = hirshfeld_charges(density)
    assert found[1] == pytest.approx(expected, abs=1e-5)
    orbitals = OrbitalDensity(pair, GaussianBasis("s", {1: [Shell(0, (0.3,), (1.0,))]}), np.eye(2), np.ones(2))
    np.testing.assert_allclose(hirshfeld_charges(orbitals, prior), 0.0, atol=1e-12)  # the squares are the prior
    with pytest.raises(InputError, match="give prior=AtomicPrior"):
        hirshfeld_charges(orbitals)


def test_the_surface_of_a_sphere() -> None:
    density = gaussian_atom(0.9)
    height = (0.9 / pi) ** 1.5
    radius = sqrt(np.log(height / 0.001) / 0.9)
    result = surface_potential(density)
    np.testing.assert_allclose(
        np.linalg.norm(result.surface.points - density.structure.positions, axis=1), radius, rtol=1e-12
    )
    assert result.surface.area == pytest.approx(4 * pi * radius**2, rel=1e-12)
    value = (1 - erf(sqrt(0.9) * radius)) / radius
    for number in (result.minimum, result.maximum, result.mean):
        assert number == pytest.approx(value, rel=1e-10)
    outwards = result.surface.points - density.structure.positions
    np.testing.assert_allclose(result.surface.normals, outwards / radius, atol=1e-12)


def test_the_surface_of_two_atoms_is_one_of_revolution() -> None:
    """Area and mean from the radius of the isodensity line at every z, found on its own."""
    pair = Structure(np.array([1, 1]), np.array([[0.0, 0, -0.7], [0.0, 0, 0.7]]))
    density = ExpandedDensity(pair, BASIS, np.zeros(BASIS.n_functions([1, 1])), PRIOR)
    result = surface_potential(density, 0.001, degree=41)
    # polar angle about the centre; the surface is star-shaped from there
    angles, weights = np.polynomial.legendre.leggauss(200)
    rays = np.column_stack([np.sqrt(1 - angles**2), np.zeros(200), angles])
    low, high = np.zeros(200), np.full(200, 10.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        inside = density.evaluate(rays * middle[:, None]) > 0.001
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    gradient = density.gradient(rays * low[:, None])
    cosine = np.abs((gradient * rays).sum(1)) / np.linalg.norm(gradient, axis=1)
    areas = 2 * pi * weights * low**2 / cosine
    assert result.surface.area == pytest.approx(areas.sum(), rel=2e-4)
    mean = areas @ density.electrostatic_potential(rays * low[:, None]) / areas.sum()
    assert result.mean == pytest.approx(mean, rel=1e-3)
    np.testing.assert_allclose(density.evaluate(result.surface.points), 0.001, rtol=1e-10)


@pytest.mark.parametrize(("isodensity", "message"), [(0.0, "positive number"), (1e6, "nowhere 1e\\+06 electrons")])
def test_impossible_surfaces_are_refused(isodensity: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        isodensity_surface(DENSITY, isodensity)


@pytest.mark.parametrize("structure", [WATER, AMMONIA], ids=["asymmetric", "three-fold axis"])
@pytest.mark.parametrize("seed", [0, 1])
def test_rotating_molecule_and_coefficients_changes_no_observable(structure: Structure, seed: int) -> None:
    found = changes(density_of(structure, scale=0.005), Rotation.random(rng=seed).as_matrix())
    assert {name: change for name, change in found.items() if not change < 1e-10} == {}
