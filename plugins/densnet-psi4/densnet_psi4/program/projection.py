"""Three-centre integrals of density functions with densities, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import psi4

from densnet_psi4.program.molecule import ORBITAL, build_basis, make_molecule, register_basis, shell_record


def project(request: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Blocks of one element and a few shells each; ``arrays["densities"]`` (n_densities, n_basis, n_basis)."""
    register_basis(ORBITAL, request["orbital_basis"])
    symbols, positions, numbers = request["symbols"], arrays["positions"], arrays["numbers"]

    def neutral(atoms: list[int]) -> Any:
        # Charge and spin play no part in integrals, but Psi4 wants a pair that is possible.
        return make_molecule([symbols[i] for i in atoms], positions[atoms], 0, 1 + int(numbers[atoms].sum()) % 2)

    molecule = neutral(list(range(len(symbols))))
    orbital_basis = build_basis(molecule, ORBITAL)
    integrals = psi4.core.MintsHelper(orbital_basis)
    zero = psi4.core.BasisSet.zero_ao_basis_set()
    densities = arrays["densities"]
    flat = densities.reshape(len(densities), -1)
    results = {}
    for index, block in enumerate(request["blocks"]):
        name = f"DENSNET_BLOCK_{index}"
        register_basis(name, block["basis"])
        block_basis = build_basis(neutral(block["atoms"]), name)
        if request["metric"] == "overlap":
            values = np.array(integrals.ao_3coverlap(orbital_basis, orbital_basis, block_basis))
            result = flat @ values.reshape(flat.shape[1], -1)
        else:
            values = np.array(integrals.ao_eri(zero, block_basis, orbital_basis, orbital_basis))
            result = flat @ values.reshape(-1, flat.shape[1]).T
        results[f"block_{index}"] = result
        for key, array in shell_record(block_basis).items():
            results[f"block_{index}_{key}"] = array
    return {}, {**results, **shell_record(orbital_basis)}
