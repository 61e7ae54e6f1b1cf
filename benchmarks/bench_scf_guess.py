"""SCF iterations and wall time from PySCF's default guess and from a fitted or predicted density.

Ethanol, PBE/aug-cc-pVDZ with density fitting, conv_tol 1e-9. The density is the fit of the difference to the atoms in
one of the shipped bases, or with --model the prediction of a trained model (whose own level of theory is then that of
the SCF). The time with our guess includes the making of the guess; both sides build integrals and grid anew. "default"
and "ours" count SCF iterations, all of them on the fine grid (coarse_grid = false): what a user of PySCF sees. With the
backend's coarse grid an iteration costs next to nothing, and neither does a guess save anything. The aim: at least 35 %
fewer iterations. On a busy machine the processor time says more than the wall time.

One frame lies in tests/data. More come from an archive with the same keys; finished frames are kept in --results and
not computed again:

    python benchmarks/bench_scf_guess.py --data ethanol/train.npz --frames 20 --results scf_guess.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
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
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Density = Callable[[Structure, np.ndarray], ExpandedDensity]
LEVEL = LevelOfTheory("PBE", "aug-cc-pVDZ")
ELEMENTS = (1, 6, 8)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    head("pyscf", "torch")
    model = None if options.model is None else DenSNet.load(options.model)
    level = LEVEL if model is None else LevelOfTheory.parse(model.document["level_of_theory"])
    backend = PySCFBackend(level)
    density = _fitter(backend, options.basis) if model is None else lambda frame, _: model.predict([frame])[0].density
    rows = []
    for index in _chosen(options.data, options.frames):
        key = f"{options.data.name} {index} {options.basis if model is None else options.model}"
        record = _known(options.results, key) or {"key": key} | _measure(backend, density, options.data, index)
        if options.results is not None and _known(options.results, key) is None:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        print(f"{key}: {record['default']['iterations']} iterations, then {record['ours']['iterations']}", flush=True)
        rows.append(record)
    _print(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "ethanol1.npz", help="archive of frames with orbitals")
    parser.add_argument("--frames", type=int, default=1, help="how many, spread evenly over the archive")
    parser.add_argument("--basis", default="densnet-l", help="density basis of the fit")
    parser.add_argument("--model", type=Path, help="model package whose prediction is taken instead of a fit")
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


def _fitter(backend: PySCFBackend, basis_name: str) -> Density:
    """The fit of a frame's reference density, in place of a prediction."""
    prior = AtomicPrior.fit({z: backend.atomic_density(z) for z in ELEMENTS})
    basis = basis_by_name(basis_name, ELEMENTS)

    def fitted(structure: Structure, orbitals: np.ndarray) -> ExpandedDensity:
        projection = backend.project(structure, orbitals, np.full(orbitals.shape[1], 2.0), basis, "coulomb")
        return ExpandedDensity(
            structure, basis, fit_difference(structure, projection, basis, prior).coefficients, prior
        )

    return fitted


def _measure(backend: PySCFBackend, density: Density, data: Path, index: int) -> dict[str, Any]:
    with np.load(data, allow_pickle=False) as file:
        numbers = file["numbers"] if file["numbers"].ndim == 1 else file["numbers"][index]
        structure = Structure(numbers, file["positions_angstrom"][index] / BOHR_TO_ANGSTROM)
        orbitals = file["mo_coeff_occupied"][index]
    default = _converge(backend, structure, None)
    return {"default": default, "ours": _converge(backend, structure, density(structure, orbitals))}


def _converge(backend: PySCFBackend, structure: Structure, density: ExpandedDensity | None) -> dict[str, float]:
    started, processor = time.perf_counter(), time.process_time()
    guess = None if density is None else backend.starting_density_matrix(density)
    made = time.perf_counter()
    molecule = make_molecule(structure, backend.level.basis, backend.options.max_memory_mb)
    solver = mean_field.make_solver(molecule, backend.level.method, backend.options)
    mean_field.solve(solver, structure.formula, guess, coarse_grid=False)
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
