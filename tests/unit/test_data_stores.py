"""Several stores for one model: which frames are for what, and which stores belong together."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.config.schema import TrainingSection
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.merge import merge_stores
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure
from densnet_core.workflow.data_stores import (
    Source,
    check_levels,
    keep_split,
    parts_together,
    source_of,
    split_source,
)
from densnet_core.workflow.reporter import Reporter

sys.path.insert(0, str(Path(__file__).parent))
from store_examples import BASIS, LEVEL, coefficients, labelled


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def stored(path: Path, n_frames: int, first: int = 0) -> Path:
    """A store of some frames without a split."""
    with ReferenceStore.create(path, LEVEL, "pyscf", {}) as store:
        store.set_orbital_basis(BASIS)
        store.append([labelled(index) for index in range(first, first + n_frames)])
    return path


def source(name: str, frames: str, level: str = "PBE/def2-SVP", backend: str = "pyscf") -> Source:
    return Source(Path(name), LevelOfTheory.parse(level), backend, {}, [1], ((0, 1),), dict.fromkeys(frames, ""))


def test_no_frame_is_learned_that_any_store_holds_out_and_none_twice() -> None:
    one = {"train": ["a", "b"], "validation": ["c"], "test": ["d"], "held_out": ["d", "gone"]}
    two = {"train": ["d", "b", "e"], "validation": ["f", "a"], "test": ["g"], "held_out": ["g"]}
    told = Notes()
    parts = parts_together([source("one", "abcd"), source("two", "abdefg")], [one, two], told, {})
    assert parts[0] == {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    assert parts[1] == {"train": ["e"], "validation": ["f"], "test": ["g"]}
    assert [note.split(" are left")[0] for note in told.notes] == [
        "2 frames of two for train",
        "1 frames of two for validation",
    ]


def test_a_frame_that_two_stores_hold_out_counts_in_the_first() -> None:
    one = {"train": ["a"], "validation": ["b"], "test": ["c"], "held_out": ["c"]}
    two = {"train": ["d"], "validation": ["e"], "test": ["c", "f"], "held_out": ["c", "f"]}
    parts = parts_together([source("one", "abc"), source("two", "cdef")], [one, two], Notes(), {})
    assert [own["test"] for own in parts] == [["c"], ["f"]]


def test_twins_of_frames_that_another_store_holds_out_are_not_learned() -> None:
    one = {"train": ["a", "b"], "validation": ["c"], "test": ["d"], "held_out": ["d"]}
    two = {"train": ["e", "f"], "validation": ["h"], "test": ["g"], "held_out": ["g"]}
    twins = {content: frozenset({"b", "g"}) for content in "bg"} | {content: frozenset({"d", "h"}) for content in "dh"}
    told = Notes()
    parts = parts_together([source("one", "abcd"), source("two", "efgh")], [one, two], told, twins)
    assert [own["train"] for own in parts] == [["a"], ["e", "f"]]
    assert [own["validation"] for own in parts] == [["c"], []]
    assert ["twins of frames that are held out" in note for note in told.notes] == [True, True]


def test_programs_may_differ_and_levels_may_not() -> None:
    first = source("a", "a", "PBE-D4/aug-cc-pVDZ")
    check_levels([first, source("b", "b", "pbe-D4/AUG-CC-PVDZ", "psi4")])
    for other in ("PBE/aug-cc-pVDZ", "PBE0-D4/aug-cc-pVDZ", "PBE-D4/cc-pVDZ"):
        with pytest.raises(InputError, match="no model here takes the level as an input"):
            check_levels([first, source("b", "b", other)])


@pytest.mark.parametrize(("n_frames", "sizes"), [(3, (1, 1, 1)), (8, (6, 1, 1)), (30, (23, 3, 3))])
def test_small_stores_hold_frames_out_in_proportion(tmp_path: Path, n_frames: int, sizes: tuple[int, int, int]) -> None:
    """Two of thirty are twins to within the tolerance, and one of these is left out."""
    held = source_of(stored(tmp_path / "s.zarr", n_frames))
    assert (held.elements, held.states, len(held.frames)) == ([1], ((0, 1),), n_frames)
    split = split_source(held, TrainingSection(), Notes())
    assert tuple(len(split[part]) for part in ("train", "validation", "test")) == sizes
    # kept in the store, whatever the configuration says later
    keep_split(held, split)
    assert split_source(held, TrainingSection(train=1, validation=1, test=1, seed=9), Notes()) == split


def test_a_fit_has_gaps_for_frames_without_a_density(tmp_path: Path) -> None:
    path = stored(tmp_path / "s.zarr", 3)
    with ReferenceStore.open(path, writable=True) as store:
        fit = store.create_fit("gaps", BASIS, "overlap", {}, ())
        fit.append([coefficients(0), np.zeros(0), coefficients(2)])
        assert (len(fit), fit.gaps, fit.has(2), fit.has(3)) == (3, [1], True, False)
        with pytest.raises(InputError, match="Frame 1 has no density"):
            fit.coefficients(1)
    assert verify(path) == []
    other = stored(tmp_path / "o.zarr", 1, first=5)
    with ReferenceStore.open(other, writable=True) as store:
        store.create_fit("gaps", BASIS, "overlap", {}, ()).append([coefficients(5)])
    report = merge_stores(tmp_path / "m.zarr", [path, other])
    assert any("'gaps' is left out" in note and "1 frames without a density" in note for note in report.notes)


def test_joined_data_sets_lack_what_their_parts_lack() -> None:
    atom = Structure(np.array([1]), np.zeros((1, 3)), multiplicity=2)
    helium = Structure(np.array([2]), np.zeros((1, 3)))
    one, two = Dataset([atom], {"energy": [np.array(-0.5)]}), Dataset([helium], {"dipole": [np.zeros(3)]})
    both = Dataset.joined([one, two])
    assert (both.elements, both.states) == ((1, 2), ((0, 1), (0, 2)))
    assert (both.having("energy"), both.having("dipole")) == ([0], [1])


def test_joined_data_sets_keep_the_energies_of_atoms_and_refuse_two_for_one_element() -> None:
    atom = Structure(np.array([1]), np.zeros((1, 3)), multiplicity=2)
    tables = [{1: -0.4982}, {}, {8: -74.78, 1: -0.4982 + 1e-8}]
    parts = [Dataset([atom], {"energy": [np.array(-0.5)]}, table) for table in tables]
    assert Dataset.joined(parts).atomic_energies == {1: -0.4982, 8: -74.78}
    other = Dataset([atom], {}, {8: -74.79})
    with pytest.raises(InputError, match=r"different energies of an isolated O atom, -74\.780000 and -74\.790000"):
        Dataset.joined([*parts, other])


def test_the_difference_of_atoms_is_the_integral_of_its_magnitude() -> None:
    """Two normal distributions: integral |rho - rho'| of widths s and 2s is found by radial quadrature in SciPy."""
    from scipy.integrate import quad

    def prior(exponent: float) -> AtomicPrior:
        return AtomicPrior(GaussianBasis("p", {2: [Shell(0, (exponent,), (1.0,))]}))

    def density(exponent: float, r: float) -> float:
        return float(2 * (exponent / np.pi) ** 1.5 * np.exp(-exponent * r * r))

    expected = quad(lambda r: 4 * np.pi * r * r * abs(density(1.0, r) - density(0.25, r)), 0, 30, limit=400)[0] / 2
    assert prior(1.0).difference(prior(0.25)) == pytest.approx(expected, rel=1e-4)
    assert prior(1.0).difference(prior(1.0)) == 0.0
