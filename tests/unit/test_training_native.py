"""Training by native code against the networks themselves: losses, gradients, and what stays out of it."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from densnet_gaunt.backbone import GauntBackbone
from densnet_gaunt.config import GauntOptions
from torch import nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.graphs.neighbours import most_neighbours, table_of
from densnet_core.models.backbone import cast_parameters
from densnet_core.models.config import DensityModelOptions
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.shared_energy import SharedEnergyModel
from densnet_core.training.density import DensityObjective
from densnet_core.training.joint import JointObjective
from densnet_core.training.loop import TrainingLoop
from densnet_core.training.native import NativeOutputs, wants_native
from densnet_core.training.plan import joint_objectives
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.terms import wanted_objectives

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import teacher_frames

Objective = JointObjective | DensityObjective


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENSNET_CACHE", str(tmp_path_factory.getbasetemp() / "native-cache"))
    monkeypatch.delenv("DENSNET_COMPILE", raising=False)


def models(response: bool = False) -> tuple[EquivariantDensityModel, SharedEnergyModel]:
    """Small ones, for the sake of the compiler."""
    options = GauntOptions(
        channels=4, product_channels=4, layers=1, l_max=1, l_max_edge=2, radial_functions=4, radial_width=6
    )
    torch.manual_seed(3)
    known = example.specification()
    own = DensityModelOptions(response=response)
    density = EquivariantDensityModel(known, own, lambda shape: GauntBackbone(shape, options))
    energy = SharedEnergyModel(known, n_invariants=density.n_invariants)
    energy.energy_scale.fill_(0.02)
    for module in (density, energy):
        cast_parameters(module, torch.float64)
    return density, energy


def lone_atoms() -> Dataset:
    number = example.BASIS.n_functions(example.CARBON.numbers)
    labels = [np.random.default_rng(seed).normal(scale=0.1, size=number) for seed in range(3)]
    shifted = [example.CARBON.with_positions(example.CARBON.positions + seed) for seed in range(3)]
    return Dataset(shifted, {"density": labels, "dipole": [np.zeros(3)] * 3})


def joint(frames: Dataset, native: bool) -> JointObjective:
    return JointObjective(*models(), frames, joint_objectives({}), 4, 5, native=native)


def of_density(frames: Dataset, native: bool) -> DensityObjective:
    return DensityObjective(models()[0], frames, wanted_objectives("density", {}), 4, 5, native=native)


def step(objective: Objective, number: int) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and the gradient of every parameter."""
    objective.module.zero_grad(set_to_none=True)
    loss, _ = objective.step(number)
    loss.backward()  # type: ignore[no-untyped-call]
    named = objective.module.named_parameters()
    return loss.item(), {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}


def same_steps(fast: Objective, slow: Objective, number: int, of_largest: float = 1e-10) -> float:
    """Asserts that a loss and all its gradients are equal, to a part of the largest in a parameter; the loss."""
    (loss, slopes), (expected, wanted) = step(fast, number), step(slow, number)
    assert loss == pytest.approx(expected, rel=1e-10)
    for name, slope in wanted.items():
        assert torch.allclose(slopes[name], slope, rtol=1e-7, atol=1e-10 + of_largest * float(slope.abs().max())), name
    assert max(float(slope.abs().max()) for slope in wanted.values()) > 1e-3
    return loss


def compiled(objective: Objective) -> int:
    trained = objective._trained
    assert isinstance(trained, NativeOutputs)
    return trained.n_compiled


def test_losses_and_gradients_are_those_of_the_networks() -> None:
    """Of both networks together, on molecules of two kinds, while parameters change as they do in training."""
    frames = teacher_frames()
    frames = frames.subset([i for i in range(len(frames)) if frames.structures[i].charge == 0])
    fast, slow = joint(frames, True), joint(frames, False)
    losses = []
    for number in range(3):
        losses.append(same_steps(fast, slow, number))
        with torch.no_grad():
            for one in (fast, slow):
                for parameter in one.module.parameters():
                    parameter.mul_(1.1)
    assert compiled(fast) == 2
    assert len({round(loss, 6) for loss in losses}) == 3


def test_other_terms_have_other_code() -> None:
    """As those of a second stage, which may need other outputs: with responses to a field, then densities alone."""
    frames = teacher_frames(False)
    sizes = [example.BASIS.n_functions(one.numbers) for one in frames.structures]
    random = np.random.default_rng(6)
    labels = {
        "density_response": [random.normal(scale=0.1, size=(3, size)) for size in sizes],
        "polarizability": [np.eye(3) * random.normal() for _ in sizes],
    }
    data = Dataset(frames.structures, {**frames.labels, **labels})
    fast, slow = (
        DensityObjective(models(True)[0], data, wanted_objectives("density", {}), 4, 5, native=native)
        for native in (True, False)
    )
    assert {term.objective.name for term in fast.terms} >= {"density_response", "polarizability"}
    same_steps(fast, slow, 0)
    assert float(step(slow, 0)[1]["response.head"].abs().max()) > 1e-3
    assert compiled(fast) == 1
    for one in (fast, slow):
        one.want(wanted_objectives("density", {"density_response": 0.0, "polarizability": 0.0}))
    assert not {term.objective.name for term in fast.terms} & {"density_response", "polarizability"}
    same_steps(fast, slow, 1)
    assert compiled(fast) == 1


class _Noisy(nn.Module):
    """A function of positions with what is in the way of code."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.what = what
        self.seen: torch.Tensor
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    def outputs(self, graph: Graph) -> dict[str, torch.Tensor]:
        found = graph.positions * self.weight
        if self.what == "dropout":
            found = nn.functional.dropout(found, 0.5, training=True)
        if self.what == "buffer":
            self.seen.add_(1.0)
        if self.what == "decision" and float(graph.positions[0, 0]) > 100.0:
            found = 2.0 * found
        if self.what == "hidden pairs":
            pairs = torch.as_tensor(graph.senders.numpy().copy())
            found = found + graph.positions.index_select(0, pairs).sum()
        return {"energy": graph.sum_over_molecules(found.sum(1))}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("dropout", "random numbers"),
        ("buffer", "seen changes while it trains"),
        ("decision", "decision that depends on positions"),
        ("hidden pairs", "differs"),
        ("nothing", ""),
    ],
)
def test_what_cannot_be_compiled_is_called_and_said(what: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """And neither random numbers nor buffers are other than without the attempt."""
    graph = graph_of([example.FORMALDEHYDE])
    graph = table_of(graph, most_neighbours(graph))
    module, plain = _Noisy(what), _Noisy(what)
    native = NativeOutputs(module, module.outputs)
    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING):
        found = [native([graph])["energy"] for _ in range(2)]
    torch.manual_seed(1)
    expected = [plain.outputs(graph)["energy"] for _ in range(2)]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    assert float(module.seen) == float(plain.seen)
    assert native.n_compiled == (0 if why else 1)
    assert (why in caplog.text) if why else not caplog.records


def test_a_batch_with_a_molecule_without_code_is_one_call_of_the_networks(caplog: pytest.LogCaptureFixture) -> None:
    """As one with an isolated atom, which has no neighbours: the numbers are the same."""
    frames = Dataset.joined([teacher_frames(False).subset([0, 1, 2]), lone_atoms()], None)
    fast, slow = of_density(frames, True), of_density(frames, False)
    for number in range(2):
        same_steps(fast, slow, number, of_largest=0.0)
    assert "no neighbours" in caplog.text


def test_more_kinds_than_have_code_are_refused_or_not_compiled() -> None:
    kinds = [example.WATER, example.FORMALDEHYDE, example.HYDROXIDE, example.HYDRONIUM, example.CARBON]
    many = [replace(kind, isotope_masses=kind.masses + extra) for kind in kinds for extra in (0.0, 1.0)]
    frames = Dataset(many, {})
    assert not wants_native("auto", frames, 4, 10**9, torch.device("cpu"))
    with pytest.raises(InputError, match="more than 8 kinds"):
        wants_native("always", frames, 4, 1, torch.device("cpu"))


def test_short_trainings_and_machines_without_a_compiler_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, cpu = teacher_frames(False), torch.device("cpu")
    assert not wants_native("auto", frames, 4, 100, cpu)
    assert wants_native("auto", frames, 4, 100_000, cpu)
    assert wants_native("always", frames, 4, 1, cpu)
    assert not wants_native("never", frames, 4, 100_000, cpu)
    assert not wants_native("auto", teacher_frames(True), 4, 50_000, cpu)  # three kinds share the steps
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert not wants_native("auto", frames, 4, 100_000, cpu)
    with pytest.raises(InputError, match=r"always.*apt-get install g\+\+"):
        wants_native("always", frames, 4, 1, cpu)


def test_a_table_has_the_pairs_of_the_graph_and_fills_its_rows_with_the_farthest() -> None:
    """A chain of atoms where the ends do not see each other."""
    structure = replace(
        example.FORMALDEHYDE, positions=example.FORMALDEHYDE.positions * 0.0 + torch.arange(4.0).numpy()[:, None] * 1.5
    )
    cutoff = 3.0
    graph = graph_of([structure, structure], cutoff)
    table = table_of(graph, 3)
    rows = table.senders.reshape(8, 3).tolist()
    for atom, row in enumerate(rows):
        near = [int(s) for s, r in zip(graph.senders, graph.receivers, strict=True) if int(r) == atom]
        assert sorted(row[: len(near)]) == sorted(near)
        for filler in row[len(near) :]:
            assert filler // 4 == atom // 4
            assert float((table.positions[filler] - table.positions[atom]).norm()) > cutoff
    assert table.receivers.tolist() == [atom for atom in range(8) for _ in range(3)]


def test_a_compiled_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    frames = teacher_frames(False)
    made: list[DensityObjective] = []

    def loop(folder: Path) -> TrainingLoop:
        objective = of_density(frames, True)
        made.append(objective)
        options = LoopOptions(6, 1e-2, checkpoint_every=3, validate_every=6)
        return TrainingLoop(
            "density", objective.module, objective.step, lambda: objective.metrics(frames), options, folder, "key"
        )

    whole, broken = loop(tmp_path / "whole"), loop(tmp_path / "broken")
    whole.run()

    def stop(number: int, _: object) -> None:
        if number == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.run(stop)
    again = loop(tmp_path / "broken")
    assert again.resume() == 3
    again.run()
    assert [compiled(objective) for objective in made] == [1, 1, 1]
    for (name, one), other in zip(whole.module.named_parameters(), again.module.parameters(), strict=True):
        assert torch.equal(one, other), name
