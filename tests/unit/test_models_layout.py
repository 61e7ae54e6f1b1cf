"""Flat coefficients and orthonormal amplitudes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Metric, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import InputError
from densnet_core.models.layout import CoefficientLayout

RANDOM = np.random.default_rng(4)
JUMBLED = GaussianBasis(
    "jumbled",
    {
        1: [
            Shell(1, (0.9,), (1.0,)),
            Shell(0, (2.0, 0.4), (0.5, 0.5)),
            Shell(1, (0.3,), (1.0,)),
            Shell(0, (0.2,), (1.0,)),
        ],
        6: [Shell(3, (0.8,), (1.0,)), Shell(0, (0.5,), (1.0,)), Shell(2, (1.1,), (1.0,))],
        8: [Shell(degree, (0.3 * 2.2**k,), (1.0,)) for degree in range(3) for k in range(3)],
    },
)
MOLECULE = torch.tensor([8, 1, 6, 1, 8])
METRICS: tuple[Metric, ...] = ("coulomb", "overlap")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("basis", [JUMBLED, basis_by_name("def2-universal-jkfit", [1, 6, 8])], ids=lambda b: b.name)
def test_coefficients_to_amplitudes_and_back(basis: GaussianBasis, metric: Metric) -> None:
    layout = CoefficientLayout(basis, (1, 6, 8), metric)
    species = layout.species(MOLECULE)
    places = layout.flat_places(species)
    coefficients = torch.tensor(RANDOM.normal(size=basis.n_functions(MOLECULE.tolist())))
    amplitudes = layout.amplitudes(coefficients, species, places)
    assert amplitudes.shape == (layout.n_components, 5, layout.width)
    torch.testing.assert_close(layout.coefficients(amplitudes, species, places), coefficients, rtol=0, atol=1e-11)
    used = int((amplitudes != 0).sum())
    assert used == len(coefficients)


@pytest.mark.parametrize("metric", METRICS)
def test_the_square_of_an_atoms_amplitudes_is_its_norm_in_the_metric(metric: Metric) -> None:
    layout = CoefficientLayout(JUMBLED, (1, 6, 8), metric)
    species = layout.species(MOLECULE)
    functions = MolecularBasis(JUMBLED, MOLECULE.tolist())
    coefficients = torch.tensor(RANDOM.normal(size=functions.n_functions))
    amplitudes = layout.amplitudes(coefficients, species, layout.flat_places(species))
    # so far apart that overlaps vanish; Coulomb blocks between atoms are left out
    matrix = two_center(metric, functions, torch.tensor(RANDOM.normal(size=(5, 3))))
    for atom in range(5):
        own = functions.function_atoms == atom
        norm = coefficients[own] @ matrix[own][:, own] @ coefficients[own]
        torch.testing.assert_close((amplitudes[:, atom] ** 2).sum(), norm, rtol=1e-11, atol=0)


def test_amplitudes_are_in_magnetic_order() -> None:
    """One p shell: x, y, z of the core are at m = +1, -1, 0, so at places 3, 1, 2 behind the s component."""
    basis = GaussianBasis("p", {1: [Shell(0, (1.0,), (1.0,)), Shell(1, (1.0,), (1.0,))]})
    layout = CoefficientLayout(basis, (1,), "overlap")
    species = layout.species(torch.tensor([1]))
    amplitudes = layout.amplitudes(torch.tensor([0.0, 1.0, 2.0, 3.0]).double(), species, layout.flat_places(species))
    torch.testing.assert_close(amplitudes[:, 0, 0], torch.tensor([0.0, 2.0, 3.0, 1.0], dtype=torch.float64))


def test_counts_of_amplitudes_are_those_of_coefficients() -> None:
    layout = CoefficientLayout(JUMBLED, (1, 6, 8))
    species = layout.species(MOLECULE)
    functions = MolecularBasis(JUMBLED, MOLECULE.tolist())
    coefficients = torch.tensor(RANDOM.normal(size=functions.n_functions))
    amplitudes = layout.amplitudes(coefficients, species, layout.flat_places(species))
    total = (amplitudes[0] * layout.counts[species]).sum()
    torch.testing.assert_close(total, functions.electron_counts() @ coefficients, rtol=1e-12, atol=1e-12)


def test_an_unknown_element_is_named_and_not_taken_for_the_last() -> None:
    layout = CoefficientLayout(JUMBLED, (1, 8))
    with pytest.raises(InputError, match=r"does not know C N; it was made for H O\."):
        layout.species(torch.tensor([1, 7, 6]))


def test_shells_that_depend_on_each_other_are_refused() -> None:
    shell = Shell(1, (0.5,), (1.0,))
    with pytest.raises(InputError, match="p shells of O in basis 'twice' depend on each other"):
        CoefficientLayout(GaussianBasis("twice", {8: [Shell(0, (1.0,), (1.0,)), shell, shell]}), (8,))


def scales_of_molecule() -> torch.Tensor:
    return torch.tensor(np.exp(RANDOM.uniform(-0.6, 0.6, size=(len(MOLECULE), 4))))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("basis", [JUMBLED, basis_by_name("def2-universal-jkfit", [1, 6, 8])], ids=lambda b: b.name)
def test_amplitudes_of_moved_functions(basis: GaussianBasis, metric: Metric) -> None:
    """Back and forth, the norm of every atom and the electron count, against integrals with the scaled exponents."""
    layout = CoefficientLayout(basis, (1, 6, 8), metric)
    species = layout.species(MOLECULE)
    places = layout.flat_places(species)
    scales = torch.tensor(np.exp(RANDOM.uniform(-0.6, 0.6, size=(len(MOLECULE), layout.l_max + 1))))
    functions = MolecularBasis(basis, MOLECULE.tolist()).scaled(scales)
    coefficients = torch.tensor(RANDOM.normal(size=functions.n_functions))
    amplitudes = layout.amplitudes(coefficients, species, places, scales)
    back = layout.coefficients(amplitudes, species, places, scales)
    torch.testing.assert_close(back, coefficients, rtol=0, atol=1e-11)
    matrix = two_center(metric, functions, torch.tensor(RANDOM.normal(size=(5, 3))))
    for atom in range(5):
        own = functions.function_atoms == atom
        norm = coefficients[own] @ matrix[own][:, own] @ coefficients[own]
        torch.testing.assert_close((amplitudes[:, atom] ** 2).sum(), norm, rtol=1e-10, atol=0)
    total = (amplitudes[0] * layout.electron_counts(species, scales)).sum()
    torch.testing.assert_close(total, functions.electron_counts() @ coefficients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_projected_amplitudes_are_those_of_the_nearest_density_of_the_basis(metric: Metric) -> None:
    """Atom by atom: fit the moved functions with the fixed ones, then the ordinary amplitudes of that fit."""
    layout = CoefficientLayout(JUMBLED, (1, 6, 8), metric)
    species = layout.species(MOLECULE)
    places = layout.flat_places(species)
    scales = scales_of_molecule()
    coefficients = torch.tensor(RANDOM.normal(size=JUMBLED.n_functions(MOLECULE.tolist())))
    fitted, at = [], 0
    origin = torch.zeros((1, 3), dtype=torch.float64)
    for atom, number in enumerate(MOLECULE.tolist()):
        fixed = MolecularBasis(JUMBLED, [number])
        moved = fixed.scaled(scales[atom : atom + 1, : max(g.l for g in fixed.groups) + 1])
        own = coefficients[at : at + fixed.n_functions]
        at += fixed.n_functions
        between = two_center(metric, fixed, origin, moved, origin)
        fitted.append(torch.linalg.solve(two_center(metric, fixed, origin), between @ own))
    expected = layout.amplitudes(torch.cat(fitted), species, places)
    found = layout.projected_amplitudes(coefficients, species, places, scales)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    unmoved = layout.projected_amplitudes(coefficients, species, places, torch.ones_like(scales))
    torch.testing.assert_close(unmoved, layout.amplitudes(coefficients, species, places), rtol=0, atol=1e-11)
