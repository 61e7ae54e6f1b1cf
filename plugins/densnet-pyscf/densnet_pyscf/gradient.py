"""Gradient of the Coulomb and exchange-correlation energies; the integration grid of the latter moves with the atoms.

PySCF builds matrices <grad i|v|j> on the whole grid, four times the work of a potential, and <grad i|J|j>. The gradient
needs only their traces with the density matrix, which take a few products.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from pyscf import df, dft, lib
from pyscf.ao2mo.outcore import balance_partition
from pyscf.df.incore import aux_e2

from densnet_pyscf.integration import DERIVATIVES, Orbitals, density_components, function_blocks, orbitals_of
from densnet_pyscf.weights import Cells, points_of

Array = NDArray[np.float64]

SECOND: Final = ((4, 5, 6), (5, 7, 8), (6, 8, 9))
"""Where PySCF's derivatives of the functions have d2/dx_a dx_b."""


SCREENING: Final = 1e-12
"""Products of primitive functions with a smaller overlap are left out of three-centre integrals."""
INTEGRALS_MB: Final = 400.0


def applies(solver: Any) -> bool:
    """True for local, gradient-corrected and meta-GGA functionals, with or without exact exchange.

    Non-local correlation needs the density at all pairs of points; its gradient is PySCF's.
    """
    if not isinstance(solver, dft.rks.KohnShamDFT) or solver.do_nlc():
        return False
    return solver._numint._xc_type(solver.xc) in DERIVATIVES


def replace_potential(gradient: Any) -> None:
    """Let the gradient object of a mean-field object take exchange-correlation, and fitted Coulomb, from here.

    Where there is exact exchange PySCF's own code makes its part and that of Coulomb: on a grid without points nothing
    else is left of it.
    """
    bare, solver = gradient.get_veff, gradient.base
    fitted = isinstance(solver, df.df_jk._DFHF) and not solver._numint.libxc.is_hybrid_xc(solver.xc)

    def potential(mol: Any = None, dm: Any = None) -> Any:
        matrix = solver.make_rdm1() if dm is None else dm
        total = np.asarray(matrix)
        if fitted:
            added = coulomb_gradient(solver, total if total.ndim == 2 else total.sum(axis=0))
            rest = lib.tag_array(np.zeros((*total.shape[:-2], 3, *total.shape[-2:])), aux=added)
        else:
            empty = dft.gen_grid.Grids(solver.mol)
            empty.coords, empty.weights = np.zeros((0, 3)), np.zeros(0)
            with lib.temporary_env(gradient, grids=empty, grid_response=False):
                rest = bare(mol, dm)
        rest.exc1_grid = exchange_correlation_gradient(solver, matrix)
        return rest

    gradient.get_veff = potential


def coulomb_gradient(solver: Any, density_matrix: Array) -> Array:
    """(n_atoms, 3) derivative of the fitted Coulomb energy by the nuclei, hartree/bohr.

    With the fit c_P = sum_Q (P|Q)^-1 (Q|rho) it is sum_P c_P d(P|rho) - 1/2 sum_PQ c_P c_Q d(P|Q), the density matrix
    fixed. The derivative of (ij|P) by the centre of P is minus those by the centres of i and j, so integrals of
    one kind serve both.
    """
    molecule, auxiliary = solver.mol, solver.with_df.auxmol
    if auxiliary is None:
        auxiliary = df.addons.make_auxmol(molecule, solver.with_df.auxbasis)
    n_basis, places = molecule.nao_nr(), auxiliary.ao_loc_nr()
    size = max(20, int(INTEGRALS_MB * 1e6 / (8 * 3 * n_basis**2)))
    parts = [(first, last) for first, last, _ in balance_partition(places, size)]
    lower = np.tril(density_matrix + density_matrix.T)
    lower[np.diag_indices(n_basis)] *= 0.5
    packed = lower[np.tril_indices(n_basis)]
    atoms = np.repeat(np.arange(molecule.natm), np.diff(molecule.aoslice_by_atom()[:, 2:]).ravel())
    of_auxiliary = np.repeat(np.arange(molecule.natm), np.diff(auxiliary.aoslice_by_atom()[:, 2:]).ravel())

    def integrals(name: str, first: int, last: int, symmetry: str) -> Array:
        shells = (0, molecule.nbas, 0, molecule.nbas, first, last)
        return np.asarray(aux_e2(molecule, auxiliary, name, aosym=symmetry, shls_slice=shells))

    result = np.zeros((molecule.natm, 3))
    with molecule.with_integral_screen(SCREENING):
        projected = np.concatenate([packed @ integrals("int3c2e", *part, "s2ij") for part in parts])
        fit = scipy.linalg.solve(auxiliary.intor("int2c2e"), projected, assume_a="pos")
        for first, last in parts:
            some = slice(places[first], places[last])
            # (3, n_basis, n_some): -d/dR of the centre of i, summed over j.
            moved = np.einsum(
                "xijp,ij->xip", integrals("int3c2e_ip1", first, last, "s1"), density_matrix, optimize=True
            )
            moved *= 2.0 * fit[some]
            np.subtract.at(result, atoms, moved.sum(axis=2).T)
            np.add.at(result, of_auxiliary[some], moved.sum(axis=1).T)
    metric = np.einsum("p,xpq,q->px", fit, auxiliary.intor("int2c2e_ip1"), fit, optimize=True)
    np.add.at(result, of_auxiliary, metric)
    return result


def exchange_correlation_gradient(solver: Any, density_matrix: Any) -> Array:
    """(n_atoms, 3) derivative of the grid's energy by the nuclei, with the orbital coefficients fixed, hartree/bohr.

    Three things move: the functions with their atom, the points with theirs, and the weights with all of them
    (Johnson, Gill and Pople, J. Chem. Phys. 98, 5612, 1993).
    """
    molecule, grids, method = solver.mol, solver.grids, solver.xc
    kind = solver._numint._xc_type(method)
    spins = orbitals_of(density_matrix)
    result, cells = np.zeros((molecule.natm, 3)), Cells(grids)
    for own in points_of(grids):
        moved = np.zeros((molecule.nao_nr(), 3))
        for block in cells.blocks(own):
            screening = dft.gen_grid.make_mask(molecule, block.positions, cutoff=grids.cutoff)
            energies = np.empty(len(block.weights))
            for some, kept, functions in function_blocks(
                molecule, block.positions, DERIVATIVES[kind] + 1, screening, grids.cutoff
            ):
                orbitals = [(coefficients[kept], occupations) for coefficients, occupations in spins]
                parts = [density_components(kind, functions, *spin) for spin in orbitals]
                densities = np.stack([components for _, components in parts])
                per_electron, derivatives = solver._numint.potential(method, densities)
                energies[some] = densities[:, 0].sum(axis=0) * per_electron
                weights = block.weights[some]
                for spin, (amplitudes, _), by_component in zip(orbitals, parts, derivatives, strict=True):
                    moved[kept] += _moved_functions(kind, functions, spin, amplitudes, weights * by_component)
            result += block.gradient(energies)
        result[own.atom] += moved.sum(axis=0)
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
