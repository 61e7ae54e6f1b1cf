"""Gradient of the exchange-correlation energy on an integration grid that moves with the atoms.

PySCF builds the three matrices <grad i|v|j> on the whole grid, four times the work of a potential. The gradient needs
only their trace with the density matrix, which a few products with the occupied orbitals give.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, lib
from pyscf.grad.rks import grids_response_cc

from densnet_pyscf.integration import DERIVATIVES, Orbitals, density_components, function_blocks, orbitals_of

Array = NDArray[np.float64]

SECOND: Final = ((4, 5, 6), (5, 7, 8), (6, 8, 9))
"""Where PySCF's derivatives of the functions have d2/dx_a dx_b."""


def applies(solver: Any) -> bool:
    """True for local, gradient-corrected and meta-GGA functionals, with or without exact exchange.

    Non-local correlation needs the density at all pairs of points; its gradient is PySCF's.
    """
    if not isinstance(solver, dft.rks.KohnShamDFT) or solver.do_nlc():
        return False
    return solver._numint._xc_type(solver.xc) in DERIVATIVES


def replace_exchange_correlation(gradient: Any) -> None:
    """Let the gradient object of a mean-field object take its exchange-correlation part from here.

    PySCF's own code makes the parts of Coulomb and exact exchange: on a grid without points nothing else is left of it.
    """
    bare, solver = gradient.get_veff, gradient.base

    def potential(mol: Any = None, dm: Any = None) -> Any:
        empty = dft.gen_grid.Grids(solver.mol)
        empty.coords, empty.weights = np.zeros((0, 3)), np.zeros(0)
        with lib.temporary_env(gradient, grids=empty, grid_response=False):
            rest = bare(mol, dm)
        rest.exc1_grid = exchange_correlation_gradient(solver, solver.make_rdm1() if dm is None else dm)
        return rest

    gradient.get_veff = potential


def exchange_correlation_gradient(solver: Any, density_matrix: Any) -> Array:
    """(n_atoms, 3) derivative of the grid's energy by the nuclei, with the orbital coefficients fixed, hartree/bohr.

    Three things move: the functions with their atom, the points with theirs, and the weights with all of them
    (Johnson, Gill and Pople, J. Chem. Phys. 98, 5612, 1993).
    """
    molecule, grids, method = solver.mol, solver.grids, solver.xc
    kind = solver._numint._xc_type(method)
    spins = orbitals_of(density_matrix)
    result = np.zeros((molecule.natm, 3))
    for atom, (points, weights, weight_derivatives) in enumerate(grids_response_cc(grids)):
        screening = dft.gen_grid.make_mask(molecule, points, cutoff=grids.cutoff)
        moved = np.zeros((molecule.nao_nr(), 3))
        energies = np.empty(len(points))
        for some, kept, functions in function_blocks(molecule, points, DERIVATIVES[kind] + 1, screening, grids.cutoff):
            orbitals = [(coefficients[kept], occupations) for coefficients, occupations in spins]
            parts = [density_components(kind, functions, *spin) for spin in orbitals]
            densities = np.stack([components for _, components in parts])
            per_electron, derivatives = solver._numint.potential(method, densities)
            energies[some] = densities[:, 0].sum(axis=0) * per_electron
            for spin, (amplitudes, _), by_component in zip(orbitals, parts, derivatives, strict=True):
                moved[kept] += _moved_functions(kind, functions, spin, amplitudes, weights[some] * by_component)
        result += np.einsum("p,axp->ax", energies, weight_derivatives)
        result[atom] += moved.sum(axis=0)
        for other, (*_, first, last) in enumerate(molecule.aoslice_by_atom()):
            result[other] -= moved[first:last].sum(axis=0)
    return result


def _moved_functions(kind: str, functions: Array, spin: Orbitals, amplitudes: Array, derivatives: Array) -> Array:
    """(n_basis, 3): what the energy gains when a function moves against the points; summed over these points.

    With the energy per volume f and real orbitals psi_i of occupation n_i, the change of f with a change of psi_i is
    2 n_i [f_rho psi_i + f_grad . grad psi_i] d psi_i + n_i [2 f_grad psi_i + f_tau grad psi_i] . grad d psi_i.
    """
    coefficients, occupations = spin
    n_orbitals = len(occupations)
    weighted = occupations[:, None] * amplitudes
    by_value = 2.0 * np.einsum("xp,xip->ip", derivatives[: len(amplitudes)], weighted)
    moved = np.stack([functions[1 + a] @ by_value.T for a in range(3)])
    if kind != "LDA":
        by_gradient = 2.0 * derivatives[1:4, None] * weighted[0]
        if kind == "MGGA":
            by_gradient += derivatives[4] * weighted[1:]
        for a, columns in enumerate(SECOND):
            for b in range(a, 3):
                # The second derivative by a and b serves both.
                both = by_gradient[b] if a == b else np.concatenate([by_gradient[b], by_gradient[a]])
                product = functions[columns[b]] @ both.T
                moved[a] += product[:, :n_orbitals]
                if a != b:
                    moved[b] += product[:, n_orbitals:]
    return np.asarray(np.einsum("ani,ni->na", moved, coefficients))
