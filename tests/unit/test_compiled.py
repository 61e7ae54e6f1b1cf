"""Native code of a flat graph: right at other geometries, kept, refused where it could be somebody else's."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.library import basis_by_name
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.plugins.component import Kind
from densnet_core.potentials import bound
from densnet_core.potentials import compiled as module
from densnet_core.potentials.bound import WORTH_COMPILING, BoundPotential
from densnet_core.potentials.choice import STANDARD
from densnet_core.potentials.compiled import cache_folder, compiled
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.trace import flatten
from densnet_core.testing.potentials import PairPotential

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_neighbours import chain

OUTPUTS = ("energy", "forces", "dipole", "coefficients")
SMALL = example.OPTIONS.model_copy(update={"layers": 1})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DENSNET_CACHE", str(tmp_path))
    monkeypatch.setenv("DENSNET_COMPILE", "always")
    return tmp_path


def flat(n_replicas: int) -> tuple[fx.GraphModule, Tensor]:
    model = example.make_densnet(torch.float32, SMALL)
    graph = graph_of([example.WATER] * n_replicas)

    def function(positions: Tensor) -> tuple[Tensor, ...]:
        found = model.evaluate(graph.with_positions(positions), OUTPUTS)
        return tuple(found[name] for name in OUTPUTS)

    noise = 0.1 * torch.randn(graph.positions.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return flatten(function, graph.positions + noise), graph.positions + noise


def cosine() -> tuple[fx.GraphModule, Tensor]:
    given = torch.linspace(0.0, 1.0, 12, dtype=torch.float64).reshape(4, 3)
    return flatten(lambda x: (torch.cos(x).sum(), x**2), given), given


@pytest.mark.parametrize("n_replicas", [1, 2])
def test_native_code_equals_the_networks_at_other_geometries(n_replicas: int, cache: Path) -> None:
    """One molecule too: sums over it are sums into one element, which Inductor reads too early."""
    graph, positions = flat(n_replicas)
    found = compiled(graph, positions)
    assert found.native, found.why
    for seed in range(3):
        noise = torch.randn(positions.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        moved = positions + 0.2 * noise
        with torch.no_grad():
            pairs = zip(found.function(moved), graph(moved), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=0, atol=3e-6 * max(1.0, float(other.abs().max()) / 50.0))


def test_it_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, given = cosine()
    assert compiled(graph, given).native

    def again(*arguments: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(module, "_build", again)
    found = compiled(*cosine())
    assert found.native, found.why
    torch.testing.assert_close(found.function(given)[1], given**2)
    other, _ = flatten(lambda x: (torch.cos(x).sum(), 2.0 * x**2), given), given
    assert "built again" in compiled(other, given).why
    assert {p.stat().st_mode & 0o077 for p in cache_folder().glob("*.pt2")} == {0}


def test_a_damaged_or_foreign_library_is_not_loaded(cache: Path) -> None:
    """It is built again: cut short; with another seal; and in a folder that others may write to."""
    graph, given = cosine()
    assert compiled(graph, given).native
    (library,) = cache_folder().glob("*.pt2")
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    assert compiled(graph, given).native
    assert len(library.read_bytes()) > len(whole) // 2
    folder = cache_folder()
    folder.chmod(0o777)
    try:
        found = compiled(graph, given)
        assert not found.native
        assert "chmod 700" in found.why
        torch.testing.assert_close(found.function(given)[1], given**2)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["compiled", "training"])
def test_a_folder_that_others_may_write_to_is_refused(name: str, cache: Path) -> None:
    (cache / name).mkdir()
    (cache / name).chmod(0o777)
    with pytest.raises(PermissionError, match="chmod 700"):
        cache_folder(name)


def test_code_that_differs_is_not_used(cache: Path) -> None:
    """A library of another function in its place, with a right seal."""
    graph, given = cosine()
    other = flatten(lambda x: (torch.cos(x).sum(), x**2 + 1e-6), given)
    for one in (other, graph):
        assert compiled(one, given).native
    first, second = sorted(cache_folder().glob("*.pt2"), key=os.path.getmtime)
    for suffix in (".pt2", ".sha256"):
        first.with_suffix(suffix).replace(second.with_suffix(suffix))
    found = compiled(graph, given)
    assert not found.native
    assert "differs" in found.why
    assert not second.exists()


def test_without_a_compiler_the_flat_graph_is_used_and_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    graph, given = cosine()
    found = compiled(graph, given)
    assert not found.native
    assert "apt-get install g++" in found.why
    torch.testing.assert_close(found.function(given)[1], given**2)


def test_a_bound_potential_is_compiled_where_many_calls_are_planned(cache: Path) -> None:
    bound = BoundPotential(example.make_densnet(torch.float32, SMALL), [example.WATER])
    positions = example.WATER.positions[None] + 0.05
    traced = bound.energy_and_forces(positions)
    bound.compile_for(WORTH_COMPILING // 33 - 1)
    assert not bound.native
    bound.compile_for(WORTH_COMPILING // 33 + 1)
    native = bound.energy_and_forces(positions)
    assert len(list(cache_folder().glob("*.pt2"))) == 1
    for one, other in zip(native, traced, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-6)


def test_many_replicas_are_called_in_parts(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one size, so one library serves them; the outputs of all are those of the networks, in their order."""
    monkeypatch.setattr(bound, "MOST_AT_ONCE", 7)
    monkeypatch.setattr(bound, "FEWEST_AT_ONCE", 3)
    model = example.make_densnet(torch.float32, SMALL)
    made = BoundPotential(model, [example.WATER] * 4, native=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=made.shape)
    positions = example.WATER.positions + noise
    found = made.evaluate(positions, OUTPUTS)
    expected = model.evaluate(
        graph_of([example.WATER] * 4).with_positions(torch.tensor(positions.reshape(-1, 3))), OUTPUTS
    )
    for name in OUTPUTS:
        assert found[name].shape == tuple(expected[name].shape)
        np.testing.assert_allclose(found[name], expected[name].numpy(), rtol=1e-4, atol=2e-6)
    assert len(list(cache.rglob("*.pt2"))) == 1
    assert np.abs(found["forces"][:6] - found["forces"][6:]).max() > 1e-4


@pytest.mark.parametrize(
    ("replicas", "atoms", "at_once"),
    [(64, 9, 32), (61, 9, 61), (50, 9, 25), (100, 3, 50), (8, 9, 8), (4, 86, 2), (3, 400, 3)],
)
def test_parts_are_even_and_neither_small_nor_large(replicas: int, atoms: int, at_once: int) -> None:
    assert bound.replicas_at_once(replicas, atoms) == at_once


def test_large_molecules_are_compiled_once_as_pairs_change(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An alkane of 38 atoms that is stretched, against the networks with exactly the pairs within the cutoff."""
    structure = chain(12)
    specification = DensitySpecification(basis_by_name("densnet-s", [1, 6]), "coulomb", (1, 6))
    torch.manual_seed(0)
    density = STANDARD[0].build(Kind.DENSITY_MODEL, specification)[0]
    energy = STANDARD[1].build(Kind.ENERGY_MODEL, specification, density=density)[0]
    atoms = AtomicPrior(GaussianBasis("atoms", {z: [Shell(0, (0.5 * z,), (1.0,))] for z in (1, 6)}))
    model = DenSNet(density.double(), energy.double(), atoms, *STANDARD, {})
    bound, exact = (BoundPotential(model, [structure], native=native) for native in (True, False))
    outputs = ("energy", "forces", "dipole")
    assert not bound.neighbours.fixed
    for step in range(8):
        noise = 0.02 * np.sin(np.arange(structure.positions.size) + step).reshape(-1, 3)
        positions = structure.positions * [1.0 + 0.03 * step, 1.0, 1.0] + noise
        found, expected = (one.evaluate(positions[None], outputs) for one in (bound, exact))
        for name in outputs:
            largest = max(1.0, float(np.abs(expected[name]).max()))
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-9 * largest)
    assert bound.neighbours.searches > 1
    assert len(list(cache_folder().glob("*.pt2"))) == 1
    assert "not compiled" not in caplog.text


def test_a_molecule_that_becomes_denser_is_compiled_again(cache: Path) -> None:
    structure, potential = chain(12), PairPotential(cutoff=6.0)
    bound, exact = (BoundPotential(potential, [structure], native=native) for native in (True, False))
    for factor, builds in ((1.0, 1), (0.99, 1), (0.7, 2)):
        found, expected = (one.evaluate(factor * structure.positions[None], ("forces",)) for one in (bound, exact))
        np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=1e-9)
        assert len(list(cache_folder().glob("*.pt2"))) == builds


class Counting(PairPotential):
    """Reads in Python how many pairs there are, as a backbone may that sorts them."""

    def evaluate(self, graph: Graph, outputs: Collection[str]) -> dict[str, Tensor]:
        near = replace(graph, senders=torch.tensor(graph.senders.numpy()), width=None)
        return super().evaluate(near, outputs)


def test_what_reads_pairs_outside_of_torch_is_not_compiled(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    structure = chain(12)
    bound = BoundPotential(Counting(cutoff=6.0), [structure], native=True)
    exact = BoundPotential(PairPotential(cutoff=6.0), [structure])
    for step in range(6):
        positions = structure.positions[None] * (1.0 + 0.05 * step)
        found, expected = (one.evaluate(positions, ("energy", "forces")) for one in (bound, exact))
        np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=1e-9)
    assert "reads outside of torch" in caplog.text
