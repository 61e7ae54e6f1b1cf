"""Time and memory of a call against the size of the molecule: chains of 2 to 56 thiophene units, 16 to 394 atoms.

    python benchmarks/bench_sizes.py [--units 2 8 14 28 56]

Energy, forces and dipole by the standard networks (gaunt, shared; 32 channels, densnet-m) with random parameters,
float32, one thread, neighbour list included, PyTorch's operations one by one for all sizes alike. Sizes take turns in
one run. Memory is what a call adds, at its peak, to a process of its own (Linux: VmHWM, reset before the call).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import ROOT, head, interleave, table
from networks import atoms, build, default_choices

from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Structure, read_xyz
from densnet_core.units import BOHR_TO_ANGSTROM

OUTPUTS = ("energy", "forces", "dipole")
ROUNDS = 7
BOND = 1.45 / BOHR_TO_ANGSTROM
"""Between rings."""


def chain(units: int) -> Structure:
    """So many units, an even number: bithiophenes in a row, each bonded to the next where a terminal hydrogen was."""
    pair = read_xyz(ROOT / "science" / "systems" / "thiophenes" / "bithiophene.xyz")[0]
    (first, its_hydrogen), (last, other_hydrogen) = (7, 15), (1, 11)
    outwards = pair.positions[other_hydrogen] - pair.positions[last]
    step = pair.positions[last] + BOND * outwards / np.linalg.norm(outwards) - pair.positions[first]
    numbers, positions = [], []
    for place in range(units // 2):
        inner = ([its_hydrogen] if place > 0 else []) + ([other_hydrogen] if place < units // 2 - 1 else [])
        kept = np.delete(np.arange(pair.n_atoms), inner)
        numbers.append(pair.numbers[kept])
        positions.append(pair.positions[kept] + place * step)
    return Structure(np.concatenate(numbers), np.concatenate(positions))


def call_of(units: int) -> Callable[[], object]:
    """One call of a chain."""
    structure, choices = chain(units), default_choices()
    model = DenSNet(*build(choices, structure.numbers), atoms(structure.numbers), *choices, {})
    bound = BoundPotential(model, [structure], traced=False)
    return lambda: bound.evaluate(structure.positions[None], OUTPUTS)


def resident_mb(name: str) -> float:
    """VmRSS, or its peak VmHWM, of this process."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024.0


def added_mb(call: Callable[[], object]) -> float:
    """By the call at its peak."""
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    call()
    return resident_mb("VmHWM") - before


def peak_mb(units: int) -> float:
    """Of a process that makes one call, after one for the smallest chain."""
    command = [sys.executable, __file__, "--units", str(units), "--child"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[2, 8, 14, 28, 56])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.child:
        call_of(2)()
        print(added_mb(call_of(chosen.units[0])))
        return
    head("densnet-gaunt", "torch")
    timings = interleave({str(units): call_of(units) for units in chosen.units}, ROUNDS)
    peaks = [peak_mb(units) for units in chosen.units]
    rows: list[list[object]] = []
    for units, peak in zip(chosen.units, peaks, strict=True):
        n_atoms, best = chain(units).n_atoms, 1e3 * timings[str(units)].minimum
        rows.append([units, n_atoms, best, 1e3 * best / n_atoms, peak, 1e3 * peak / n_atoms])
    table(["units", "atoms", "min ms", "us per atom", "MB", "kB per atom"], rows)


if __name__ == "__main__":
    main()
