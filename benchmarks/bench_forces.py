"""Energy, forces and dipole of ethanol in one call: eager, as a flat graph, native code, the exported TorchScript file.

    python benchmarks/bench_forces.py [--replicas 1 16 64] [--mace PYTHON]

The standard networks (gaunt, shared; 32 channels, densnet-m) with random parameters: what a call costs does not depend
on their values. One thread, float32. Native code is built first where it is not in the cache: half a minute a row.
``--mace`` is an interpreter that has mace-torch: MACE with 128x0e and with 128x0e + 128x1o, two layers, correlation 3,
cutoff 5 angstrom, eager, energy and forces in turns with ours, so that a load falls on both alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mace_process import Mace
from measuring import head, interleave, structures, table
from networks import atoms, build, default_choices

from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.units import BOHR_TO_ANGSTROM, BOHR_TO_NANOMETER

WITH_DIPOLE = ("energy", "forces", "dipole")
WITH_DENSITY = (*WITH_DIPOLE, "coefficients")
ROUNDS = 15


def mace(python: str, irreps: str, replicas: int) -> Mace:
    """Calls of one MACE model for batches of replicas."""
    structure = structures("ethanol1")[0]
    numbers = " ".join(map(str, structure.numbers))
    called = Mace(python, "mace_calls.py", irreps, str(replicas))
    called.ask(f"{numbers};{' '.join(map(str, (structure.positions * BOHR_TO_ANGSTROM).ravel()))}")
    return called


def sides_of(model: DenSNet, replicas: int, folder: Path) -> dict[str, Callable[[], object]]:
    """The ways of calling, the same answer checked first."""
    structure = structures("ethanol1")[0]
    traced, native = (BoundPotential(model, [structure] * replicas, native=native) for native in (False, True))
    positions = structure.positions + np.random.default_rng(0).normal(scale=0.05, size=traced.shape)
    graph = traced.neighbours.graph(positions.reshape(-1, 3))
    for names in (WITH_DIPOLE, WITH_DENSITY):
        one, other = traced.evaluate(positions, names), native.evaluate(positions, names)
        for name in names:
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-4 * np.abs(one[name]).max())
    traced.save_torchscript(folder / "potential.pt")
    script = torch.jit.freeze(torch.jit.load(str(folder / "potential.pt")).eval())
    nanometer = torch.tensor(positions).reshape(-1, 3) * BOHR_TO_NANOMETER

    def from_file() -> object:
        with torch.no_grad():
            return script(nanometer)

    return {
        "eager": lambda: model.evaluate(graph, WITH_DIPOLE),
        "flat graph": lambda: traced.evaluate(positions, WITH_DIPOLE),
        "native": lambda: native.evaluate(positions, WITH_DIPOLE),
        "native, all coefficients": lambda: native.evaluate(positions, WITH_DENSITY),
        "TorchScript file, no dipole": from_file,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--mace", metavar="PYTHON", help="an interpreter that has mace-torch")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    head("densnet-gaunt", "torch")
    structure, choices = structures("ethanol1")[0], default_choices()
    model = DenSNet(*build(choices, structure.numbers), atoms(structure.numbers), *choices, {})
    rows: list[list[object]] = []
    for replicas in chosen.replicas:
        with tempfile.TemporaryDirectory() as folder:
            sides = sides_of(model, replicas, Path(folder))
            if chosen.mace:
                sides |= {f"MACE {i}, eager": mace(chosen.mace, i, replicas) for i in ("128x0e", "128x0e + 128x1o")}
            timings = interleave(sides, ROUNDS, warm_up=3)
        for name, timing in timings.items():
            best = 1e3 * timing.minimum
            rows.append([name, replicas, 1e3 * timing.median, best, best / replicas])
        print(f"{replicas} replicas measured", file=sys.stderr, flush=True)
    table(["way", "replicas", "median ms", "min ms", "min ms per molecule"], rows)


if __name__ == "__main__":
    main()
