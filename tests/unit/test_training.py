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
from densnet_core.potentials.forces import energies_and_forces
from torch import Tensor, nn

from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.datasets.dataset import LabelledFrames, batches
from densnet_core.datasets.references import ReferenceDensities
from densnet_core.density.expansion import Expansion
from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.structures import Structure
from densnet_core.training import references
from densnet_core.training.density import DensityObjective
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.loop import LoopOptions, TrainingLoop

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

SMALL = example.OPTIONS.model_copy(update={"layers": 1})


@cache
def teacher_frames(mixed: bool = True) -> LabelledFrames:
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
        c = teacher[0](graph).coefficients.detach()
        energy, force = energies_and_forces(*teacher, graph)
        moment = -c @ MolecularBasis(example.BASIS, structure.numbers).dipoles(torch.tensor(structure.positions))
        coefficients.append(c.numpy())
        energies.append(float(energy))
        forces.append(force.numpy())
        dipoles.append(moment.numpy())
    return LabelledFrames(structures, coefficients, np.array(energies), forces, dipoles)


def objectives(frames: LabelledFrames, seed: int = 99) -> tuple[DensityObjective, EnergyObjective]:
    density, energy = example.make_models(seed=seed, options=SMALL)
    return (
        DensityObjective(density, frames, dipole_weight=1.0, batch_size=4, seed=5),
        EnergyObjective(energy, density, frames, force_weight=1.0, batch_size=4, seed=5),
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
    with pytest.raises(InputError, match="differ in number"):
        LabelledFrames(frames.structures, frames.coefficients[:-1], frames.energies, frames.forces, frames.dipoles)
    with pytest.raises(InputError, match="no frame to learn from"):
        frames.subset([])
    part = frames.subset([3, 1])
    assert part.structures[1] is frames.structures[1]
    assert part.energies.tolist() == frames.energies[[3, 1]].tolist()


@pytest.mark.parametrize("limit", [10**9, 3_000])
def test_metrics_of_mixed_compositions(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept or not, and whatever was asked for before."""
    monkeypatch.setattr(references, "METRIC_CACHE_BYTES", limit)
    frames = teacher_frames()
    known = ReferenceDensities(frames, example.specification())
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
    with torch.no_grad():
        norms, dipoles = objective.errors(indices)
    for place, index in enumerate(indices):
        structure = frames.structures[index]
        functions = MolecularBasis(example.BASIS, structure.numbers)
        positions = torch.tensor(structure.positions)
        with torch.no_grad():
            error = objective.model(graph_of([structure])).coefficients - torch.tensor(frames.coefficients[index])
        expected = error @ two_center("coulomb", functions, positions) @ error
        assert float(norms[place]) == pytest.approx(float(expected), rel=1e-10)
        moment = error @ functions.dipoles(positions)
        assert float(dipoles[place]) == pytest.approx(float(moment @ moment), rel=1e-9)


def test_the_teacher_makes_no_error() -> None:
    density, energy = objectives(teacher_frames())
    for step in range(3):
        assert float(density.step(step)[0].detach()) < 1e-20
        assert float(energy.step(step)[0].detach()) < 1e-16
    assert density.metrics()["dipole_rms_debye"] < 1e-8
    assert energy.metrics()["force_mae_mev_per_angstrom"] < 1e-6
    assert energy.metrics()["energy_mae_mev_per_atom"] < 1e-6


def test_a_loss_of_one_is_a_model_that_knows_the_mean_only() -> None:
    """The unit of the density term: for equal molecules, predicting the mean of the coefficients gives one."""
    frames = teacher_frames(mixed=False)
    objective, _ = objectives(frames)
    mean = torch.tensor(np.mean(frames.coefficients, axis=0))

    class MeanOnly(nn.Module):
        specification, cutoff = objective.model.specification, None

        def forward(self, graph: Graph) -> Expansion:
            return Expansion(mean.repeat(graph.n_molecules))

    objective.model = MeanOnly()  # type: ignore[assignment]
    assert objective.metrics()["density_rms_error_relative"] == pytest.approx(1.0, rel=1e-12)


def test_energies_are_measured_per_atom_and_forces_per_component() -> None:
    frames = teacher_frames()
    shifted = LabelledFrames(
        frames.structures,
        frames.coefficients,
        frames.energies + np.array([s.n_atoms * 1e-3 for s in frames.structures]),
        [f + 2e-3 for f in frames.forces],
        frames.dipoles,
    )
    _, energy = objectives(shifted)
    metrics = energy.metrics()
    assert metrics["energy_mae_mev_per_atom"] == pytest.approx(27.211386, rel=1e-6)
    assert metrics["force_mae_mev_per_angstrom"] == pytest.approx(2 * 51.4220675, rel=1e-6)


def test_energies_of_atoms_come_from_several_compositions() -> None:
    frames = teacher_frames()
    known = {1: -0.6, 6: -38.0, 8: -75.2}
    additive = np.array([sum(known[int(z)] for z in s.numbers) for s in frames.structures])
    density, energy = example.make_models(options=SMALL)
    labelled = LabelledFrames(frames.structures, frames.coefficients, additive, frames.forces, frames.dipoles)
    EnergyObjective(energy, density, labelled, 1.0, 4, 0).prepare()
    np.testing.assert_allclose(energy.atomic_energies.numpy(), list(known.values()), rtol=1e-10)


def test_one_composition_gives_atoms_that_add_up_to_the_mean() -> None:
    frames = teacher_frames(mixed=False)
    density, energy = example.make_models(options=SMALL)
    EnergyObjective(energy, density, frames, 1.0, 4, 0).prepare()
    hydrogen, carbon, oxygen = energy.atomic_energies.tolist()
    assert 2 * hydrogen + oxygen == pytest.approx(frames.energies.mean(), rel=1e-12)
    assert carbon == 0.0


def test_statistics_are_those_of_the_amplitudes() -> None:
    frames = teacher_frames()
    density, _ = example.make_models(seed=1, options=SMALL)
    DensityObjective(density, frames, 1.0, 4, 0).prepare()
    layout = density.layout
    oxygen = layout.elements.index(8)
    amplitudes = []
    for structure, coefficients in zip(frames.structures, frames.coefficients, strict=True):
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
    other = LabelledFrames(
        frames.structures, [c[:-2] for c in frames.coefficients], frames.energies, frames.forces, frames.dipoles
    )
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


# --- loop


class Interrupted(Exception):
    pass


def loop_of(folder: Path, steps: int = 40, key: str = "key", stop_at: int | None = None, **options) -> TrainingLoop:
    density, _ = example.make_models(seed=8, options=SMALL)
    objective = DensityObjective(density, teacher_frames(), dipole_weight=1.0, batch_size=4, seed=5)
    objective.prepare()

    def step(number: int) -> tuple[Tensor, dict[str, float]]:
        if number == stop_at:
            raise Interrupted
        return objective.step(number)

    settings = LoopOptions(steps, 5e-3, checkpoint_every=10, validate_every=10, **options)
    return TrainingLoop("density", objective.model, step, objective.metrics, settings, folder, key)


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
    rates = [options.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01 / 20)
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) in (19, 20)
    assert rates[-1] == pytest.approx(1e-4, rel=0.01)
    assert all(before >= after for before, after in pairwise(rates[20:]))
    assert LoopOptions(steps=1, learning_rate=0.01).rate(0) == pytest.approx(0.01)
