"""Energy, gradient, orbitals and moments of one molecule."""

from __future__ import annotations

from typing import Any

import numpy as np
import psi4

from densnet_psi4.program.molecule import (
    FITTING,
    ORBITAL,
    Array,
    build_basis,
    make_molecule,
    register_basis,
    shell_record,
)

# In the order of MintsHelper.ao_quadrupole.
_QUADRUPOLE = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def scf(request: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every field of ``arrays["fields"]`` (n, 3): one calculation each, H = H_0 - F . dipole.

    With ``request["forces"]`` the gradient, of the first field only.
    """
    register_basis(ORBITAL, request["orbital_basis"])
    register_basis(FITTING, request["fitting_basis"])
    molecule = make_molecule(request["symbols"], arrays["positions"], request["charge"], request["multiplicity"])
    set_options(request)
    record = shell_record(build_basis(molecule, ORBITAL))
    results: dict[str, Any] = {}
    energies, rescues = [], []
    for index, field in enumerate(arrays["fields"]):
        set_field(field)
        energy, wavefunction, rescued = converge(request, molecule)
        energies.append(energy)
        rescues.append(rescued)
        for name, array in observables(molecule, wavefunction).items():
            results[f"{name}_{index}"] = array
        if request["forces"] and index == 0:
            gradient = psi4.gradient("scf", molecule=molecule, ref_wfn=wavefunction, **functional(request))
            results["gradient"] = np.array(gradient)
    return {"energies": energies, "second_order": rescues}, {**results, **record}


def set_options(request: dict[str, Any]) -> None:
    """Everything but the field."""
    psi4.core.be_quiet()
    psi4.core.set_output_file("output.txt", False)
    psi4.core.set_memory_bytes(request["max_memory_mb"] * 10**6, True)
    psi4.core.set_num_threads(request["threads"], True)
    restricted = request["multiplicity"] == 1
    kind = "hf" if request["functional"] is None else "ks"
    psi4.set_options(
        {
            "basis": ORBITAL,
            "df_basis_scf": FITTING,
            "puream": True,
            "scf_type": "df" if request["density_fitting"] else "pk",
            "reference": ("r" if restricted else "u") + kind,
            "e_convergence": request["conv_tol"],
            "d_convergence": request["density_tol"],
            "maxiter": request["max_cycle"],
            "fail_on_maxiter": True,
            "guess": "sad",
            "ints_tolerance": 1e-12,
            "dft_spherical_points": request["angular_points"],
            "dft_radial_points": request["radial_points"],
        }
    )


def set_field(field: Array) -> None:
    """Psi4 adds +lambda . dipole, so lambda = -F."""
    psi4.set_options({"perturb_h": bool(np.any(field))})
    if np.any(field):
        psi4.set_options({"perturb_with": "dipole", "perturb_dipole": [-float(x) for x in field]})


def functional(request: dict[str, Any]) -> dict[str, Any]:
    """Arguments for Psi4's driver."""
    return {} if request["functional"] is None else {"dft_functional": request["functional"]}


def converge(request: dict[str, Any], molecule: Any) -> tuple[float, Any, bool]:
    """Energy and wavefunction; with second-order steps if DIIS alone does not get there."""

    def attempt(second_order: bool) -> tuple[float, Any, bool]:
        psi4.set_options({"soscf": second_order})
        energy, wavefunction = psi4.energy("scf", molecule=molecule, return_wfn=True, **functional(request))
        if not np.isfinite(energy):
            raise psi4.SCFConvergenceError("energy", 0, wavefunction, energy, 0.0)
        return energy, wavefunction, second_order

    try:
        return attempt(second_order=False)
    except psi4.SCFConvergenceError:
        psi4.core.clean()
        return attempt(second_order=True)


def observables(molecule: Any, wavefunction: Any) -> dict[str, Array]:
    """Occupied orbitals (alpha, then beta if unrestricted), dipole and second moments about the origin."""
    alpha = np.array(wavefunction.Ca_subset("AO", "OCC"))
    beta = np.array(wavefunction.Cb_subset("AO", "OCC"))
    density = alpha @ alpha.T + beta @ beta.T
    integrals = psi4.core.MintsHelper(wavefunction.basisset())
    charges = np.array([molecule.Z(i) for i in range(molecule.natom())])
    positions = np.array(molecule.geometry())
    # The integrals are those of the charge: Psi4 has the electron's sign in them.
    dipole = charges @ positions + [np.vdot(density, np.array(m)) for m in integrals.ao_dipole()]
    second = np.einsum("a,ax,ay->xy", charges, positions, positions)
    for (x, y), matrix in zip(_QUADRUPOLE, integrals.ao_quadrupole(), strict=True):
        moment = np.vdot(density, np.array(matrix))
        second[x, y] += moment
        if x != y:
            second[y, x] += moment
    restricted = bool(wavefunction.same_a_b_orbs())
    orbitals = alpha if restricted else np.hstack([alpha, beta])
    spins = wavefunction.epsilon_a_subset("AO", "ALL"), wavefunction.epsilon_b_subset("AO", "ALL")
    return {
        "orbitals": orbitals,
        "orbital_energies": np.array([np.array(energies) for energies in spins]),
        "dipole": dipole,
        "quadrupole": second,
        "overlap": np.array(integrals.ao_overlap()),
    }
