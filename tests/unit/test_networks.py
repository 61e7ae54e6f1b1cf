"""Symmetry, exactness and smoothness of the density and energy networks, in float64 to 1e-9 unless said otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from e3nn import o3
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.conventions import E3NN_AXES, from_magnetic_order, to_magnetic_order
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.expansion import Expansion, scaled_functions
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.density import DensityModel, DensitySpecification
from densnet_core.models.energy import EnergyModel
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.statistics import amplitude_statistics
from densnet_core.potentials.outputs import common_cutoff, energy_outputs
from densnet_core.structures import Structure

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

Array = NDArray[np.float64]
DENSITY, ENERGY = example.make_models()
FACTORS = {"fixed exponents": 1.0, "moving exponents": 1.5}
RANDOM = np.random.default_rng(17)
TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """e3nn makes rotation matrices in the default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True, params=FACTORS)
def _both_kinds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds for networks that adapt the exponents, too."""
    density, energy = example.make_models(largest_factor=FACTORS[request.param])
    monkeypatch.setattr(sys.modules[__name__], "DENSITY", density)
    monkeypatch.setattr(sys.modules[__name__], "ENERGY", energy)


def orthogonal(determinant: int) -> Array:
    matrix, _ = np.linalg.qr(RANDOM.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix)) * determinant


TRANSFORMATIONS = [orthogonal(1), orthogonal(-1), -np.eye(3), np.diag([1.0, 1.0, -1.0])]
NAMES = ["rotation", "improper rotation", "inversion", "reflection"]


def energies_and_forces(density: DensityModel, energy: EnergyModel, graph: Graph) -> tuple[Tensor, Tensor]:
    outputs, _ = energy_outputs(density, energy, graph)
    return outputs["energy"], outputs["forces"]


def energy_of(graph: Graph, difference: Expansion) -> Tensor:
    energies: Tensor = ENERGY(graph, {"density": difference})["energy"]
    return energies


def difference_of(structure: Structure) -> Expansion:
    with torch.no_grad():
        return DENSITY(graph_of([structure]))["density"]


def coefficients_of(structure: Structure) -> Array:
    return np.asarray(difference_of(structure).coefficients.numpy())


def functions_of(structure: Structure, difference: Expansion) -> MolecularBasis:
    return scaled_functions(MolecularBasis(example.BASIS, structure.numbers), difference.scales)


def values_of(structure: Structure, points: Array) -> Array:
    difference = difference_of(structure)
    functions, positions = functions_of(structure, difference), torch.tensor(structure.positions)
    return np.asarray(functions.density(positions, difference.coefficients, torch.tensor(points)).numpy())


def assert_equal(one: Expansion, other: Expansion, atol: float) -> None:
    torch.testing.assert_close(one.coefficients, other.coefficients, rtol=0, atol=atol)
    assert (one.scales is None) == (other.scales is None)
    if one.scales is not None and other.scales is not None:
        torch.testing.assert_close(one.scales, other.scales, rtol=0, atol=atol)


def rotation_of_coefficients(numbers: Array, transformation: Array) -> Array:
    """Block-diagonal matrix of e3nn's Wigner matrices, of natural parity, in the core's order of functions."""
    axes = list(E3NN_AXES)
    theirs = torch.tensor(transformation[np.ix_(axes, axes)])
    shells = [shell.l for z in numbers for shell in example.BASIS.shells(int(z))]
    result = np.zeros((sum(2 * l + 1 for l in shells),) * 2)  # noqa: E741
    at = 0
    for degree in shells:
        wigner = o3.Irrep(degree, (-1) ** degree).D_from_matrix(theirs).numpy()
        order = from_magnetic_order(degree)
        size = 2 * degree + 1
        result[at : at + size, at : at + size] = wigner[np.ix_(order, order)]
        at += size
    return result


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=NAMES)
@pytest.mark.parametrize("structure", example.MOLECULES, ids=lambda s: s.formula)
def test_coefficients_turn_with_the_molecule(structure: Structure, transformation: Array) -> None:
    turned = structure.with_positions(structure.positions @ transformation.T)
    expected = rotation_of_coefficients(structure.numbers, transformation) @ coefficients_of(structure)
    np.testing.assert_allclose(coefficients_of(turned), expected, rtol=0, atol=TOLERANCE)
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=NAMES)
def test_the_density_turns_with_the_molecule(transformation: Array) -> None:
    """Independent of any convention for coefficients: values at turned points."""
    structure = example.FORMALDEHYDE
    turned = structure.with_positions(structure.positions @ transformation.T)
    points = RANDOM.normal(scale=2.0, size=(100, 3))
    before, after = values_of(structure, points), values_of(turned, points @ transformation.T)
    np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE)
    assert np.abs(before).max() > 0.01


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=NAMES)
def test_forces_turn_and_energies_stay(transformation: Array) -> None:
    graph = graph_of([example.WATER, example.FORMALDEHYDE])
    matrix = torch.tensor(transformation)
    energies, forces = energies_and_forces(DENSITY, ENERGY, graph)
    turned = energies_and_forces(DENSITY, ENERGY, graph.with_positions(graph.positions @ matrix.T))
    torch.testing.assert_close(turned[0], energies, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(turned[1], forces @ matrix.T, rtol=0, atol=TOLERANCE)
    assert float(forces.abs().max()) > 1e-3


def test_nothing_depends_on_where_a_molecule_is() -> None:
    graph = graph_of([example.FORMALDEHYDE])
    moved = graph.with_positions(graph.positions + torch.tensor([30.0, -4.0, 7.0]))
    assert_equal(DENSITY(moved)["density"], DENSITY(graph)["density"], TOLERANCE)
    for after, before in zip(
        energies_and_forces(DENSITY, ENERGY, moved), energies_and_forces(DENSITY, ENERGY, graph), strict=True
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=TOLERANCE)


def test_single_precision_loses_nothing_far_from_the_origin() -> None:
    """Edge vectors are rounded, positions are not: a trajectory may drift anywhere."""
    models = (DENSITY, ENERGY)
    for network in models:
        cast_parameters(network, torch.float32)
    graph = graph_of([example.WATER])
    moved = graph.with_positions(graph.positions + 4096.0)
    for after, before in zip(energies_and_forces(*models, moved), energies_and_forces(*models, graph), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_the_order_of_the_atoms_does_not_matter() -> None:
    structure = example.FORMALDEHYDE
    order = [2, 0, 3, 1]
    shuffled = Structure(structure.numbers[order], structure.positions[order])
    atom_of = MolecularBasis(example.BASIS, structure.numbers).function_atoms.numpy()
    whole = coefficients_of(structure)
    expected = np.concatenate([whole[atom_of == atom] for atom in order])
    np.testing.assert_allclose(coefficients_of(shuffled), expected, rtol=0, atol=TOLERANCE)
    energy, forces = energies_and_forces(DENSITY, ENERGY, graph_of([structure]))
    again, shuffled_forces = energies_and_forces(DENSITY, ENERGY, graph_of([shuffled]))
    torch.testing.assert_close(again, energy, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(shuffled_forces, forces[order], rtol=0, atol=TOLERANCE)


def test_equal_atoms_in_equal_places_get_equal_coefficients() -> None:
    linear = Structure(np.array([8, 6, 8]), np.array([[0.0, 0.0, -2.2], [0.0, 0.0, 0.0], [0.0, 0.0, 2.2]]))
    points = RANDOM.normal(scale=2.0, size=(30, 3))
    np.testing.assert_allclose(values_of(linear, points), values_of(linear, -points), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("structure", [example.WATER, example.HYDROXIDE], ids=lambda s: s.formula)
def test_forces_are_the_slope_of_the_energy(structure: Structure) -> None:
    """Central differences of fourth order, through both networks."""
    _, forces = energies_and_forces(DENSITY, ENERGY, graph_of([structure]))
    step = 2e-3
    numerical = np.zeros_like(structure.positions)
    for index in np.ndindex(*structure.positions.shape):
        shift = np.zeros_like(structure.positions)
        shift[index] = step
        moved = graph_of([structure.with_positions(structure.positions + k * shift) for k in (-2, -1, 1, 2)])
        energies, _ = energies_and_forces(DENSITY, ENERGY, moved)
        numerical[index] = -float(torch.tensor([1.0, -8.0, 8.0, -1.0]) @ energies) / (12 * step)
    np.testing.assert_allclose(forces.numpy(), numerical, rtol=0, atol=TOLERANCE)


def test_the_energy_depends_on_the_density_and_the_force_goes_through_it() -> None:
    graph = graph_of([example.WATER])
    difference = difference_of(example.WATER)
    coefficients = difference.coefficients.clone().requires_grad_()
    (slope,) = torch.autograd.grad(energy_of(graph, replace(difference, coefficients=coefficients)).sum(), coefficients)
    # the energy model reads l <= 2
    read = np.concatenate([[s.l <= 2] * s.size for z in (8, 1, 1) for s in example.BASIS.shells(z)])
    assert (np.abs(slope.numpy()[read]) > 1e-8).all()
    assert (slope.numpy()[~read] == 0).all()
    positions = graph.positions.clone().requires_grad_()
    fixed = energy_of(graph.with_positions(positions), difference)
    (partial,) = torch.autograd.grad(fixed.sum(), positions)
    _, forces = energies_and_forces(DENSITY, ENERGY, graph)
    assert float((forces + partial).abs().max()) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("structure", example.MOLECULES, ids=lambda s: f"{s.formula} {s.charge}")
def test_the_electron_count_is_exact(structure: Structure, dtype: torch.dtype) -> None:
    cast_parameters(DENSITY, dtype)
    difference = difference_of(structure)
    assert difference.coefficients.dtype == torch.float64
    counts = functions_of(structure, difference).electron_counts()
    assert float(counts @ difference.coefficients) == pytest.approx(-structure.charge, abs=1e-9)


def test_without_any_spread_in_the_data_the_count_is_still_exact() -> None:
    """One training frame: nothing varies, but something must take up the charge."""
    layout, species = DENSITY.layout, torch.arange(3)
    offset, scale = amplitude_statistics(layout, [(species, torch.zeros(layout.n_components, 3, layout.width))])
    DENSITY.offset.copy_(offset)
    DENSITY.scale.copy_(scale)
    difference = difference_of(example.HYDROXIDE)
    counts = functions_of(example.HYDROXIDE, difference).electron_counts()
    assert float(counts @ difference.coefficients) == pytest.approx(1.0, abs=1e-9)


def test_a_batch_equals_single_molecules() -> None:
    """Different sizes, charges and an atom without any edge; nothing leaks from one molecule to another."""
    energies, forces = energies_and_forces(DENSITY, ENERGY, graph_of(example.MOLECULES))
    coefficients = DENSITY(graph_of(example.MOLECULES))["density"].coefficients.detach()
    singles = [energies_and_forces(DENSITY, ENERGY, graph_of([one])) for one in example.MOLECULES]
    torch.testing.assert_close(energies, torch.cat([e for e, _ in singles]), rtol=0, atol=1e-11)
    torch.testing.assert_close(forces, torch.cat([f for _, f in singles]), rtol=0, atol=1e-11)
    each = np.concatenate([coefficients_of(one) for one in example.MOLECULES])
    np.testing.assert_allclose(coefficients.numpy(), each, rtol=0, atol=1e-11)


def test_a_lone_atom_is_round_and_feels_no_force() -> None:
    coefficients = coefficients_of(example.CARBON)
    round_part = np.concatenate([[s.l == 0] * s.size for s in example.BASIS.shells(6)])
    assert (coefficients[~round_part] == 0).all()
    energies, forces = energies_and_forces(DENSITY, ENERGY, graph_of([example.CARBON]))
    assert bool(torch.isfinite(energies).all())
    assert (forces == 0).all()


def pair(distance: float) -> Graph:
    positions = np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]) * np.array([[0.0], [distance]])
    return graph_of([Structure(np.array([8, 6]), positions)])


def test_a_pair_parts_smoothly_at_the_cutoff() -> None:
    """Energy, force and its slope vanish towards the cutoff; beyond it nothing moves any more."""
    cutoff = DENSITY.backbone.cutoff

    def energy_and_pull(distance: float) -> tuple[float, float]:
        energies, forces = energies_and_forces(DENSITY, ENERGY, pair(distance))
        return float(energies), float(forces[1] @ torch.tensor([0.6, 0.0, 0.8]))

    apart, pull = energy_and_pull(cutoff + 1.0)
    assert pull == 0.0
    assert energy_and_pull(cutoff + 1e-9) == (pytest.approx(apart, abs=1e-12), 0.0)
    energies, pulls = zip(*(energy_and_pull(cutoff - gap) for gap in (0.4, 0.2, 0.1, 0.05)), strict=True)
    differences = np.abs(np.array(energies) - apart)
    # (1 - x)^3 of the envelope times the zero of the Bessel functions: each halving gains 16 and 8, nearly
    assert (differences[:-1] / differences[1:] > 10).all()
    assert (np.abs(pulls[:-1]) / np.abs(pulls[1:]) > 5.5).all()
    assert abs(energy_and_pull(0.6 * cutoff)[1]) > 1e3 * abs(pulls[-1])


def test_edges_beyond_the_cutoff_do_not_matter() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 1.5, 1.2], [0.0, -1.5, 1.2], [0.0, 0.0, 14.0], [2.0, 0.0, 13.0]])
    far = Structure(np.array([8, 1, 1, 6, 8]), positions)
    every, near = graph_of([far]), graph_of([far], cutoff=DENSITY.backbone.cutoff)
    assert near.senders.numel() == 6 + 2 < every.senders.numel()
    assert_equal(DENSITY(near)["density"], DENSITY(every)["density"], 1e-12)
    for some, all_ in zip(*(energies_and_forces(DENSITY, ENERGY, graph) for graph in (near, every)), strict=True):
        torch.testing.assert_close(some, all_, rtol=0, atol=1e-12)
    assert common_cutoff(DENSITY, ENERGY) == DENSITY.backbone.cutoff
    ENERGY.cutoff = None  # as of a model with interactions of its own
    assert common_cutoff(DENSITY, ENERGY) is None


def test_an_element_without_training_is_an_error_that_names_it() -> None:
    graph = graph_of([Structure(np.array([7, 7]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.1]]))])
    with pytest.raises(InputError, match=r"does not know N; it was made for H C O\."):
        DENSITY(graph)
    with pytest.raises(InputError, match="does not know N"):
        energy_of(graph, Expansion(torch.zeros(1)))


def test_a_basis_without_s_functions_cannot_conserve_charge() -> None:
    basis = GaussianBasis("no s", {1: [Shell(0, (1.0,), (1.0,))], 8: [Shell(1, (1.0,), (1.0,))]})
    specification = DensitySpecification(basis, "coulomb", (1, 8))
    with pytest.raises(InputError, match="needs an s function for O"):
        EquivariantDensityModel(specification, None, example.backbone_maker())


def test_the_precision_of_a_network_is_that_of_its_parameters_only() -> None:
    density, _ = example.make_models()
    tables = {name: buffer.clone() for name, buffer in density.named_buffers()}
    cast_parameters(density, torch.float32)
    assert {p.dtype for p in density.parameters()} == {torch.float32}
    for name, buffer in density.named_buffers():
        assert buffer.dtype == tables[name].dtype
        assert (buffer == tables[name]).all()
    scale = dict(density.named_buffers())["scale"]
    assert scale.dtype == torch.float64


def test_single_and_double_precision_agree() -> None:
    graph = graph_of([example.FORMALDEHYDE])
    single = energies_and_forces(*example.make_models(torch.float32), graph)
    double = energies_and_forces(*example.make_models(torch.float64), graph)
    torch.testing.assert_close(single[0], double[0], rtol=0, atol=2e-6)
    torch.testing.assert_close(single[1], double[1], rtol=0, atol=2e-5)


def test_harmonics_of_an_edge_are_e3nns() -> None:
    """What the backbone feeds its products is e3nn's "component" normalisation at the permuted axes."""
    vectors = torch.tensor(RANDOM.normal(size=(5, 3)))
    theirs = o3.spherical_harmonics(
        [0, 1, 2, 3], vectors[:, list(E3NN_AXES)], normalize=True, normalization="component"
    )
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    functions = MolecularBasis(GaussianBasis("d", {1: [Shell(2, (1.0,), (1.0,))]}), [1])
    values = functions.evaluate(torch.zeros(1, 3), unit)[:, torch.tensor(to_magnetic_order(2))]
    shape = values / values.norm(dim=1, keepdim=True) * 5**0.5
    torch.testing.assert_close(theirs[:, 4:9], shape, rtol=0, atol=1e-12)
