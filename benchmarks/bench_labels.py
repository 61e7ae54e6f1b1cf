"""CPU seconds of one label, energy and forces of a frame, by plain PySCF and by the backend with its defaults.

Ethanol and ethanethiol, PBE/aug-cc-pVDZ with density fitting, one thread. Plain PySCF does the same calculation: the
same grid in every cycle, the same convergence, the gradient with the response of the grid. Beside the times stands what
the two results differ by: energy, largest and mean force component, and the density (integral |difference| / N).

One frame each by default, in less than two minutes. More frames, from archives with the same keys, and what other grids
would give up against the default one:

    python benchmarks/bench_labels.py --data ethanol/train.npz ethanethiol/train.npz --frames 5 --levels 2 3 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from densnet_pyscf import mean_field
from densnet_pyscf.config import PySCFOptions
from densnet_pyscf.integration import density_components, function_blocks, orbitals_of
from densnet_pyscf.molecule import make_molecule
from measuring import head, structures, table
from numpy.typing import NDArray
from pyscf import dft, lib

from densnet_core.elements import atomic_number
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]
LEVEL = LevelOfTheory("PBE", "aug-cc-pVDZ")
MEV_PER_ANGSTROM = 1e3 * HARTREE_TO_EV / BOHR_TO_ANGSTROM
ETHANETHIOL = """
    C -0.240025  0.639311  1.764827
    C  0.444718 -0.076049  0.655335
    S -0.810772  0.073128 -0.742666
    H  0.269886  0.610466 -1.339176
    H  1.347505  0.298975  0.232988
    H  0.625365 -1.058715  0.869690
    H  0.232550  0.894212  2.724786
    H -0.574747  1.560321  1.469245
    H -1.050260  0.003862  1.957527
"""


def main() -> None:
    options = _options()
    lib.num_threads(1)
    head("densnet-pyscf", "pyscf")
    rows, summed = [], np.zeros(2)
    grids: dict[int, list[Array]] = {level: [] for level in options.levels}
    for name, structure in _frames(options):
        before, seconds_before = _timed(plain, structure)
        after, seconds = _timed(backend, structure)
        summed += [seconds_before, seconds]
        rows.append([name, seconds_before, seconds, seconds / seconds_before, *_differences(before, after)])
        print(
            f"{name}: {seconds_before:.1f} s plain, {seconds:.1f} s backend, {seconds / seconds_before:.2f}", flush=True
        )
        for level, errors in grids.items():
            other, seconds_there = _timed(lambda frame, level=level: backend(frame, level), structure)
            errors.append(other[1] - after[1])
            print(
                f"  grid level {level}: {seconds_there:.1f} s, energy {other[0].e_tot - after[0].e_tot:.1e} hartree, "
                f"force {MEV_PER_ANGSTROM * np.abs(errors[-1]).max():.2f} meV/angstrom at most",
                flush=True,
            )
    print()
    columns = ["frame", "PySCF CPU s", "backend CPU s", "ratio", "energy Ha", "force max", "mean meV/A", "density %"]
    table([*columns], rows)
    print(f"All frames: {summed[1] / summed[0]:.2f} of the time of plain PySCF\n")
    if grids:
        _print_grids(grids)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="archives of frames")
    parser.add_argument("--frames", type=int, default=1, help="of each archive, spread evenly")
    parser.add_argument("--levels", type=int, nargs="*", default=[], help="other grids to compare with the default one")
    return parser.parse_args()


def _frames(options: argparse.Namespace) -> Iterator[tuple[str, Structure]]:
    if not options.data:
        rows = [line.split() for line in ETHANETHIOL.strip().splitlines()]
        positions = np.array([[float(x) for x in row[1:]] for row in rows]) / BOHR_TO_ANGSTROM
        yield "ethanol", structures("ethanol1")[0]
        yield "ethanethiol", Structure(np.array([atomic_number(row[0]) for row in rows]), positions)
    for path in options.data:
        with np.load(path, allow_pickle=False) as file:
            numbers, positions = file["numbers"], file["positions_angstrom"] / BOHR_TO_ANGSTROM
        for index in np.unique(np.linspace(0, len(positions) - 1, options.frames).astype(int)).tolist():
            known = numbers if numbers.ndim == 1 else numbers[index]
            yield f"{path.parent.name} {index}", Structure(known, positions[index])


def plain(structure: Structure) -> tuple[Any, Array]:
    """Mean-field object and forces by PySCF alone, with the convergence that the backend asks for."""
    solver = _solver(structure, PySCFOptions())
    solver._numint = dft.numint.NumInt()
    mean_field.solve(solver, structure.formula, coarse_grid=False)
    gradient = solver.nuc_grad_method()
    gradient.grid_response = True
    return solver, -gradient.kernel()


def backend(structure: Structure, level: int | None = None) -> tuple[Any, Array]:
    """The same by the backend's defaults, or on another grid."""
    options = PySCFOptions() if level is None else PySCFOptions(grid_level=level)
    solver = _solver(structure, options)
    mean_field.solve(solver, structure.formula, coarse_grid=options.coarse_grid)
    return solver, mean_field.forces(solver, structure.formula)


def _solver(structure: Structure, options: PySCFOptions) -> Any:
    molecule = make_molecule(structure, LEVEL.basis, options.max_memory_mb)
    return mean_field.make_solver(molecule, LEVEL.method, options)


def _timed(call: Callable[[Structure], tuple[Any, Array]], structure: Structure) -> tuple[tuple[Any, Array], float]:
    started = time.process_time()
    result = call(structure)
    return result, time.process_time() - started


def _differences(before: tuple[Any, Array], after: tuple[Any, Array]) -> list[object]:
    forces = MEV_PER_ANGSTROM * np.abs(after[1] - before[1])
    energy = f"{after[0].e_tot - before[0].e_tot:.0e}"
    return [energy, f"{forces.max():.1e}", f"{forces.mean():.1e}", f"{_nmae_percent(before[0], after[0]):.1e}"]


def _nmae_percent(one: Any, other: Any) -> float:
    """100 / N times the integral of |rho - rho'| on the grid of ``one``."""
    grids, total = one.grids, 0.0
    states = [orbitals_of(solver.make_rdm1())[0] for solver in (one, other)]
    for some, kept, functions in function_blocks(one.mol, grids.coords, 0, grids.non0tab, grids.cutoff):
        first, second = (density_components("LDA", functions, c[kept], n)[1][0] for c, n in states)
        total += float(grids.weights[some] @ np.abs(first - second))
    return 100.0 * total / one.mol.nelectron


def _print_grids(grids: dict[int, list[Array]]) -> None:
    rows = []
    for level, errors in grids.items():
        sizes = MEV_PER_ANGSTROM * np.abs(np.stack(errors))
        rows.append([level, float(sizes.mean()), float(np.sqrt((sizes**2).mean())), float(sizes.max())])
    table(["grid level", "force mean meV/A", "root mean square", "largest"], rows)


if __name__ == "__main__":
    main()
