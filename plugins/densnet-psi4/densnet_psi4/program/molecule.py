"""Molecules and basis sets exactly as they are given: no rotation, no translation, no basis of Psi4's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import psi4
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORBITAL, FITTING = "DENSNET_ORBITAL", "DENSNET_FITTING"


def make_molecule(symbols: list[str], positions: Array, charge: int, multiplicity: int) -> Any:
    """A molecule without symmetry; ``positions`` (n_atoms, 3) in bohr."""
    rows = [f"{s} {x:.17g} {y:.17g} {z:.17g}" for s, (x, y, z) in zip(symbols, positions.tolist(), strict=True)]
    head = [f"{charge} {multiplicity}"]
    molecule = psi4.geometry("\n".join(head + rows + ["units bohr", "symmetry c1", "no_com", "no_reorient"]))
    molecule.update_geometry()
    found = np.array([[molecule.x(i), molecule.y(i), molecule.z(i)] for i in range(molecule.natom())])
    if found.shape != positions.shape or not np.allclose(found, positions, rtol=0, atol=1e-9):
        raise RuntimeError(f"Psi4 did not take the positions as given: {positions} became {found}")
    return molecule


def register_basis(name: str, text: str) -> None:
    """Let Psi4 find the Gaussian-94 ``text`` under ``name`` (capitals)."""

    def basis(molecule: Any, role: str) -> dict[str, str]:
        molecule.set_basis_all_atoms(name.lower(), role=role)
        return {name.lower(): text}

    basis.__name__ = "basisspec_psi4_yo__" + name.lower()
    psi4.qcdb.libmintsbasisset.basishorde[name] = basis


def build_basis(molecule: Any, name: str) -> Any:
    """The basis registered under ``name``, on all atoms, with spherical functions."""
    return psi4.core.BasisSet.build(molecule, "ORBITAL", name, puream=1, quiet=True)


def shell_record(basis: Any) -> dict[str, Any]:
    """What Psi4 really uses, for the parent to compare: arrays of shells and of their primitives."""
    shells = [basis.shell(i) for i in range(basis.nshell())]
    if not basis.has_puream():
        raise RuntimeError("Psi4 took Cartesian functions")
    return {
        "shell_l": np.array([s.am for s in shells]),
        "shell_centre": np.array([basis.shell_to_center(i) for i in range(len(shells))]),
        "shell_primitives": np.array([s.nprimitive for s in shells]),
        "exponents": np.array([s.exp(k) for s in shells for k in range(s.nprimitive)]),
        "contraction": np.array([s.original_coef(k) for s in shells for k in range(s.nprimitive)]),
    }
