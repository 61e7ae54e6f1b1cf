"""Objectives and loop. The labels come from a teacher: networks of the same kind with other parameters."""

from __future__ import annotations

import csv
import sys
from functools import cache
from itertools import pairwise
from math import cos, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.datasets import references
from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.drawing import batches
from densnet_core.density.expansion import Expansion
from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.statistics import training_amplitudes
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.outputs import energy_outputs
from densnet_core.structures import Structure
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.loop import TrainingLoop
from densnet_core.training.schedule import LoopOptions, Schedule
from densnet_core.training.terms import Wanted, make_terms, total_loss, wanted_objectives
from densnet_core.units import AU_TO_DEBYE

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

SMALL = example.OPTIONS.model_copy(update={"layers": 1})


@cache
def teacher_frames(mixed: bool = True) -> Dataset:
    random = np.random.default_rng(2)
    teacher = example.make_models(seed=99, options=SMALL)
    kinds = [example.WATER, example.FORMALDEHYDE, example.HYDROXIDE] if mixed else [example.WATER]
    structures: list[Structure] = []
    for index in range(8):
        kind = kinds[index % len(kinds)]
        structures.append(kind.with_positions(kind.positions + random.normal(scale=0.1, size=kind.positions.shape)))
    coefficients, energies, forces, dipoles = [], [], [], []
    for structure in structures:
        graph = graph_of([structure])
        outputs, densities = energy_outputs(*teacher, graph)
        c, energy, force = densities["density"].coefficients, outputs["energy"], outputs["forces"]
        moment = -c @ MolecularBasis(example.BASIS, structure.numbers).dipoles(torch.tensor(structure.positions))
        coefficients.append(c.numpy())
        energies.append(np.array(float(energy)))
        forces.append(force.numpy())
        dipoles.append(moment.numpy())
    return Dataset(structures, {"density": coefficients, "energy": energies, "forces": forces, "dipole": dipoles})


def with_labels(frames: Dataset, **labels: list[np.ndarray]) -> Dataset:
    """The same frames with some labels replaced."""
    return Dataset(frames.structures, {**frames.labels, **labels})


def energies_of(frames: Dataset) -> np.ndarray:
    return np.array([float(frames.value("energy", i)) for i in range(len(frames))])


def objectives(frames: Dataset, seed: int = 99) -> tuple[DensityObjective, EnergyObjective]:
    density, energy = example.make_models(seed=seed, options=SMALL)
    return (
        DensityObjective(density, frames, wanted_objectives("density", {}), batch_size=4, seed=5),
        EnergyObjective(energy, density, frames, wanted_objectives("energy", {}), batch_size=4, seed=5),
    )


# --- frames, batches, integrals


def test_every_epoch_is_another_permutation() -> None:
    epochs = [np.concatenate([batches(12, 3, step, seed=1) for step in range(e * 4, e * 4 + 4)]) for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert not (epochs[0] == epochs[1]).all()
    assert not (epochs[1] == epochs[2]).all()


def test_a_batch_depends_on_step_and_seed_only() -> None:
    for step in (0, 7, 1000):
        assert (batches(10, 3, step, seed=4) == batches(10, 3, step, seed=4)).all()
    assert any((batches(10, 3, step, seed=4) != batches(10, 3, step, seed=5)).any() for step in range(3))


def test_batches_larger_than_the_data_are_all_the_data() -> None:
    assert sorted(batches(5, 64, 3, seed=0)) == [0, 1, 2, 3, 4]


def test_an_incomplete_batch_is_left_out_but_not_always_the_same_frames() -> None:
    seen = {int(i) for step in range(30) for i in batches(7, 3, step, seed=0)}
    assert seen == set(range(7))
    assert all(len(batches(7, 3, step, seed=0)) == 3 for step in range(30))


def test_frames_and_labels_must_match_in_number() -> None:
    frames = teacher_frames()
    with pytest.raises(InputError, match="8 frames and 7 values of 'density'"):
        with_labels(frames, density=list(frames.labels["density"])[:-1])
    with pytest.raises(InputError, match="no frame to learn from"):
        frames.subset([])
    part = frames.subset([3, 1])
    assert part.structures[1] is frames.structures[1]
    assert energies_of(part).tolist() == energies_of(frames)[[3, 1]].tolist()


@pytest.mark.parametrize("limit", [10**9, 3_000])
def test_metrics_of_mixed_compositions(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept or not, and whatever was asked for before."""
    monkeypatch.setattr(references, "METRIC_CACHE_BYTES", limit)
    frames = teacher_frames()
    known = with_labels(frames).references(example.specification())
    for index in (0, 1, 2, 3, 1, 0):
        structure = frames.structures[index]
        functions = MolecularBasis(example.BASIS, structure.numbers)
        expected = two_center("coulomb", functions, torch.tensor(structure.positions))
        torch.testing.assert_close(known.metric_matrix(index), expected, rtol=0, atol=1e-13)
        assert known.functions(index).numbers.tolist() == structure.numbers.tolist()


# --- objectives


@pytest.mark.parametrize("indices", [[0, 3, 6], [1, 0, 2, 4]], ids=["one composition", "mixed"])
def test_density_errors_are_norms_in_the_metric(indices: list[int]) -> None:
    frames = teacher_frames()
    objective, _ = objectives(frames, seed=7)
    graph = frames.graph(indices)
    with torch.no_grad():
        outputs = objective._outputs(graph)
        found = {term.objective.name: term.loss.errors(outputs, frames, indices) for term in objective.terms}
    for place, index in enumerate(indices):
        structure = frames.structures[index]
        functions = MolecularBasis(example.BASIS, structure.numbers)
        positions = torch.tensor(structure.positions)
        with torch.no_grad():
            own = objective.model(graph_of([structure]))["density"].coefficients
        error = own - torch.tensor(frames.value("density", index))
        expected = error @ two_center("coulomb", functions, positions) @ error
        assert float(found["density"][place]) == pytest.approx(float(expected), rel=1e-10)
        moment = error @ functions.dipoles(positions)
        assert float(found["dipole"][place]) == pytest.approx(float(moment @ moment), rel=1e-9)


def test_the_teacher_makes_no_error() -> None:
    density, energy = objectives(teacher_frames())
    for step in range(3):
        assert float(density.step(step)[0].detach()) < 1e-20
        assert float(energy.step(step)[0].detach()) < 1e-16
    assert density.metrics(density.dataset)["dipole_rms_debye"] < 1e-8
    assert energy.metrics(energy.dataset)["force_rms_mev_per_angstrom"] < 1e-6
    assert energy.metrics(energy.dataset)["energy_mae_mev_per_atom"] < 1e-6


def test_a_loss_of_one_is_a_model_that_knows_what_is_usual_for_each_element() -> None:
    """The unit of the density term, where atoms do not overlap: right directions, usual sizes."""
    random = np.random.default_rng(5)
    atoms = [Structure(np.array([z]), np.zeros((1, 3)), -1 if z == 1 else 0) for z in (8, 1) * 6]
    functions = {z: MolecularBasis(example.BASIS, [z]) for z in (1, 8)}
    labels = [random.normal(size=functions[int(s.numbers[0])].n_functions) for s in atoms]
    frames = Dataset(atoms, {"density": labels})
    objective = DensityObjective(objectives(teacher_frames())[0].model, frames, wanted_objectives("density", {}), 4, 5)
    layout = objective.model.layout
    [(species, amplitudes)] = training_amplitudes(frames, objective.model.specification, layout)
    usual = amplitudes.clone()
    for index in set(species.tolist()):
        own = species == index
        usual[0, own] = amplitudes[0, own].mean(0)
        for l_ in range(1, layout.l_max + 1):
            rows = amplitudes[l_**2 : (l_ + 1) ** 2, own]
            lengths = rows.norm(dim=0).clamp(min=1e-30)
            usual[l_**2 : (l_ + 1) ** 2, own] = rows / lengths * lengths.mean(0)
    whole = layout.coefficients(usual, species, layout.flat_places(species))

    class Usual(nn.Module):
        specification, cutoff, densities = objective.model.specification, None, frozenset({"density"})
        truncates = False

        def forward(self, graph: Graph) -> dict[str, Expansion]:
            assert graph.n_molecules == len(atoms)
            return {"density": Expansion(whole)}

    objective.model = Usual()  # type: ignore[assignment]
    assert objective.metrics(frames)["density_rms_error_relative"] == pytest.approx(1.0, rel=1e-10)


def test_energies_are_measured_per_atom_and_forces_per_component() -> None:
    frames = teacher_frames()
    atoms = np.array([s.n_atoms for s in frames.structures])
    shifted = with_labels(
        frames,
        energy=list(energies_of(frames) + 1e-3 * atoms),
        forces=[frames.value("forces", i) + 2e-3 for i in range(len(frames))],
    )
    _, energy = objectives(shifted)
    metrics = energy.metrics(shifted)
    assert metrics["energy_mae_mev_per_atom"] == pytest.approx(27.211386, rel=1e-6)
    assert metrics["energy_rms_mev_per_atom"] == pytest.approx(27.211386, rel=1e-6)
    assert metrics["force_rms_mev_per_angstrom"] == pytest.approx(2 * 51.4220675, rel=1e-6)


def test_energies_of_atoms_and_states_come_from_several_compositions() -> None:
    oxygen = Structure(np.array([8]), np.zeros((1, 3)))
    structures = [example.WATER, example.CARBON, oxygen, example.HYDROXIDE]
    known, ion = {1: -0.6, 6: -38.0, 8: -75.2}, -0.07
    additive = [np.array(sum(known[int(z)] for z in s.numbers) + ion * (s.charge == -1)) for s in structures]
    density, energy = example.make_models(options=SMALL)
    energy.fit_statistics(Dataset(structures, {"energy": additive}), density)
    np.testing.assert_allclose(energy.atomic_energies.numpy(), list(known.values()), rtol=1e-10)
    states = energy.specification.states
    assert energy.state_energies[states.index((-1, 1))] == pytest.approx(ion, rel=1e-9)
    assert float(energy.state_energies.abs().sum()) == pytest.approx(-ion, rel=1e-9)


def test_one_composition_gives_atoms_that_add_up_to_the_mean() -> None:
    frames = teacher_frames(mixed=False)
    density, energy = example.make_models(options=SMALL)
    energy.fit_statistics(frames, density)
    hydrogen, carbon, oxygen = energy.atomic_energies.tolist()
    assert 2 * hydrogen + oxygen == pytest.approx(energies_of(frames).mean(), rel=1e-12)
    assert carbon == 0.0


def test_statistics_are_those_of_the_amplitudes() -> None:
    frames = teacher_frames()
    density, _ = example.make_models(seed=1, options=SMALL)
    density.fit_statistics(frames)
    layout = density.layout
    oxygen = layout.elements.index(8)
    amplitudes = []
    for structure, coefficients in zip(frames.structures, frames.labels["density"], strict=True):
        species = layout.species(torch.tensor(structure.numbers))
        rows = layout.amplitudes(torch.tensor(coefficients), species, layout.flat_places(species))
        amplitudes.append(rows[:, species == oxygen])
    of_oxygen = torch.cat(amplitudes, dim=1)
    torch.testing.assert_close(density.offset[oxygen], of_oxygen[0].mean(0))
    spread = of_oxygen[1:4].pow(2).mean((0, 1)).sqrt() * layout.present[oxygen, 1]
    torch.testing.assert_close(density.scale[oxygen, 1], spread, rtol=0, atol=0.05 * float(spread.max()) + 1e-12)
    assert (density.scale[layout.present == 0] == 0).all()


def test_coefficients_of_another_basis_are_refused() -> None:
    frames = teacher_frames()
    other = with_labels(frames, density=[c[:-2] for c in frames.labels["density"]])
    with pytest.raises(InputError, match=r"Frame 0 has \d+ fitted coefficients.*fit the frames in the basis that"):
        objectives(other)


def test_training_on_energies_leaves_the_density_alone() -> None:
    _, energy = objectives(teacher_frames(), seed=3)
    before = [p.clone() for p in energy.density.parameters()]
    energy.step(0)[0].backward()
    assert all(p.grad is None for p in energy.density.parameters())
    assert all((p == q).all() for p, q in zip(before, energy.density.parameters(), strict=True))
    assert all(p.grad is not None for p in energy.model.parameters())


def test_the_gradient_of_the_force_loss_is_right() -> None:
    """Second derivatives through both networks, against differences in one parameter of every kind."""
    _, energy = objectives(teacher_frames(), seed=3)
    loss, _ = energy.step(0)
    loss.backward()
    step = 1e-5
    for name, parameter in energy.model.named_parameters():
        place = int(parameter.grad.abs().argmax()) if parameter.grad is not None else 0
        flat = parameter.data.view(-1)
        values = []
        for sign in (1, -1):
            flat[place] += sign * step
            values.append(float(energy.step(0)[0].detach()))
            flat[place] -= sign * step
        assert parameter.grad is not None
        expected = (values[0] - values[1]) / (2 * step)
        assert float(parameter.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-5, abs=1e-7), name


# --- invariance, missing labels


def moved(frames: Dataset, matrix: np.ndarray, shift: np.ndarray) -> Dataset:
    """A copy of a data set in which every molecule is turned and moved, its labels with it."""
    structures, labels = [], {name: [] for name in frames.labels}
    for index, structure in enumerate(frames.structures):
        structures.append(structure.with_positions(structure.positions @ matrix.T + shift))
        functions = MolecularBasis(example.BASIS, structure.numbers)
        labels["density"].append(turned_coefficients(functions, frames.value("density", index), matrix))
        labels["energy"].append(frames.value("energy", index))
        labels["forces"].append(frames.value("forces", index) @ matrix.T)
        labels["dipole"].append(matrix @ frames.value("dipole", index) + structure.charge * shift)
    return Dataset(structures, labels)


def turned_coefficients(functions: MolecularBasis, coefficients: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Coefficients of the turned density, from the values of the functions of each shell at turned points."""
    random, result = np.random.default_rng(0), np.empty_like(coefficients)
    points = random.normal(size=(40, 3))
    for group in functions.groups:
        shell = MolecularBasis(GaussianBasis("one", {1: [Shell(group.l, (0.7,), (1.0,))]}), [1])
        here = shell.evaluate(torch.zeros(1, 3, dtype=torch.float64), torch.tensor(points)).numpy()
        there = shell.evaluate(torch.zeros(1, 3, dtype=torch.float64), torch.tensor(points @ matrix.T)).numpy()
        wigner = np.linalg.lstsq(there, here, rcond=None)[0]  # here = there @ wigner
        for places in group.functions.numpy():
            result[places] = wigner @ coefficients[places]
    return result


@pytest.mark.parametrize("stage", ["density", "energy"])
def test_a_turned_and_moved_copy_of_the_data_gives_the_same_training_curve(stage: str) -> None:
    """Losses of ten steps of Adam, statistics and units included, for neutral and charged molecules."""
    frames = teacher_frames()
    matrix, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    copy = moved(frames, matrix, np.array([3.0, -20.0, 11.0]))
    curves = []
    for data in (frames, copy):
        density, energy = example.make_models(seed=3, options=SMALL)
        wanted = wanted_objectives(stage, {})
        objective: DensityObjective | EnergyObjective
        if stage == "density":
            objective = DensityObjective(density, data, wanted, 4, 5)
        else:
            objective = EnergyObjective(energy, density, data, wanted, 4, 5)
        objective.prepare()
        optimizer = torch.optim.Adam(objective.model.parameters(), lr=1e-3)
        losses = []
        for number in range(10):
            optimizer.zero_grad()
            loss, _ = objective.step(number)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-6)
    assert curves[0][-1] != curves[0][0]


def test_large_molecules_do_not_dominate_a_mixed_set() -> None:
    """Two copies of a molecule far apart, as one frame, have the loss of one of them."""
    water = example.WATER
    one = teacher_frames(mixed=False).subset([0])
    away = np.array([0.0, 0.0, 60.0])
    pair = Structure(
        np.tile(water.numbers, 2), np.concatenate([one.structures[0].positions + k * away for k in (0, 1)])
    )
    labels = {
        "density": [np.tile(one.value("density", 0), 2)],
        "energy": [2 * one.value("energy", 0)],
        "forces": [np.tile(one.value("forces", 0), (2, 1))],
        "dipole": [2 * one.value("dipole", 0)],
    }
    density, energy = objectives(one, seed=3)
    both = Dataset([pair], labels)
    outputs = density._outputs(both.graph([0], density.model.cutoff))
    for term in density.terms:
        alone = term.loss.errors(density._outputs(one.graph([0])), one, [0]) / term.loss.sizes(one, [0])
        doubled = term.loss.errors(outputs, both, [0]) / term.loss.sizes(both, [0])
        # two equal errors of vectors add up to twice one, where those of chance would give the root of two
        factor = 2.0 if term.objective.name == "dipole" else 1.0
        assert float(doubled) == pytest.approx(factor * float(alone), rel=1e-5), term.objective.name
    outputs = energy._outputs(both.graph([0], energy.model.cutoff))
    for term in energy.terms:
        alone = term.loss.errors(energy._outputs(one.graph([0])), one, [0])
        assert float(term.loss.errors(outputs, both, [0])) == pytest.approx(float(alone), rel=1e-9), term.objective.name


def test_a_frame_trains_on_the_labels_that_it_has() -> None:
    frames = teacher_frames()
    dipoles = [value if i % 2 else None for i, value in enumerate(frames.labels["dipole"])]
    partial = with_labels(frames, dipole=dipoles)  # type: ignore[arg-type]
    objective, _ = objectives(partial, seed=7)
    chosen = [0, 1, 3, 6]
    outputs = objective._outputs(partial.graph(chosen))
    loss, told = total_loss(objective.terms, outputs, partial, chosen, partial.graph(chosen))
    by_name = {term.objective.name: term for term in objective.terms}
    whole = objectives(frames, seed=7)[0]
    full = whole._outputs(frames.graph([1, 3]))
    expected = by_name["dipole"].loss.errors(full, frames, [1, 3])
    assert told["dipole_rms_debye"] == pytest.approx(float(expected.mean().sqrt()) * AU_TO_DEBYE, rel=1e-9)
    assert bool(torch.isfinite(loss))
    with pytest.raises(InputError, match="'forces' cannot be learned: there is no output"):
        make_terms([Wanted(get_manager().objectives("energy")["forces"], 1.0, True)], ["density"],
                   objective.model.specification, frames)  # fmt: skip
    with pytest.raises(InputError, match="There is nothing to learn"):
        objectives(Dataset(frames.structures, {"charges": [None] * len(frames)}))


def test_an_unknown_objective_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"training.density.weights: there is no objective 'dipol'.*dipole"):
        wanted_objectives("density", {"dipol": 1.0})
    assert "dipole" not in [one.objective.name for one in wanted_objectives("density", {"dipole": 0.0})]


# --- loop


class Interrupted(Exception):
    pass


def loop_of(folder: Path, steps: int = 40, key: str = "key", stop_at: int | None = None, **options) -> TrainingLoop:
    density, _ = example.make_models(seed=8, options=SMALL)
    objective = DensityObjective(density, teacher_frames(), wanted_objectives("density", {}), batch_size=4, seed=5)
    objective.prepare()

    def step(number: int) -> tuple[Tensor, dict[str, float]]:
        if number == stop_at:
            raise Interrupted
        return objective.step(number)

    settings = LoopOptions(steps, 5e-3, checkpoint_every=10, validate_every=10, **options)

    def validate() -> dict[str, float]:
        return objective.metrics(objective.dataset)

    return TrainingLoop("density", objective.model, step, validate, settings, folder, key)


def state(loop: TrainingLoop) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in loop.module.named_parameters()}


def test_training_reduces_the_loss(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, steps=80)
    losses: list[float] = []
    loop.run(lambda _, metrics: losses.append(metrics["loss"]))
    assert np.mean(losses[-8:]) < 0.2 * np.mean(losses[:8])
    with (tmp_path / "density.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(10, 81, 10))
    validation = [float(row["validation_density_rms_error_relative"]) for row in rows]
    assert validation[-1] < 0.5 * validation[0]
    assert list((tmp_path / "tensorboard" / "density").glob("events*"))


@pytest.mark.parametrize("stop_at", [3, 17, 20, 39])
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    whole = loop_of(tmp_path / "whole")
    assert whole.resume() == 0
    whole.run()
    broken = loop_of(tmp_path / "broken", stop_at=stop_at)
    with pytest.raises(Interrupted):
        broken.run()
    again = loop_of(tmp_path / "broken")
    assert again.resume() == stop_at // 10 * 10
    seen: list[int] = []
    again.run(lambda step, _: seen.append(step))
    assert seen == list(range(stop_at // 10 * 10 + 1, 41))
    for name, value in state(whole).items():
        assert (value == state(again)[name]).all(), name
    logs = [(tmp_path / kind / "density.csv").read_text() for kind in ("whole", "broken")]
    assert logs[0] == logs[1]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = loop_of(tmp_path, steps=10)
    first.run()
    second = loop_of(tmp_path, steps=10, stop_at=10)
    assert second.resume() == 10
    second.run()
    for name, value in state(first).items():
        assert (value == state(second)[name]).all()


def test_a_checkpoint_of_other_data_is_not_continued(tmp_path: Path) -> None:
    loop_of(tmp_path, steps=10, key="old").run()
    fresh = loop_of(tmp_path, steps=10, key="new")
    before = state(fresh)
    assert fresh.resume() == 0
    assert all((value == before[name]).all() for name, value in state(fresh).items())


def test_a_checkpoint_of_another_network_or_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    loop_of(tmp_path, steps=10).run()
    other = loop_of(tmp_path, steps=10)
    for replaced in (nn.Linear(2, 3), nn.Linear(1, 1)):
        with pytest.raises(DataError, match="does not fit the model"):
            TrainingLoop("density", replaced, other.step, dict, other.options, tmp_path, "key").resume()
    path = tmp_path / "density.checkpoint"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError):
        loop_of(tmp_path, steps=10).resume()


class Quadratic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(1, dtype=torch.float64))


def quadratic_loop(folder: Path, step=None, **options) -> tuple[Quadratic, TrainingLoop]:
    module = Quadratic()
    settings = LoopOptions(**{"steps": 100, "learning_rate": 0.05, **options})

    def own(number: int) -> tuple[Tensor, dict[str, float]]:
        loss = (module.x**2).sum()
        return loss, {"loss": loss.item()}

    take = own if step is None else (lambda number: step(module, number))
    return module, TrainingLoop("toy", module, take, dict, settings, folder, "k")


def test_the_result_is_the_moving_average_of_adam(tmp_path: Path) -> None:
    """Written out: Kingma and Ba, arXiv 1412.6980, algorithm 1, and an average with a short memory at first."""
    module, loop = quadratic_loop(tmp_path, ema_decay=0.9, gradient_clip=1e9)
    loop.run()
    x, average = np.array([3.0, -2.0]), np.array([3.0, -2.0])
    first, second = np.zeros(2), np.zeros(2)
    for t in range(100):
        rate = 0.05 * (t + 1) / 2 if t < 2 else 0.05 * (0.01 + 0.99 * 0.5 * (1 + cos(pi * (t - 2) / 98)))
        gradient = 2 * x
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        x = x - rate * (first / (1 - 0.9 ** (t + 1))) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        decay = min(0.9, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * x
    np.testing.assert_allclose(module.x.detach().numpy(), average, rtol=1e-10)
    assert not np.allclose(average, x, rtol=1e-3)
    assert float(module.unused.detach()) == 1.0


def test_validation_sees_the_average_and_training_goes_on_from_the_parameters(tmp_path: Path) -> None:
    module, loop = quadratic_loop(tmp_path, validate_every=5, steps=20)
    seen: list[Tensor] = []

    def validate() -> dict[str, float]:
        seen.append(module.x.detach().clone())
        return {}

    loop.validate = validate
    during: list[Tensor] = []
    loop.run(lambda *_: during.append(module.x.detach().clone()))
    assert len(seen) == 4
    assert all((average != parameters).all() for average, parameters in zip(seen, during[4::5], strict=True))
    torch.testing.assert_close(seen[-1], module.x.detach())


def test_gradients_are_clipped(tmp_path: Path) -> None:
    def steep(module: Quadratic, number: int) -> tuple[Tensor, dict[str, float]]:
        return 1e6 * (module.x**2).sum(), {}

    module, loop = quadratic_loop(tmp_path, steep, steps=1, gradient_clip=2.5)
    loop.run()
    assert module.x.grad is not None
    assert float(module.x.grad.norm()) == pytest.approx(2.5, rel=1e-6)


def test_a_module_without_trainable_parameters_is_refused(tmp_path: Path) -> None:
    """An energy objective freezes the density model that it reads."""
    with pytest.raises(InputError, match=r"nothing to train.*requires_grad_"):
        TrainingLoop("toy", Quadratic().requires_grad_(False), lambda _: None, dict, LoopOptions(1, 0.1), tmp_path, "k")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_with_advice(tmp_path: Path, value: float) -> None:
    def breaks(module: Quadratic, number: int) -> tuple[Tensor, dict[str, float]]:
        loss = (module.x**2).sum()
        return (loss * value if number == 7 else loss), {}

    module, loop = quadratic_loop(tmp_path, breaks, checkpoint_every=5)
    with pytest.raises(DenSNetError, match=r"toy loss became (nan|inf) at step 7.*learning_rate \(now 0.05\)"):
        loop.run()
    again, resumed = quadratic_loop(tmp_path, breaks)
    assert resumed.resume() == 5
    assert bool(torch.isfinite(again.x).all())
    assert bool(torch.isfinite(module.x).all())


def test_a_gradient_that_is_not_finite_never_reaches_the_parameters(tmp_path: Path) -> None:
    """The slope of sqrt at zero, of a loss that is finite: caught before a checkpoint can keep it."""

    def breaks(module: Quadratic, number: int) -> tuple[Tensor, dict[str, float]]:
        return torch.sqrt((module.x * 0.0).sum()) if number == 4 else (module.x**2).sum(), {}

    module, loop = quadratic_loop(tmp_path, breaks, checkpoint_every=5)
    with pytest.raises(DenSNetError, match="gradient of the toy loss became nan at step 4"):
        loop.run()
    assert bool(torch.isfinite(module.x).all())
    assert not loop.checkpoint.exists()


def test_the_learning_rate_warms_up_and_falls() -> None:
    options = LoopOptions(steps=1000, learning_rate=0.01)
    rates = [Schedule(options).rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01 / 20)
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) in (19, 20)
    assert rates[-1] == pytest.approx(1e-4, rel=0.01)
    assert all(before >= after for before, after in pairwise(rates[20:]))
    assert Schedule(LoopOptions(steps=1, learning_rate=0.01)).rate(0) == pytest.approx(0.01)
