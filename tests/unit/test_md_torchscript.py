"""The TorchScript file of a potential: units, metadata, independence of densnet_core, refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from densnet_core.errors import DataError, InputError
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.torchscript import export_torchscript, read_metadata
from densnet_core.testing.md import shaken, velocity_verlet
from densnet_core.testing.potentials import ValencePotential

# CODATA 2018: bohr in nm, hartree in kJ/mol.
BOHR, HARTREE = 0.0529177210903, 2625.4996394799


def waters(n_replicas: int) -> BoundPotential:
    potential = ValencePotential.water()
    return BoundPotential(potential, [potential.structure] * n_replicas)


def distorted(bound: BoundPotential) -> np.ndarray:
    return velocity_verlet(bound.potential, bound.structures, shaken(bound.structures, 3000.0), 20.0, 5)[0][-1]


def test_the_file_gives_openmm_units(tmp_path: Path) -> None:
    bound = waters(3)
    bound.save_torchscript(tmp_path / "water.pt")
    positions = distorted(bound)
    energies, forces = bound.energy_and_forces(positions)
    energy, found = torch.jit.load(str(tmp_path / "water.pt"))(torch.from_numpy(positions.reshape(-1, 3) * BOHR))
    assert energy.ndim == 0
    assert energy.dtype == found.dtype == torch.float64
    assert energy.item() == pytest.approx(energies.sum() * HARTREE, rel=1e-12)
    np.testing.assert_allclose(found.numpy(), forces.reshape(-1, 3) * HARTREE / BOHR, rtol=1e-9, atol=1e-9)


def test_the_forces_in_the_file_are_the_gradient_of_its_energy(tmp_path: Path) -> None:
    bound = waters(2)
    bound.save_torchscript(tmp_path / "water.pt")
    script = torch.jit.load(str(tmp_path / "water.pt"))
    positions = torch.from_numpy(distorted(bound).reshape(-1, 3) * BOHR)
    forces = script(positions)[1]
    for atom, axis in ((0, 0), (1, 1), (4, 2), (5, 0)):
        shift = torch.zeros_like(positions)
        shift[atom, axis] = 1e-6
        slope = (script(positions + shift)[0] - script(positions - shift)[0]) / 2e-6
        assert forces[atom, axis].item() == pytest.approx(-slope.item(), rel=1e-5, abs=1e-4)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    light = waters(1).structure
    heavy = replace(light, isotope_masses=np.array([15.999, 2.014, 2.014])).with_positions(light.positions + 1.0)
    BoundPotential(ValencePotential.water(), [light, heavy, light]).save_torchscript(tmp_path / "water.pt")
    metadata = read_metadata(tmp_path / "water.pt")
    assert metadata["formula"] == "H2O"
    assert metadata["numbers"] == [8, 1, 1]
    assert metadata["masses_dalton"] == [15.999, 1.008, 1.008, 15.999, 2.014, 2.014, 15.999, 1.008, 1.008]
    assert metadata["positions_nanometer"][4] == pytest.approx([2.43 * BOHR, 2.11 * BOHR, BOHR])
    assert len(metadata["positions_nanometer"]) == 9
    assert (metadata["n_replicas"], metadata["n_atoms"]) == (3, 3)
    assert metadata["units"] == {"positions": "nanometer", "energy": "kJ/mol", "forces": "kJ/(mol nm)"}
    assert metadata["versions"]["torch"] == torch.__version__
    assert [path.name for path in tmp_path.iterdir()] == ["water.pt"]


def test_the_file_needs_torch_only(tmp_path: Path) -> None:
    bound = waters(2)
    bound.save_torchscript(tmp_path / "water.pt")
    np.save(tmp_path / "x.npy", distorted(bound).reshape(-1, 3) * BOHR)
    program = (
        "import sys; sys.modules['densnet_core'] = None\n"
        "import torch, numpy\n"
        "script = torch.jit.load('water.pt')\n"
        "for _ in range(3):\n"
        "    energy, forces = script(torch.from_numpy(numpy.load('x.npy')).requires_grad_(True))\n"
        "assert not energy.requires_grad and not forces.requires_grad\n"
        "print(repr(energy.item()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    expected = bound.energy_and_forces(distorted(bound))[0].sum() * HARTREE
    assert float(done.stdout) == pytest.approx(expected, rel=1e-12)


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(tmp_path / "other.pt"))
    for name in ("text.pt", "other.pt", "missing.pt"):
        with pytest.raises(DataError, match=name):
            read_metadata(tmp_path / name)


def springs(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Every atom bound to the origin."""
    return 0.5 * positions.square().sum((1, 2)), -positions


def test_without_an_example_the_trace_is_made_on_a_grid(tmp_path: Path) -> None:
    export_torchscript(springs, 2, 3, tmp_path / "springs.pt", {})
    energy, forces = torch.jit.load(str(tmp_path / "springs.pt"))(torch.full((6, 3), BOHR, dtype=torch.float64))
    assert energy.item() == pytest.approx(9.0 * HARTREE)
    np.testing.assert_allclose(forces, -HARTREE / BOHR)


def counted_neighbours(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Only atoms within a radius are bound; how many there are is a number that the trace keeps."""
    inside = (positions.square().sum(-1) < 0.004).nonzero()
    weights = torch.linspace(0.0, 1.0, len(inside), dtype=torch.float64)
    energy = (weights * positions[inside[:, 0], inside[:, 1]].square().sum(-1)).sum()
    return energy.expand(len(positions)), -positions


def wrong_type(positions: Tensor) -> tuple[Tensor, Tensor]:
    return springs(positions)[0].float(), -positions


def wrong_shape(positions: Tensor) -> tuple[Tensor, Tensor]:
    return springs(positions)[0].sum(), -positions


def not_finite(positions: Tensor) -> tuple[Tensor, Tensor]:
    return springs(positions)[0] * float("nan"), -positions


def branching(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Another energy where the first coordinate is on the other side of where it was traced."""
    stronger = 2.0 if bool(positions[0, 0, 0] > 0.0063) else 1.0
    return springs(positions)[0] * stronger, -positions * stronger


@pytest.mark.parametrize("function", [wrong_type, wrong_shape, not_finite, branching, counted_neighbours])
def test_what_a_file_cannot_hold_is_refused(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        export_torchscript(function, 2, 3, tmp_path / "bad.pt", {})
    assert not list(tmp_path.iterdir())
