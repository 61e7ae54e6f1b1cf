"""Flat graphs give what the function gives, with fewer operators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from densnet_core.errors import InputError
from densnet_core.potentials.trace import flatten, n_operators

REPLICAS, ATOMS = 3, 5


class PairNetwork(nn.Module):
    """A small energy of pair distances with the ingredients of real ones: gathering, SiLU layers, scattering."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        first, second = torch.triu_indices(ATOMS, ATOMS, 1)
        self.register_buffer("first", first)
        self.register_buffer("second", second)
        self.register_buffer("centres", torch.linspace(1.0, 8.0, 8, dtype=dtype))
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 4))
        self.atomic = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 1))
        self.to(dtype)

    def forward(self, positions: Tensor) -> Tensor:
        distances = (positions[:, self.first] - positions[:, self.second]).square().sum(-1).sqrt()
        pairs = self.layers(torch.exp(-((distances.to(self.centres.dtype)[..., None] - self.centres) ** 2)))
        atoms = torch.zeros(*positions.shape[:2], 4, dtype=pairs.dtype).index_add(1, self.first, pairs)
        return self.atomic(atoms).sum((1, 2)).double()

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        positions = positions.detach().requires_grad_(True)
        energies = self(positions)
        (gradient,) = torch.autograd.grad(energies.sum(), positions)
        return energies.detach(), -gradient


def positions(seed: int) -> Tensor:
    return torch.rand(REPLICAS, ATOMS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 6.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_graph_gives_the_same_numbers_elsewhere(dtype: torch.dtype) -> None:
    network = PairNetwork(dtype)
    flat = flatten(network.energy_and_forces, positions(0))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for found, expected in zip(flat(positions(1)), network.energy_and_forces(positions(1)), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_a_flat_graph_has_neither_autograd_nor_constants_nor_slow_indexing() -> None:
    network = PairNetwork(torch.float64)
    flat = flatten(network.energy_and_forces, positions(0))
    names = {str(node.target) for node in flat.graph.nodes if node.op == "call_function"}
    assert "aten.silu_backward.default" in names
    assert not names & {"aten.detach.default", "aten.sigmoid.default", "aten.index.Tensor", "aten.index_put.default"}
    traced = make_fx(lambda x: network.energy_and_forces(x))(positions(0))
    assert n_operators(flat) < 0.65 * n_operators(traced)


def test_indices_that_depend_on_positions_are_kept() -> None:
    def sorted_first(x: Tensor) -> tuple[Tensor, ...]:
        return (x[:, x[0, :, 0].argsort()],)

    flat = flatten(sorted_first, positions(0))
    torch.testing.assert_close(flat(positions(1)), sorted_first(positions(1)))


def test_negative_indices_are_kept() -> None:
    def last_two(x: Tensor) -> tuple[Tensor, ...]:
        return (x[:, torch.tensor([-1, -2])],)

    torch.testing.assert_close(flatten(last_two, positions(0))(positions(1)), last_two(positions(1)))


def test_writing_in_place_is_made_pure() -> None:
    def scaled(x: Tensor) -> tuple[Tensor, ...]:
        out = torch.zeros_like(x)
        out += x
        out[:, 0] *= 2.0
        return (out, out.sum())

    flat = flatten(scaled, positions(0))
    for seed in (1, 2):  # a constant that a call changed would show at the second
        for found, expected in zip(flat(positions(seed)), scaled(positions(seed)), strict=True):
            torch.testing.assert_close(found, expected)


def test_random_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="eval mode"):
        flatten(lambda x: (torch.nn.functional.dropout(x, 0.5, training=True),), positions(0))
