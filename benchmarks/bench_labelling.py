"""Labelling of water frames: the local executor with the PySCF backend against PySCF called directly.

One worker and one thread on all sides, frame by frame in turn: while this process computes, the worker waits for its
next frame. Its first one, with the start of the process and the import of PySCF, is printed apart. Throughput with
several workers: bench_executors.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from measuring import Timing, head, structures, table
from pyscf import dft, gto, lib

from densnet_core.elements import symbol
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory, label
from densnet_core.structures import Structure

LEVEL = LevelOfTheory.parse("PBE/def2-SVP")
OPTIONS = PySCFOptions()
EXECUTOR = "local executor + backend"


def bare(structure: Structure) -> float:
    """The same calculation in the fewest lines of PySCF."""
    atoms = [(symbol(int(z)), tuple(r)) for z, r in zip(structure.numbers, structure.positions.tolist(), strict=True)]
    solver = dft.RKS(gto.M(atom=atoms, basis=LEVEL.basis, unit="Bohr", verbose=0), xc=LEVEL.method)
    solver = solver.density_fit(auxbasis=OPTIONS.auxiliary_basis)
    solver.grids.level, solver.conv_tol = OPTIONS.grid_level, OPTIONS.conv_tol
    solver.conv_tol_grad = OPTIONS.gradient_tol
    solver.kernel()
    gradient = solver.nuc_grad_method()
    gradient.grid_response = True
    gradient.kernel()
    return float(solver.e_tot)


def main() -> None:
    lib.num_threads(1)
    head("densnet-pyscf", "pyscf")
    frames = structures("water5")
    backend = PySCFBackend(LEVEL, OPTIONS)
    sides = {
        "PySCF": bare,
        "backend, same process": lambda structure: backend.compute(structure).energy,
    }
    for call in sides.values():
        call(frames[0])
    seconds: dict[str, list[float]] = {name: [] for name in (*sides, EXECUTOR)}
    energies: dict[str, list[float]] = {name: [] for name in (*sides, EXECUTOR)}

    def in_turn() -> Iterator[Structure]:
        """The executor asks for a frame when its worker is free: until then the one before was under way."""
        for structure in frames:
            for name, call in sides.items():
                started = time.perf_counter()
                energies[name].append(call(structure))
                seconds[name].append(time.perf_counter() - started)
            started = time.perf_counter()
            yield structure
            seconds[EXECUTOR].append(time.perf_counter() - started)

    def keep(_: Structure, result: ReferenceResult) -> None:
        energies[EXECUTOR].append(result.energy)

    def fail(_: Structure, error: Exception) -> None:
        raise error

    factory = BackendFactory("densnet_pyscf.backend:PySCFBackend", LEVEL)
    label(factory, in_turn(), LocalExecutor(LocalExecutorOptions(workers=1)), keep, fail)
    for name, found in energies.items():
        np.testing.assert_allclose(found, energies["PySCF"], atol=1e-8, err_msg=name)
    first = seconds[EXECUTOR].pop(0)
    reference = Timing(tuple(seconds["PySCF"]))
    rows: list[list[object]] = []
    for name, values in seconds.items():
        timing = Timing(tuple(values))
        over = 100.0 * (timing.median / reference.median - 1.0)
        rows.append([name, len(values), 1e3 * timing.median, 1e3 * timing.minimum, over])
    table([f"water, {LEVEL}", "frames", "median ms", "min ms", "over PySCF, %"], rows)
    print(f"The first frame of the executor, with the start of its worker: {first:.2f} s\n")


if __name__ == "__main__":
    main()
