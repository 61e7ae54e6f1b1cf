"""Fit floors of ethanol at PBE/def2-SVP against the published table (shared/FACTS.md), through the benchmark's code."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fit_floors

from densnet_core.basis.base import Metric
from densnet_core.basis.library import OTHER_BASIS, basis_by_name
from densnet_core.density.prior import AtomicPrior
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM


@cache
def reference() -> fit_floors.Reference:
    return fit_floors.ethanol((45, 29))


def test_superposed_atoms() -> None:
    found = reference().atoms(fit_floors.atomic_prior(reference().backend))
    assert found.nmae == pytest.approx(fit_floors.ATOMS.nmae, rel=0.05)
    assert found.dipole == pytest.approx(fit_floors.ATOMS.dipole, rel=0.05)
    assert abs(found.electrons) < 1e-10


@pytest.mark.parametrize("metric", ["overlap", "coulomb"])
@pytest.mark.parametrize("name", ["def2-universal-jfit", "def2-universal-jkfit"])
def test_named_bases_in_every_column(name: str, metric: Metric) -> None:
    found = reference().floor(fit_floors.basis_of_row(name), metric)
    expected = fit_floors.ETHANOL[name][metric]
    assert found.nmae == pytest.approx(expected.nmae, rel=0.05)
    assert found.electrons == pytest.approx(expected.electrons, rel=0.05)
    assert found.dipole == pytest.approx(expected.dipole, rel=0.05)


@pytest.mark.parametrize("metric", ["overlap", "coulomb"])
@pytest.mark.parametrize("row", [(2.5, 3), (2.0, 3)])
def test_the_nmae_of_even_tempered_sets_follows_their_ratio(row: tuple[float, int], metric: Metric) -> None:
    found = reference().floor(fit_floors.basis_of_row(row), metric)
    assert found.nmae == pytest.approx(fit_floors.ETHANOL[row][metric].nmae, rel=0.05)


def difference_floors(structure: Structure, bases: tuple[str, ...]) -> dict[str, float]:
    """NMAE per cent of the fits of the difference, PBE/def2-SVP."""
    backend = PySCFBackend(LevelOfTheory("PBE", "def2-SVP"))
    molecule = fit_floors.Reference(backend, structure, backend.compute(structure).orbitals, (45, 29))
    prior = AtomicPrior.fit({int(z): backend.atomic_density(int(z)) for z in np.unique(structure.numbers)})
    return {name: molecule.difference(basis_by_name(name, structure.numbers), prior).nmae for name in bases}


@pytest.mark.parametrize(
    "name",
    ["fluoroethane", "dimethylborane", "methylsilanol", "ethylphosphine", "acetyl chloride", "acetyl bromide"],
)
def test_the_tiers_hold_the_densities_of_molecules_that_they_were_not_made_for(name: str) -> None:
    """Within 1.3 times the floors of ethanol (0.41, 0.24 and 0.15 %), at another orbital basis than theirs."""
    found = difference_floors(fit_floors.unseen_elements()[name], ("densnet-s", "densnet-m", "densnet-l"))
    assert found["densnet-s"] < 1.3 * 0.41
    assert found["densnet-m"] < 1.3 * 0.24
    assert found["densnet-l"] < 1.3 * 0.15


@pytest.mark.parametrize(
    ("numbers", "angstrom"),
    [
        ([34, 1, 1], [[0.0, 0.0, 0.0], [1.04, 1.01, 0.0], [-1.04, 1.01, 0.0]]),
        ([11, 9], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.93]]),
    ],
)
def test_the_basis_for_elements_that_the_tiers_lack_works(numbers: list[int], angstrom: list[list[float]]) -> None:
    structure = Structure(np.array(numbers), np.array(angstrom) / BOHR_TO_ANGSTROM)
    assert difference_floors(structure, (OTHER_BASIS,))[OTHER_BASIS] < 2.0
