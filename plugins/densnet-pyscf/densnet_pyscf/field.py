"""A uniform electric field: H = H_0 - F . dipole, in the SCF and in its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

Array = NDArray[np.float64]


def position_integrals(molecule: gto.Mole) -> Array:
    """(3, n_basis, n_basis) integrals <i|r|j>, bohr, about the origin of the coordinates."""
    with molecule.with_common_origin((0.0, 0.0, 0.0)):
        return np.asarray(molecule.intor_symmetric("int1e_r", comp=3))


def add_field(solver: Any, field: Sequence[float]) -> None:
    """Put an unsolved mean-field object, and the gradients made from it, into a field (3,), hartree/(e bohr).

    The electrons get + F . r, the nuclei - Z F . R; energy and forces include both. PySCF takes such terms as
    replacements of methods of the one object.
    """
    molecule, strength = solver.mol, np.asarray(field, dtype=np.float64)
    core = solver.get_hcore() + np.einsum("x,xij->ij", strength, position_integrals(molecule))
    nuclear = solver.energy_nuc() - molecule.atom_charges() @ molecule.atom_coords() @ strength
    bare_gradient = solver.nuc_grad_method
    solver.get_hcore = lambda *_: core
    solver.energy_nuc = lambda *_: nuclear
    solver.nuc_grad_method = lambda: _gradient_in_field(bare_gradient(), molecule, strength)


def _gradient_in_field(gradient: Any, molecule: gto.Mole, strength: Array) -> Any:
    """PySCF's one-electron derivative is - <d i/dr | h | j>; the operator F . r itself does not move with the atoms."""
    with molecule.with_common_origin((0.0, 0.0, 0.0)):
        # int1e_irp: <j | r_x d/dr_a i> for the nine pairs x, a.
        moved = molecule.intor("int1e_irp", comp=9).reshape(3, 3, molecule.nao, molecule.nao)
    term = -np.einsum("x,xaji->aij", strength, moved)
    bare_core, bare_nuclear = gradient.get_hcore, gradient.grad_nuc
    charges = molecule.atom_charges()

    def nuclear(mol: gto.Mole | None = None, atmlst: Any = None) -> Array:
        on_nuclei = -charges[:, None] * strength
        return np.asarray(bare_nuclear(mol, atmlst) + (on_nuclei if atmlst is None else on_nuclei[atmlst]))

    gradient.get_hcore = lambda mol=None: bare_core(mol) + term
    gradient.grad_nuc = nuclear
    return gradient
