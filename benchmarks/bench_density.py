"""The density numbers of shared/FACTS.md, ours beside them: fit floors of ethanol, fitted coefficients of water.

See fit_floors.py for what FACTS leaves unsaid. One frame of ethanol and five of water lie in tests/data; more come from
archives with the same keys:

    python benchmarks/bench_density.py --ethanol ethanol/train.npz --frames 20 --water water100/*.npz

The published fit of Q-stack is in tests/integration/test_density_pyscf.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fit_floors
import numpy as np
import torch
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.molecule import orbital_basis
from measuring import DATA, head, table

from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.fitting import fit_density
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

LEVEL = LevelOfTheory("PBE", "aug-cc-pVDZ")
WATER_BASIS = "aug-cc-pVQZ-JKFIT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ethanol", type=Path, default=DATA / "ethanol1.npz", help="archive of frames with orbitals")
    parser.add_argument("--frames", type=int, default=1, help="how many of them, spread evenly")
    parser.add_argument("--water", type=Path, nargs="+", default=[DATA / "water5.npz"], help="archives with fits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head("pyscf", "torch", "ase")
    equilibrium()
    dynamics(options.ethanol, options.frames)
    for path in options.water:
        water(path)


def equilibrium() -> None:
    """Ethanol, PBE/def2-SVP."""
    reference = fit_floors.ethanol()
    atoms = reference.atoms(fit_floors.atomic_prior(reference.backend))
    rows = [_row("superposed atoms", "", "", atoms, fit_floors.ATOMS)]
    for name, expected in fit_floors.ETHANOL.items():
        basis = fit_floors.basis_of_row(name)
        size = basis.n_functions(reference.structure.numbers)
        title = name if isinstance(name, str) else f"even-tempered {name[0]}, l <= {name[1]}"
        rows += [_row(title, size, metric, reference.floor(basis, metric), floor) for metric, floor in expected.items()]
    print("Ethanol, PBE/def2-SVP, unconstrained fits of the whole density; FACTS in brackets, deviations in per cent")
    table(["basis", "functions", "metric", "NMAE %", "", "dev", "electrons", "", "dev", "dipole D", "", "dev"], rows)


def _row(title: str, size: object, metric: str, found: fit_floors.Floor, expected: fit_floors.Floor) -> list[object]:
    cells: list[object] = [title, size, metric]
    for name in ("nmae", "electrons", "dipole"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        cells += [float(ours), f"({theirs:.3g})", f"{100 * (ours / theirs - 1):+.1f}" if theirs else ""]
    return cells


def dynamics(path: Path, count: int) -> None:
    """Frames of ethanol, PBE/aug-cc-pVDZ."""
    backend = PySCFBackend(LEVEL)
    prior = fit_floors.atomic_prior(backend)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in fit_floors.FRAMES}
    with np.load(path, allow_pickle=False) as file:
        numbers, positions, orbitals = (file[k] for k in ("numbers", "positions_angstrom", "mo_coeff_occupied"))
    chosen = np.unique(np.linspace(0, len(positions) - 1, count).astype(int)).tolist()
    for index in chosen:
        structure = Structure(numbers[index], positions[index] / BOHR_TO_ANGSTROM)
        reference = fit_floors.Reference(backend, structure, orbitals[index])
        for name, values in found.items():
            basis = orbital_basis(fit_floors.ELEMENTS, name)  # PySCF's: the Exchange lacks aug-cc-pVDZ-JKFIT
            whole = reference.floor(basis, "coulomb", float(structure.n_electrons))
            values.append((whole.nmae, reference.difference(basis, prior).nmae))
    rows: list[list[object]] = []
    for name, values in found.items():
        cells: list[object] = [name]
        for column, expected in enumerate(fit_floors.FRAMES[name]):
            some = np.array(values)[:, column]
            spread = f"{some.min():.3f} to {some.max():.3f}"
            cells += [float(some.mean()), f"({expected})", f"{100 * (some.mean() / expected - 1):+.1f}", spread]
        rows.append(cells)
    print(f"Ethanol, PBE/aug-cc-pVDZ, {len(chosen)} frames of {path.name}: mean NMAE %, FACTS (one frame), deviation %")
    table(["basis", "rho", "", "dev", "spread", "rho - atoms", "", "dev", "spread"], rows)


def water(path: Path) -> None:
    """Coefficients by the authors of the method."""
    backend = PySCFBackend(LEVEL)
    basis = basis_by_name(WATER_BASIS, [1, 8])
    keys = ("numbers", "positions_angstrom", "mo_coeff_occupied", "df_coeff_augccpvqzjkfit")
    with np.load(path, allow_pickle=False) as file:
        frames = list(zip(*(file[key] for key in keys), strict=True))
    errors = []
    for numbers, positions, orbitals, expected in frames:
        structure = Structure(numbers, positions / BOHR_TO_ANGSTROM)
        functions = MolecularBasis(basis, numbers)
        occupations = np.full(orbitals.shape[1], 2.0)
        projection = torch.tensor(backend.project(structure, orbitals, occupations, basis, "coulomb"))
        metric = two_center("coulomb", functions, torch.tensor(structure.positions))
        fit = fit_density(metric, projection)
        errors.append(float(np.abs(fit.coefficients - expected).max() / np.abs(expected).max()))
    print(
        f"Water, {WATER_BASIS}, {len(errors)} frames of {path.name}: coefficients differ by at most {max(errors):.1e} "
        f"of the largest (median {np.median(errors):.1e}).\n"
    )


if __name__ == "__main__":
    main()
