"""Fit floors of the shipped bases on molecules in no optimisation: NMAE per cent (functions, condition number).

Coulomb fits of the difference to the atoms, charge and dipole exact, against the density matrix, PBE/aug-cc-pVDZ. The
frames of tests/data are there always; archives of frames with orbitals are given by molecule:

    python benchmarks/bench_bases.py --archive ethanol=ethanol/train.npz water=water100/valid.npz --frames 5

All elements of the tiers, with the molecules of unseen_elements.xyz (about six minutes; * marks what is above 1.3 times
ethanol's):

    python benchmarks/bench_bases.py --elements

A frame that any of the bases was optimised on is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import fit_floors
import numpy as np
import torch
from ase.build import molecule
from densnet_pyscf.backend import PySCFBackend
from measuring import DATA, head
from numpy.typing import NDArray

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.library import basis_by_name, frames_behind
from densnet_core.density.optimize import condition_number
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

SHIPPED = ("densnet-s", "densnet-m", "densnet-l")
LIMIT = 1.3
OTHERS = ("def2-universal-jkfit", "aug-cc-pVQZ-JKFIT")
COMPUTED = {"methanol": "CH3OH", "thiophene": "C4H4S", "ammonia": "NH3", "formaldehyde": "H2CO"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--archive", nargs="*", default=[], metavar="NAME=FILE", help="archives of frames with orbitals"
    )
    parser.add_argument("--frames", type=int, default=4, help="frames of each archive")
    parser.add_argument("--elements", action="store_true", help="the molecules of unseen_elements.xyz as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head("pyscf", "torch", "ase")
    backend = PySCFBackend(LevelOfTheory("PBE", "aug-cc-pVDZ"))
    archives = dict(text.split("=", 1) for text in options.archive)
    archives = {"ethanol": DATA / "ethanol1.npz", "water": DATA / "water5.npz"} | archives
    floors = Floors(backend)
    names = (*SHIPPED, *(OTHERS[:1] if options.elements else OTHERS))
    print(f"NMAE % (functions, condition number); * above {LIMIT} times that of ethanol\n")
    print("| molecule, frames |", *(f"{name} |" for name in names))
    print("| --- |", *("--- |" for _ in names), flush=True)
    for name, path in archives.items():
        floors.print(name, _frames(backend, Path(path), options.frames), names)
    molecules = {name: molecule(formula) for name, formula in COMPUTED.items()}
    structures = {name: Structure(a.numbers, a.positions / BOHR_TO_ANGSTROM) for name, a in molecules.items()}
    if options.elements:
        structures |= fit_floors.unseen_elements()
    for name, structure in structures.items():
        floors.print(name, [fit_floors.Reference(backend, structure, backend.compute(structure).orbitals)], names)


class Floors:
    """Prints the floors of molecules as they are computed; the first is what the others are compared with."""

    def __init__(self, backend: PySCFBackend) -> None:
        self._backend = backend
        self._atoms: dict[int, Shell] = {}
        self._first: dict[str, float] = {}

    def print(self, name: str, frames: list[fit_floors.Reference], bases: Sequence[str]) -> None:
        """A row of the table."""
        numbers = frames[0].structure.numbers
        prior, cells = self._prior(numbers), []
        for basis_name in bases:
            try:
                basis = basis_by_name(basis_name, numbers)
            except InputError:
                cells.append("-")
                continue
            found = float(np.mean([frame.difference(basis, prior).nmae for frame in frames]))
            worst = max(condition_number(basis, frame.structure) for frame in frames)
            mark = "*" if found > LIMIT * self._first.setdefault(basis_name, found) else ""
            cells.append(f"{found:.3f}{mark} ({basis.n_functions(numbers)}, {worst:.0e})")
        print(f"| {name}, {len(frames)} |", *(f"{cell} |" for cell in cells), flush=True)

    def _prior(self, numbers: NDArray[np.int64]) -> AtomicPrior:
        for z in sorted(set(numbers.tolist()) - set(self._atoms)):
            (self._atoms[z],) = AtomicPrior.fit({z: self._backend.atomic_density(z)}).basis.shells(z)
        return AtomicPrior(GaussianBasis("atoms", {z: [self._atoms[z]] for z in sorted(set(numbers.tolist()))}))


def _frames(backend: PySCFBackend, path: Path, count: int) -> list[fit_floors.Reference]:
    """At most ``count`` frames of an archive, spread evenly over those that were in no optimisation."""
    with np.load(path, allow_pickle=False) as file:
        rows = [file[key] for key in ("numbers", "positions_angstrom", "mo_coeff_occupied")]
    used = set().union(*map(frames_behind, SHIPPED))
    frames = [(Structure(z, r / BOHR_TO_ANGSTROM), c) for z, r, c in zip(*rows, strict=True)]
    unused = [frame for frame in frames if frame[0].content_hash().hex() not in used]
    if not unused:
        raise SystemExit(f"Every frame of {path} was used in an optimisation.")
    chosen = np.unique(np.linspace(0, len(unused) - 1, count).astype(int)).tolist()
    return [fit_floors.Reference(backend, *unused[index]) for index in chosen]


if __name__ == "__main__":
    main()
