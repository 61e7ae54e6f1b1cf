"""Data sets whose frames stay in their store: the same numbers as in memory, and no more held than there is room."""

from __future__ import annotations

import gc
import pickle
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import SMALL, teacher_frames
from training_parallel import frames as partly_labelled
from training_parallel import short, train

from densnet_core.datasets import references, stored
from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.sequences import Joined, Missing, Selected
from densnet_core.datasets.stored import dataset_of
from densnet_core.errors import DataError, InputError
from densnet_core.models import statistics
from densnet_core.models.statistics import amplitude_statistics, amplitude_variation, charge_scale, reference_energies
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import partial_result
from densnet_core.stores.models import load_checkpoint
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.training import Plan
from densnet_core.training import batches as batches_module
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.linearised import LinearisedDensities, bytes_needed
from densnet_core.training.terms import wanted_objectives

LABELS = ("energy", "forces", "dipole", "density")


def store_of(path: Path, data: Dataset) -> None:
    """A store of the frames of a data set with their labels."""
    with ReferenceStore.create(path, LevelOfTheory("HF", "x"), "pyscf", {}) as store:
        for i, structure in enumerate(data.structures):
            given = {name: data.labels[name][i] for name in ("energy", "forces", "dipole")}
            found = {
                name: value if name != "energy" else float(value) for name, value in given.items() if value is not None
            }
            store.append([(structure, partial_result(found))])
        fit = store.create_fit("f", example.BASIS, "coulomb", {}, ())
        fit.append([data.value("density", i) if i != 4 else np.zeros(0) for i in range(len(data))])


def opened(path: Path, order: tuple[int, ...] | None = None) -> Dataset:
    with ReferenceStore.open(path) as store:
        hashes = [content.hex() for content in store.hashes]
        chosen = hashes if order is None else [hashes[i] for i in order]
        return dataset_of(store, chosen, LABELS, {"density": store.fit("f")})


def in_memory(data: Dataset) -> Dataset:
    return Dataset(list(data.structures), {name: list(values) for name, values in data.labels.items()})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "s.zarr"
    store_of(path, partly_labelled())
    return path


def density_of(data: Dataset, seed: int = 7) -> DensityObjective:
    density, _ = example.make_models(seed=seed, options=SMALL)
    return DensityObjective(density, data, wanted_objectives("density", {}), batch_size=3, seed=5)


# --- sequences


def test_parts_and_joins_of_sequences_behave_like_lists() -> None:
    values = ["a", None, "c", "d"]
    part = Selected(values, np.array([3, 1, 0]))
    assert (list(part), part[-1], list(part[1:]), len(part)) == (["d", None, "a"], "a", [None, "a"], 3)
    assert list(Selected(part, np.array([2, 0]))) == ["a", "d"]
    assert Selected(part, np.array([2, 0])).values is values
    both: Joined[Any] = Joined([part, Missing(2), ["z"]])
    assert list(both) == ["d", None, "a", None, None, "z"]
    assert [both.has(i) for i in range(6)] == [True, False, True, False, False, True]
    with pytest.raises(IndexError):
        both[6]


def test_frames_come_from_the_store_in_the_order_that_is_asked_for(path: Path) -> None:
    given, data = partly_labelled(), opened(path, (5, 4, 0))
    assert (len(data), data.having("density"), data.having("dipole")) == (3, [0, 2], [0, 2])
    for place, index in enumerate((5, 4, 0)):
        assert data.structures[place].content_hash() == given.structures[index].content_hash()
        assert np.array_equal(data.value("forces", place), given.value("forces", index))
        assert data.value("energy", place).shape == ()
    with pytest.raises(InputError, match="no label 'dipole'"):
        data.value("dipole", 1)
    sent = pickle.loads(pickle.dumps(data))  # noqa: S301 - as to the other processes of torchrun
    assert np.array_equal(sent.value("density", 2), given.value("density", 0))


# --- the same numbers


def test_a_training_from_the_store_is_that_from_memory_bit_by_bit(path: Path, tmp_path: Path) -> None:
    data = opened(path)
    for name, given in (("store", data), ("memory", in_memory(data))):
        train(tmp_path / name, data=given)
    for stage in ("density", "energy", "joint"):
        left, right = (load_checkpoint(tmp_path / name / f"{stage}.checkpoint")[0] for name in ("store", "memory"))
        assert all(torch.equal(value, right[name]) for name, value in left.items())


def test_the_batch_made_ahead_is_the_batch(path: Path) -> None:
    """Made in another thread, with its metric matrices; a step that is not the next is made where it is asked for."""
    objective, asked = density_of(opened(path)), []
    term = next(term for term in objective.terms if term.objective.name == "density")
    prepare = term.loss.prepare
    term.loss.prepare = lambda *given: (asked.append(threading.current_thread().name), prepare(*given))[1]  # type: ignore[method-assign, assignment, func-returns-value]
    losses = {number: objective.step(number)[0].item() for number in (0, 1, 2, 3, 9, 10, 3)}
    names = [name.partition("_")[0] for name in asked]
    assert names.count("MainThread") == 3  # steps 0, 9 and 3
    assert names.count("batches") >= 4
    for number, loss in losses.items():
        fresh = density_of(opened(path))
        made = fresh.batches.make(number)
        fresh.batches.of_step = lambda _, made=made: made  # type: ignore[method-assign, assignment, misc]
        assert fresh.step(number)[0].item() == loss
    batch = objective.batches.of_step(4)
    known = batch.dataset.references(objective.model.specification)
    assert {index for index, _ in known._metrics} == set(batch.dataset.having("density"))


def test_an_error_in_the_thread_is_that_of_its_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = density_of(opened(path))
    make = objective.batches.make

    def broken(number: int) -> Any:
        if number == 2:
            raise DataError("a disk is gone")
        return make(number)

    monkeypatch.setattr(objective.batches, "make", broken)
    for number in (0, 1):
        objective.step(number)
    with pytest.raises(DataError, match="a disk is gone"):
        objective.step(2)


def test_metrics_made_together_and_one_by_one_agree(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened(path)
    whole = data.references(example.specification())
    assert whole.n_kept == len(data)
    monkeypatch.setattr(references, "METRIC_CACHE_BYTES", 8 * sum(_functions(data, i) ** 2 for i in (0, 1)))
    some = opened(path).references(example.specification())
    assert some.n_kept == 2
    for indices in ([0, 3, 6], [1, 0, 2, 5, 2]):
        for one, other in zip(some.metric_matrices(indices), whole.metric_matrices(indices), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
    assert {index for index, _ in some._metrics} == {0, 1}


def _functions(data: Dataset, index: int) -> int:
    return example.BASIS.n_functions(data.structures[index].numbers)


@pytest.mark.parametrize("largest_factor", [1.0, 1.5])
def test_no_loss_depends_on_what_was_kept_before(path: Path, largest_factor: float, monkeypatch: Any) -> None:
    """As after a kill: the metrics that are kept in one process were never asked for in the other."""
    monkeypatch.setattr(references, "METRIC_CACHE_BYTES", 60_000)
    data = in_memory(opened(path))
    if largest_factor > 1.0:
        random, basis = np.random.default_rng(0), example.specification(largest_factor=largest_factor).label_basis
        labels = [random.normal(scale=0.02, size=basis.n_functions(s.numbers)) for s in data.structures]
        data = Dataset(data.structures, {**data.labels, "density": labels})
    found = []
    for before in (range(6), range(5, 6)):
        density, _ = example.make_models(seed=7, options=SMALL, largest_factor=largest_factor)
        objective = DensityObjective(
            density, Dataset(data.structures, data.labels), wanted_objectives("density", {}), batch_size=3, seed=5
        )
        found.append([objective.step(number)[0].item() for number in before][-1])
    assert found[0] == found[1]


def test_statistics_in_portions_are_those_of_all_atoms_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data, known = teacher_frames(), example.specification()
    density, _ = example.make_models(seed=1, options=SMALL)
    layout, found = density.layout, []
    for at_once in (1, 3, 64):
        monkeypatch.setattr(statistics, "FRAMES_AT_ONCE", at_once)
        portions = list(statistics.training_amplitudes(data, known, layout))
        assert len(portions) == -(-len(data) // at_once)
        values = *amplitude_statistics(layout, portions), amplitude_variation(layout, portions)
        found.append([*values, charge_scale(layout, portions)])
    for one in found[:2]:
        for value, expected in zip(one, found[2], strict=True):
            torch.testing.assert_close(torch.as_tensor(value), torch.as_tensor(expected), rtol=1e-11, atol=1e-14)
    species, amplitudes = portions[0]
    layers = [
        amplitudes[0],
        *(amplitudes[k**2 : (k + 1) ** 2].square().sum(0).sqrt() for k in range(1, layout.l_max + 1)),
    ]
    spread = sum(
        float((values[species == z] - values[species == z].mean(0)).square().sum())
        for values in layers
        for z in set(species.tolist())
    )
    assert found[2][2] == pytest.approx(spread / len(species), rel=1e-10)


def test_energies_of_elements_are_the_least_squares_over_all_frames() -> None:
    data, known = teacher_frames(), example.specification()
    rows = [[np.sum(s.numbers == z) for z in known.elements] + [s.charge == -1] for s in data.structures]
    energies = [float(data.value("energy", i)) for i in range(len(data))]
    expected, *_ = np.linalg.lstsq(np.array(rows, dtype=float), np.array(energies), rcond=1e-8)
    of_element, of_state = reference_energies(data, known.elements, known.states)
    np.testing.assert_allclose(of_element, expected[:3], rtol=1e-9)
    assert of_state[known.states.index((-1, 1))] == pytest.approx(expected[3], rel=1e-9)


# --- what is held


def structures_alive() -> int:
    gc.collect()
    return sum(type(one) is Structure for one in gc.get_objects())


def test_without_room_nothing_is_held_but_the_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "FRAME_CACHE_BYTES", 0)
    monkeypatch.setattr(references, "METRIC_CACHE_BYTES", 0)
    monkeypatch.setattr(batches_module, "GRAPH_CACHE_BYTES", 0)
    before = structures_alive()
    objective = density_of(opened(path))
    objective.prepare()
    for number in range(6):
        objective.step(number)
    objective.metrics(objective.dataset)
    known = objective.dataset.references(objective.model.specification)
    assert (len(known._metrics), len(objective.graphs._kept)) == (0, 0)
    assert structures_alive() - before <= objective.batches.batch_size  # those of the batch that was made ahead
    assert objective.dataset.having("density") == [0, 1, 2, 3, 5, 6, 7]


def test_what_is_kept_has_an_upper_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "FRAME_CACHE_BYTES", 5_000)
    monkeypatch.setattr(references, "METRIC_CACHE_BYTES", 60_000)
    monkeypatch.setattr(batches_module, "GRAPH_CACHE_BYTES", 20_000)
    objective = density_of(opened(path))
    for number in range(6):
        objective.step(number)
    data = objective.dataset
    frames, metrics = data.structures.frames, data.references(objective.model.specification)._metrics  # type: ignore[attr-defined]
    assert 2_000 < frames._kept.bytes <= 5_000
    assert 20_000 < sum(8 * matrix.numel() for matrix in metrics.values()) <= 60_000
    assert 5_000 < objective.graphs._kept.bytes <= 20_000
    data.release()
    assert not data._references


@pytest.mark.parametrize("largest_factor", [1.0, 1.5])
def test_linearised_densities_need_no_more_memory_than_was_said(largest_factor: float) -> None:
    density, energy = example.make_models(seed=3, options=SMALL, largest_factor=largest_factor)
    data = Dataset(teacher_frames().structures, {"energy": teacher_frames().labels["energy"]})
    objective = EnergyObjective(energy, density, data, wanted_objectives("energy", {}), 4, 5)
    held = LinearisedDensities(density, objective.graphs)
    tensors = [*held.positions]
    for frame in held._frames:
        for parts in frame.values():
            tensors += [t for part in parts if part is not None for t in (part.value, part.slope)]
    real = sum(t.numel() * t.element_size() for t in tensors)
    said = bytes_needed(density, data) - 500 * len(tensors)
    assert real <= said <= 1.3 * real + 500 * len(data)


# --- frames without labels, changed stores


def test_frames_without_a_label_of_the_stage_are_not_drawn(path: Path) -> None:
    """A batch of them alone would have nothing to learn from."""
    data = opened(path)
    data = Dataset(data.structures, {name: data.labels[name] for name in ("energy", "density")})
    objective = density_of(data)
    seen = {index for number in range(20) for index in objective.batches.make(number).indices}
    assert seen == {0, 1, 2, 3, 5, 6, 7}
    both = Dataset.joined([data.subset([0, 1]), data.subset([4]), data.subset([2, 3, 5, 6])], [1, 5, 1])
    weighed = [index for number in range(20) for index in density_of(both).batches.make(number).indices]
    assert [sum(i in own for i in weighed) for own in ({0, 1}, {2}, {3, 4, 5, 6})] == [30, 0, 30]


def test_weights_belong_to_the_parts_of_a_join() -> None:
    data = teacher_frames()
    parts = [data.subset([0, 1, 2]), data.subset([3])]
    joined = Dataset.joined(parts, [1.0, 2.0])
    part = joined.subset([3, 0])
    assert part.shares is not None
    assert part.shares.part.tolist() == [1, 0]
    assert part.shares.weights == (1.0, 2.0)
    assert Dataset.joined(parts).shares is None
    with pytest.raises(InputError, match="2 data sets and 1 weights"):
        Dataset.joined(parts, [1.0])
    with pytest.raises(InputError, match="weights of its own; join all parts in one call"):
        Dataset.joined([joined, data])


class Interrupted(Exception):
    pass


class StopsAt:
    """Hears of the progress of a training and ends it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def note(self, text: str) -> None:
        pass

    def task(self, description: str, total: int) -> Any:
        def advance(done: int, note: str) -> None:
            if "energy" in description and done == self.step:
                raise Interrupted

        return advance


def test_a_weighted_training_resumes_to_the_same_bits(path: Path, tmp_path: Path) -> None:
    def weighed() -> Dataset:
        every = opened(path)
        return Dataset.joined([every.subset([0, 1]), every.subset(range(2, 8))], [1, 1])

    plan = Plan([short(6)], [short(8)], batch_size=3, device="cpu", precision="float64")
    train(tmp_path / "whole", plan, weighed())
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", plan, weighed(), listener=StopsAt(5))
    train(tmp_path / "broken", plan, weighed())
    left, right = (load_checkpoint(tmp_path / name / "energy.checkpoint")[0] for name in ("whole", "broken"))
    assert all(torch.equal(value, right[name]) for name, value in left.items())
    plain = Dataset.joined([opened(path).subset([0, 1]), opened(path).subset(range(2, 8))])
    train(tmp_path / "broken", plan, plain)  # another training: nothing is resumed
    again = load_checkpoint(tmp_path / "broken" / "energy.checkpoint")[0]
    assert not all(torch.equal(value, again[name]) for name, value in left.items())


def test_a_store_that_was_changed_meanwhile_is_noticed(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "s.zarr")
    data = opened(tmp_path / "s.zarr")
    shutil.rmtree(tmp_path / "s.zarr")
    store_of(tmp_path / "s.zarr", partly_labelled().subset([1, 2, 3, 5, 4]))
    with pytest.raises(DataError, match="is another one than when the training began"):
        data.structures[0]


def test_a_label_that_is_gone_from_the_disk_is_an_error(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "s.zarr")
    data = opened(tmp_path / "s.zarr")
    for chunk in (tmp_path / "s.zarr" / "frames" / "forces" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    assert np.isfinite(data.value("energy", 0))
    with pytest.raises(DataError, match=r"The forces of frame 0 of .* cannot be read; 'densnet data verify'"):
        data.value("forces", 0)
