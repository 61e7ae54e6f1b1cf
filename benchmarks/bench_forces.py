"""One call for energy and forces through both networks: eager, as a flat graph, and from the exported TorchScript file.

The file is loaded and frozen as openmm-torch does it. One thread; the graph is fixed, so its making is not timed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import head, interleave, structures, table
from networks import atoms, build, default_choices, water_config

from densnet_core.config import select
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.trace import n_operators
from densnet_core.units import BOHR_TO_NANOMETER
from densnet_core.workflow.learning import network_choices

REPLICAS = (1, 4, 16)
ROUNDS = 9


def rows_of(size: str, molecule: str, potential: BoundPotential, folder: Path) -> list[list[object]]:
    """Timings of the three ways, the same answer checked first."""
    noise = np.random.default_rng(0).normal(scale=0.05, size=potential.shape)
    positions = potential.structure.positions + noise
    bohr = torch.tensor(positions)
    nanometer = bohr.reshape(-1, 3) * BOHR_TO_NANOMETER
    potential.save_torchscript(folder / "potential.pt")
    script = torch.jit.freeze(torch.jit.load(str(folder / "potential.pt")).eval())

    def from_file() -> object:
        with torch.no_grad():
            return script(nanometer)

    _, eager_forces = potential.function(bohr)
    _, flat_forces = potential.energy_and_forces(positions)
    np.testing.assert_allclose(flat_forces, eager_forces.detach().numpy(), rtol=1e-3, atol=1e-4)
    sides = {
        "eager": lambda: potential.function(bohr),
        "flat graph": lambda: potential.energy_and_forces(positions),
        "TorchScript file": from_file,
    }
    timings = interleave(sides, ROUNDS, warm_up=3)
    count = potential.shape[0]
    result: list[list[object]] = []
    for name, timing in timings.items():
        median = 1e3 * timing.median
        ratio = timings["eager"].median / timing.median
        operators = n_operators(potential._flat) if name == "flat graph" else ""  # type: ignore[arg-type]
        result.append(
            [f"{size}, {molecule}, {name}", count, median, 1e3 * timing.minimum, median / count, ratio, operators]
        )
    return result


def main() -> None:
    torch.set_num_threads(1)
    head("densnet-gaunt", "densnet-e3nn", "e3nn", "torch")
    molecules = {"water": structures("water5")[0], "ethanol": structures("ethanol1")[0]}
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size, choices in {"example": network_choices(select(water_config())), "default": default_choices()}.items():
            for molecule, structure in molecules.items():
                model = DenSNet(*build(choices, structure.numbers), atoms(structure.numbers), *choices, {})
                for replicas in REPLICAS:
                    potential = BoundPotential(model, [structure] * replicas)
                    rows += rows_of(size, molecule, potential, Path(folder))
    columns = ["networks, molecule, way", "replicas", "median ms", "min ms", "ms per replica", "gain", "operators"]
    table(columns, rows)


if __name__ == "__main__":
    main()
