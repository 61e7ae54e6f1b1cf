"""Fit floors of the shipped bases on molecules that were in no optimisation: NMAE per cent (condition number).

Coulomb fits of the difference to the atoms, charge and dipole exact, against the density matrix, PBE/aug-cc-pVDZ. The
frames of tests/data are there always; archives of frames with orbitals are given by molecule:

    python benchmarks/bench_bases.py --archive ethanol=ethanol/train.npz water=water100/valid.npz --frames 5

A frame that any of the bases was optimised on is left out.
"""

from __future__ import annotations

import argparse
import json
from importlib import resources
from pathlib import Path

import fit_floors
import numpy as np
import torch
from ase.build import molecule
from densnet_pyscf.backend import PySCFBackend
from measuring import DATA, head, table

from densnet_core.basis.library import basis_by_name
from densnet_core.density.optimize import condition_number
from densnet_core.density.prior import AtomicPrior
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

SHIPPED = ("densnet-s", "densnet-m", "densnet-l")
OTHERS = ("def2-universal-jkfit", "aug-cc-pVQZ-JKFIT")
COMPUTED = {"methanol": "CH3OH", "thiophene": "C4H4S", "ammonia": "NH3", "formaldehyde": "H2CO"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--archive", nargs="*", default=[], metavar="NAME=FILE", help="archives of frames with orbitals"
    )
    parser.add_argument("--frames", type=int, default=4, help="frames of each archive")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head("pyscf", "torch", "ase")
    backend = PySCFBackend(LevelOfTheory("PBE", "aug-cc-pVDZ"))
    prior = AtomicPrior.fit({z: backend.atomic_density(z) for z in (1, 6, 7, 8, 16)})
    archives = dict(text.split("=", 1) for text in options.archive)
    archives = {"ethanol": DATA / "ethanol1.npz", "water": DATA / "water5.npz"} | archives
    columns = {name: _frames(backend, Path(path), options.frames) for name, path in archives.items()}
    for name, formula in COMPUTED.items():
        atoms = molecule(formula)
        structure = Structure(atoms.numbers, atoms.positions / BOHR_TO_ANGSTROM)
        columns[name] = [fit_floors.Reference(backend, structure, backend.compute(structure).orbitals)]
    rows = []
    for basis_name in (*SHIPPED, *OTHERS):
        cells: list[object] = [basis_name, basis_by_name(basis_name, [1, 6, 8]).n_functions([6, 6, 8, *[1] * 6])]
        for frames in columns.values():
            basis = basis_by_name(basis_name, frames[0].structure.numbers)
            found = [frame.difference(basis, prior).nmae for frame in frames]
            worst = max(condition_number(basis, frame.structure) for frame in frames)
            cells.append(f"{np.mean(found):.3f} ({worst:.0e})")
        rows.append(cells)
    table(["basis", "functions for ethanol", *(f"{name}, {len(some)}" for name, some in columns.items())], rows)


def _frames(backend: PySCFBackend, path: Path, count: int) -> list[fit_floors.Reference]:
    """At most ``count`` frames of an archive, spread evenly over those that were in no optimisation."""
    with np.load(path, allow_pickle=False) as file:
        rows = [file[key] for key in ("numbers", "positions_angstrom", "mo_coeff_occupied")]
    used = _optimised_on()
    frames = [(Structure(z, r / BOHR_TO_ANGSTROM), c) for z, r, c in zip(*rows, strict=True)]
    unused = [frame for frame in frames if frame[0].content_hash().hex() not in used]
    if not unused:
        raise SystemExit(f"Every frame of {path} was used in an optimisation.")
    chosen = np.unique(np.linspace(0, len(unused) - 1, count).astype(int)).tolist()
    return [fit_floors.Reference(backend, *unused[index]) for index in chosen]


def _optimised_on() -> set[str]:
    folder = resources.files("densnet_core.basis") / "data"
    records = [json.loads((folder / f"{name}.json").read_text("utf-8"))["made_by"] for name in SHIPPED]
    return {key for record in records for key in record["frames_hashes"]}


if __name__ == "__main__":
    main()
