"""Fit floors of ethanol at PBE/def2-SVP against the published table (shared/FACTS.md), through the benchmark's code."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fit_floors

from densnet_core.basis.base import Metric


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
