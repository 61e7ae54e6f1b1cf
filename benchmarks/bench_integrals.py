"""Two-centre integrals of ethanol in aug-cc-pVQZ-JKFIT (882 functions) against PySCF's; one thread, float64.

The aim is at most three times PySCF's time for overlap and Coulomb together.
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
    ours, theirs = np.zeros(2), np.zeros(2)
    for metric, integral in METRICS.items():
        reference = molecule.intor(integral)
        found = two_center(metric, functions, one).numpy()
        difference = float(np.abs(found - reference).max() / np.abs(reference).max())
        timings = interleave(
            {
                "pyscf": lambda integral=integral: molecule.intor(integral, hermi=1),
                "densnet": lambda metric=metric: two_center(metric, functions, one),
            },
            rounds=25,
        )
        (batched,) = interleave({"batch": lambda metric=metric: two_center(metric, functions, many)}, 4, 1).values()
        for sums, name in ((ours, "densnet"), (theirs, "pyscf")):
            sums += [timings[name].median, timings[name].minimum]
        for name, timing, per in (
            (f"{metric}, PySCF {integral}", timings["pyscf"], 1),
            (f"{metric}, densnet", timings["densnet"], 1),
            (f"{metric}, densnet, per molecule of a batch of {BATCH}", batched, BATCH),
        ):
            median, minimum = 1e3 * timing.median / per, 1e3 * timing.minimum / per
            ratio = median / 1e3 / timings["pyscf"].median
            rows.append([name, median, minimum, ratio, "" if "PySCF" in name else f"{difference:.0e}"])
    rows.append(["overlap + coulomb, densnet", *(1e3 * ours).tolist(), float(ours[0] / theirs[0]), ""])
    table(["integrals", "median ms", "min ms", "ratio to PySCF", "max difference"], rows)
    print(f"Ratio of the minima, which another load on the machine disturbs less: {ours[1] / theirs[1]:.2f}\n")


if __name__ == "__main__":
    main()
