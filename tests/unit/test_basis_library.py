"""Bases by name and by parameters."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import torch

from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import EvenTempered, basis_by_name, even_tempered, shipped_names
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import InputError
from densnet_core.models.layout import CoefficientLayout

ETHANOL = [6, 6, 8, 1, 1, 1, 1, 1, 1]
WATER = [8, 1, 1]


@pytest.mark.parametrize(
    ("name", "molecule", "functions"),
    [
        ("def2-universal-jfit", ETHANOL, 213),
        ("def2-universal-jkfit", ETHANOL, 335),
        ("aug-cc-pVQZ-JKFIT", ETHANOL, 882),
        ("aug-cc-pVQZ-JKFIT", WATER, 294),
        ("DEF2-Universal-JKfit", WATER, 113),
    ],
)
def test_numbers_of_functions(name: str, molecule: list[int], functions: int) -> None:
    """The numbers of shared/FACTS.md, which come from PySCF and the reference implementation."""
    assert basis_by_name(name, molecule).n_functions(molecule) == functions


def test_a_name_without_elements_gives_all_the_basis_covers() -> None:
    assert basis_by_name("STO-3G").elements[:10] == tuple(range(1, 11))
    assert 18 in basis_by_name("aug-cc-pVQZ-JKFIT").elements


def test_sp_shells_become_separate_shells() -> None:
    shells = basis_by_name("6-31G", [6]).shells(6)
    assert [shell.l for shell in shells] == [0, 0, 0, 1, 1]
    assert shells[1].exponents == shells[3].exponents


def test_general_contractions_become_separate_shells() -> None:
    """Dunning's (9s 4p 1d) / [3s 2p 1d] of oxygen."""
    shells = basis_by_name("cc-pVDZ", [8]).shells(8)
    assert [(shell.l, len(shell.exponents)) for shell in shells] == [(0, 9), (0, 9), (0, 1), (1, 4), (1, 1), (2, 1)]
    assert shells[0].exponents == shells[1].exponents
    assert shells[0].coefficients != shells[1].coefficients


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="'def2-universal-jfit'"):
        basis_by_name("def2-universal-jfitt")
    with pytest.raises(InputError, match="aug-cc-pvqz-jkfit") as caught:
        basis_by_name("aug-cc-pVQZ-JFIT")
    assert "There is no basis 'aug-cc-pVQZ-JFIT'" in str(caught.value)


@pytest.mark.parametrize("name", ["aug-cc-pVQZ-JKFIT", "6-31G"])
def test_an_element_that_a_basis_lacks_is_named(name: str) -> None:
    with pytest.raises(InputError, match="no functions for Au; it covers H"):
        basis_by_name(name, [1, 79])


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_bases_say_where_they_are_from(name: str) -> None:
    text = (resources.files("densnet_core.basis") / "data" / f"{name}.json").read_text("utf-8")
    assert len(json.loads(text)["source"]) > 40
    assert basis_by_name(name).name == name


TIERS = ("densnet-s", "densnet-m", "densnet-l")
COVERED = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35)


@pytest.mark.parametrize("name", TIERS)
def test_the_tiers_have_functions_that_can_be_told_apart_on_every_element(name: str) -> None:
    basis = basis_by_name(name)
    assert basis.elements == COVERED
    for z in basis.elements:
        assert 0 in {shell.l for shell in basis.shells(z)}
    layout = CoefficientLayout(basis, COVERED)  # refuses shells that depend on each other
    assert layout.width == max(sum(s.l == l_ for s in basis.shells(z)) for z in COVERED for l_ in range(6))
    # and far from it: they are orthonormal but for the rounding of their record
    for z in basis.elements:
        functions = MolecularBasis(basis, [z])
        metric = two_center("coulomb", functions, torch.zeros((1, 3), dtype=torch.float64))
        scale = torch.diagonal(metric).rsqrt()
        assert float(torch.linalg.eigvalsh(metric * scale[:, None] * scale)[0]) > 0.99


@pytest.mark.parametrize(
    ("name", "content"), list(zip(TIERS, ("bddc35187d90", "b31f93857f38", "3cb42f513190"), strict=True))
)
def test_the_functions_that_models_were_made_with_are_what_they_were(name: str, content: str) -> None:
    """H, C, N, O, S as at commit 30fa0c7: labels and models name them by this hash."""
    assert basis_by_name(name, (1, 6, 7, 8, 16)).content_hash().startswith(content)


@pytest.mark.parametrize("name", TIERS)
@pytest.mark.parametrize("number", [11, 34])
def test_a_tier_without_an_element_names_a_basis_that_has_it(name: str, number: int) -> None:
    with pytest.raises(InputError, match=r"no functions for (Na|Se); it covers H B C .* Take 'def2-universal-jkfit'"):
        basis_by_name(name, [1, number])
    assert basis_by_name("def2-universal-jkfit", [1, number]).elements == (1, number)


def test_the_diffuse_functions_of_the_shipped_basis_follow_their_published_rule() -> None:
    """Each set was augmented by one exponent e1^2 / e2 (note in the file of PySCF, from Molpro)."""
    basis = basis_by_name("aug-cc-pVQZ-JKFIT")
    for z in (1, 6, 7, 8, 9, 16, 17):
        for degree in range(basis.max_l([z]) + 1):
            last = sorted(shell.exponents[0] for shell in basis.shells(z) if shell.l == degree)[:3]
            if len(last) == 3:
                assert last[0] == pytest.approx(last[1] ** 2 / last[2], rel=2e-4)


def test_even_tempered_sets() -> None:
    series = {"p": EvenTempered(0.2, 3.0, 2), "s": EvenTempered(0.1, 2.0, 3), 3: EvenTempered(1, 2, 1)}
    basis = even_tempered({1: series})
    shells = basis.shells(1)
    assert [(shell.l, shell.exponents[0]) for shell in shells] == [
        (0, pytest.approx(0.4)),
        (0, pytest.approx(0.2)),
        (0, pytest.approx(0.1)),
        (1, pytest.approx(0.6)),
        (1, pytest.approx(0.2)),
        (3, 1.0),
    ]
    assert GaussianBasis.from_dict(basis.to_dict()).content_hash() == basis.content_hash()


@pytest.mark.parametrize("key", ["k", "sp", "", "S"])
def test_what_is_no_angular_momentum_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="Unknown angular momentum"):
        even_tempered({1: {key: EvenTempered(0.1, 2.0, 1)}})


@pytest.mark.parametrize("values", [(0.0, 2.0, 1), (0.1, 1.0, 1), (0.1, 2.0, 0)])
def test_impossible_series_are_refused(values: tuple[float, float, int]) -> None:
    with pytest.raises(InputError, match="even-tempered"):
        EvenTempered(*values)


def test_an_element_without_series_is_refused() -> None:
    with pytest.raises(InputError, match="no shell for H"):
        even_tempered({1: {}})
