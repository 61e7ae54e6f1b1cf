"""SCF iterations and wall time from PySCF's default guess and from a fitted density.

Ethanol, PBE/aug-cc-pVDZ with density fitting, conv_tol 1e-9. The density is the fit of the difference to the atoms in
one of the shipped bases, in place of a model's prediction, which takes milliseconds. The time with our guess includes
the making of the guess; both sides build integrals and grid anew. "default" and "ours" count SCF iterations. The aim:
at least 35 % fewer of them, and less time in total. On a busy machine the processor time says more than the wall time.

One frame lies in tests/data. More come from an archive with the same keys; finished frames are kept in --results and
not computed again:

    python benchmarks/bench_scf_guess.py --data ethanol/train.npz --frames 20 --results scf_guess.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from densnet_pyscf import mean_field
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.molecule import make_molecule
from measuring import DATA, head, table

from densnet_core.basis.library import basis_by_name
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.fitting import fit_difference
from densnet_core.density.prior import AtomicPrior
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

LEVEL = LevelOfTheory("PBE", "aug-cc-pVDZ")
ELEMENTS = (1, 6, 8)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    head("pyscf", "torch")
    backend = PySCFBackend(LEVEL)
    prior = AtomicPrior.fit({z: backend.atomic_density(z) for z in ELEMENTS})
    rows = []
    for index in _chosen(options.data, options.frames):
        key = f"{options.data.name} {index} {options.basis}"
        record = _known(options.results, key) or {"key": key} | _measure(backend, prior, options, index)
        if options.results is not None and _known(options.results, key) is None:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        rows.append(record)
    _print(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "ethanol1.npz", help="archive of frames with orbitals")
    parser.add_argument("--frames", type=int, default=1, help="how many, spread evenly over the archive")
    parser.add_argument("--basis", default="densnet-l", help="density basis of the fit")
    parser.add_argument("--results", type=Path, help="file of finished frames, one JSON object a line")
    return parser.parse_args()


def _chosen(data: Path, count: int) -> list[int]:
    with np.load(data, allow_pickle=False) as file:
        available = len(file["positions_angstrom"])
    return np.unique(np.linspace(0, available - 1, count).astype(int)).tolist()


def _known(results: Path | None, key: str) -> dict[str, Any] | None:
    if results is None or not results.exists():
        return None
    records: list[dict[str, Any]] = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return next((record for record in records if record["key"] == key), None)


def _measure(backend: PySCFBackend, prior: AtomicPrior, options: argparse.Namespace, index: int) -> dict[str, Any]:
    with np.load(options.data, allow_pickle=False) as file:
        numbers = file["numbers"] if file["numbers"].ndim == 1 else file["numbers"][index]
        structure = Structure(numbers, file["positions_angstrom"][index] / BOHR_TO_ANGSTROM)
        orbitals = file["mo_coeff_occupied"][index]
    basis = basis_by_name(options.basis, ELEMENTS)
    projection = backend.project(structure, orbitals, np.full(orbitals.shape[1], 2.0), basis, "coulomb")
    coefficients = fit_difference(structure, projection, basis, prior).coefficients
    default = _converge(backend, structure, None)
    ours = _converge(backend, structure, ExpandedDensity(structure, basis, coefficients, prior))
    return {"default": default, "ours": ours}


def _converge(backend: PySCFBackend, structure: Structure, density: ExpandedDensity | None) -> dict[str, float]:
    started, processor = time.perf_counter(), time.process_time()
    guess = None if density is None else backend.starting_density_matrix(density)
    made = time.perf_counter()
    molecule = make_molecule(structure, backend.level.basis, backend.options.max_memory_mb)
    solver = mean_field.make_solver(molecule, backend.level.method, backend.options)
    mean_field.solve(solver, structure.formula, guess)
    done = time.perf_counter()
    return {
        "iterations": int(solver.cycles),
        "guess_seconds": made - started,
        "seconds": done - started,
        "cpu_seconds": time.process_time() - processor,
        "energy": float(solver.e_tot),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    cells: list[list[object]] = []
    for row in rows:
        default, ours = row["default"], row["ours"]
        cells.append([
            row["key"], default["iterations"], ours["iterations"], default["seconds"], ours["guess_seconds"],
            ours["seconds"], ours["seconds"] / default["seconds"], ours["cpu_seconds"] / default["cpu_seconds"],
            f"{ours['energy'] - default['energy']:.0e}",
        ])  # fmt: skip
    columns = ["frame", "default", "ours", "default s", "guess s", "ours s", "ratio", "CPU ratio", "difference Ha"]
    table(columns, cells)
    before, after = (np.mean([row[side]["iterations"] for row in rows]) for side in ("default", "ours"))
    wall, processor = (
        sum(row["ours"][unit] for row in rows) / sum(row["default"][unit] for row in rows)
        for unit in ("seconds", "cpu_seconds")
    )
    print(
        f"{len(rows)} frames: {before:.2f} iterations from PySCF's default guess, {after:.2f} from ours: "
        f"{100 * (1 - after / before):.0f} % fewer; {100 * (1 - wall):.0f} % less wall time, "
        f"{100 * (1 - processor):.0f} % less processor time.\n"
    )


if __name__ == "__main__":
    main()
