"""The expansion of free atoms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.radial import RadialDensity
from densnet_core.errors import DataError, InputError
from densnet_core.structures import Structure

RADII = np.exp(np.arange(np.log(1e-6), np.log(30.0), 0.02))
WEIGHTS = 4 * np.pi * RADII**3 * 0.02


def slater(*parts: tuple[float, float]) -> RadialDensity:
    """Electrons and exponents of 1s Slater densities n z^3 / 8 pi exp(-z r)."""
    values = sum(n * z**3 / (8 * np.pi) * np.exp(-z * RADII) for n, z in parts)
    return RadialDensity(RADII, WEIGHTS, np.asarray(values))


# Hydrogen is exact; the other is like oxygen: a core that 2 electrons share, and a valence shell.
DENSITIES = {1: slater((1.0, 2.0)), 8: slater((2.0, 15.4), (6.0, 3.5))}
PRIOR = AtomicPrior.fit(DENSITIES)


@pytest.mark.parametrize("number", [1, 8])
def test_an_atom_with_a_cusp_is_expanded_to_a_thousandth_per_cent(number: int) -> None:
    density = DENSITIES[number]
    assert PRIOR.radial_error(number, density) < 1e-5
    structure = Structure(np.array([number]), np.zeros((1, 3)), multiplicity=1 + number % 2)
    expanded = ExpandedDensity(structure, PRIOR.basis, np.zeros(1), PRIOR)
    points = np.zeros((len(RADII), 3))
    points[:, 1] = RADII
    values = expanded.atoms(points)
    # the same error through the basis functions, not through the prior's own sum
    error = float(WEIGHTS @ np.abs(values - density.values)) / number
    assert error == pytest.approx(PRIOR.radial_error(number, density), rel=1e-9)


def test_every_atom_has_exactly_its_electrons() -> None:
    numbers = [8, 1, 1, 8]
    functions = MolecularBasis(PRIOR.basis, numbers)
    counts = functions.electron_counts() * PRIOR.coefficients(numbers)
    np.testing.assert_allclose(counts.numpy(), numbers, rtol=1e-14)


def test_it_survives_json() -> None:
    copy = AtomicPrior.from_dict(json.loads(json.dumps(PRIOR.to_dict())))
    assert copy.basis.content_hash() == PRIOR.basis.content_hash()
    assert (copy.coefficients([1, 8]) == PRIOR.coefficients([1, 8])).all()


@pytest.mark.parametrize("radius", [1.0, 2.0, 3.0])  # bohr; at 1 and 3 the longest expansion loses its norm to rounding
def test_a_density_that_s_functions_cannot_follow_is_an_error(radius: float) -> None:
    edge = np.where(radius > RADII, 1.0, 0.0)
    box = RadialDensity(RADII, WEIGHTS, 6 * edge / float(WEIGHTS @ edge))
    with pytest.raises(DataError, match=r"The s expansion of C misses [\d.e+-]+ % of the electrons"):
        AtomicPrior.fit({6: box})


def test_only_one_s_shell_per_element_is_a_prior() -> None:
    with pytest.raises(InputError, match="prior of H must be one contracted s shell"):
        AtomicPrior(GaussianBasis("p", {1: [Shell(1, (1.0,), (1.0,))]}))
    with pytest.raises(InputError, match="prior of H"):
        AtomicPrior(GaussianBasis("two", {1: [Shell(0, (1.0,), (1.0,))] * 2}))


def test_an_element_it_was_not_made_for_is_named() -> None:
    with pytest.raises(InputError, match="no functions for C"):
        PRIOR.coefficients([6])
