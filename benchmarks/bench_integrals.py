"""Two-centre integrals of ethanol in aug-cc-pVQZ-JKFIT (882 functions) against PySCF's; one thread, float64.

The aim for overlap and Coulomb together is at most three times PySCF's time for one molecule and, per molecule of a
batch of 32, at most 1.5 times.
"""

from __future__ import annotations

import numpy as np
import torch
from measuring import head, interleave, structures, table
from pyscf import gto, lib

from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.elements import symbol

BASIS = "aug-cc-pVQZ-JKFIT"
METRICS = {"overlap": "int1e_ovlp", "coulomb": "int2c2e"}
BATCH = 32


def main() -> None:
    torch.set_num_threads(1)
    lib.num_threads(1)
    head("torch", "pyscf")
    (ethanol,) = structures("ethanol1")
    functions = MolecularBasis(basis_by_name(BASIS, ethanol.numbers), ethanol.numbers)
    # The same shells are given to PySCF, which sorts them by l as this basis does already.
    records = {
        symbol(z): [
            [s.l, *([a, c] for a, c in zip(s.exponents, s.coefficients, strict=True))]
            for s in functions.basis.shells(z)
        ]
        for z in {int(z) for z in ethanol.numbers}
    }
    atoms = [(symbol(int(z)), tuple(r)) for z, r in zip(ethanol.numbers, ethanol.positions.tolist(), strict=True)]
    molecule = gto.M(atom=atoms, basis=records, unit="Bohr", verbose=0)
    one = torch.tensor(ethanol.positions)
    noise = torch.randn((BATCH, *one.shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    many = one + 0.05 * noise

    rows: list[list[object]] = []
    sums = {"pyscf": np.zeros(2), "densnet": np.zeros(2), "batch": np.zeros(2)}
    for metric, integral in METRICS.items():
        reference = molecule.intor(integral)
        found = two_center(metric, functions, one).numpy()
        difference = float(np.abs(found - reference).max() / np.abs(reference).max())
        timings = interleave(
            {
                "pyscf": lambda integral=integral: molecule.intor(integral, hermi=1),
                "densnet": lambda metric=metric: two_center(metric, functions, one),
                "batch": lambda metric=metric: two_center(metric, functions, many),
            },
            rounds=20,
        )
        names = {
            "pyscf": f"{metric}, PySCF {integral}",
            "densnet": f"{metric}, densnet",
            "batch": f"{metric}, densnet, per molecule of a batch of {BATCH}",
        }
        for side, name in names.items():
            per = BATCH if side == "batch" else 1
            both = np.array([timings[side].median, timings[side].minimum]) / per
            sums[side] += both
            ratios = both / (timings["pyscf"].median, timings["pyscf"].minimum)
            rows.append(
                [name, *(1e3 * both).tolist(), *ratios.tolist(), "" if side == "pyscf" else f"{difference:.0e}"]
            )
    for side, name in (("densnet", "one molecule"), ("batch", f"per molecule of a batch of {BATCH}")):
        ratios = sums[side] / sums["pyscf"]
        rows.append([f"overlap + coulomb, densnet, {name}", *(1e3 * sums[side]).tolist(), *ratios.tolist(), ""])
    columns = ["integrals", "median ms", "min ms", "ratio to PySCF", "ratio of minima", "max difference"]
    table(columns, rows)
    print("Another load on the machine disturbs the ratio of the minima less.\n")


if __name__ == "__main__":
    main()
