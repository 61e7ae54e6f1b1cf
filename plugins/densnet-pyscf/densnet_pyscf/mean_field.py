"""Self-consistent field and gradient: converged, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto, scf

from densnet_core.errors import ConvergenceError, InputError, ResourceError
from densnet_pyscf import gradient as potentials
from densnet_pyscf import two_grids
from densnet_pyscf.field import position_integrals
from densnet_pyscf.functional import is_hartree_fock
from densnet_pyscf.integration import Integrator
from densnet_pyscf.properties import total_density_matrix

Array = NDArray[np.float64]


def make_solver(molecule: gto.Mole, method: str, options: Any) -> Any:
    """The unsolved mean-field object: restricted for singlets, unrestricted otherwise."""
    restricted = molecule.spin == 0
    if is_hartree_fock(method):
        solver = (scf.RHF if restricted else scf.UHF)(molecule)
    else:
        solver = (dft.RKS if restricted else dft.UKS)(molecule)
        solver.xc, solver._numint = method, Integrator()
        solver.grids.level = options.grid_level
    solver.conv_tol, solver.max_cycle = options.conv_tol, options.max_cycle
    solver.conv_tol_grad = min(options.gradient_tol, options.conv_tol**0.5)
    solver.check_convergence = _Convergence(options.conv_tol**0.5)
    solver.chkfile = None  # no checkpoint file: it is never read, and writing it costs time in every iteration
    return solver.density_fit(auxbasis=options.auxiliary_basis) if options.density_fitting else solver


class _Convergence:
    """When the SCF ends: energy and orbital gradient below their thresholds, or nearly so for some cycles.

    PySCF's own threshold of the gradient, the root of ``conv_tol``, leaves an error of 3e-4 % in the density of
    ethanol; 1e-6 leaves 3e-5 %. But a degenerate state, such as that of hydroxyl, never gets there: its orbitals turn
    for ever on the integration grid, at no cost of energy.

    Parameters
    ----------
    enough : float
        Gradient that is accepted when ``PATIENCE`` cycles below it have not brought it to ``conv_tol_grad``.
    """

    PATIENCE = 6

    def __init__(self, enough: float) -> None:
        self.enough, self.cycles, self.met = enough, 0, False

    def __call__(self, state: dict[str, Any]) -> bool:
        """From the local variables of PySCF's SCF."""
        change, gradient = abs(state["e_tot"] - state["last_hf_e"]), state["norm_gorb"]
        if self.met:  # the extra cycle, with thresholds that PySCF has relaxed
            self.cycles, self.met = 0, False
            return bool(change < state["conv_tol"] or gradient < 3.0 * self.enough)
        if not (change < state["conv_tol"] and gradient < self.enough):
            return False
        self.cycles += 1
        self.met = bool(gradient < state["conv_tol_grad"]) or self.cycles > self.PATIENCE
        return self.met


def solve(solver: Any, label: str, density_matrix: Array | None = None, coarse_grid: bool = True) -> None:
    """Converge ``solver`` in place, if need be with a second-order method from where DIIS stopped.

    Parameters
    ----------
    solver : mean-field object
    label : str
        Names the calculation in errors.
    density_matrix : (n_basis, n_basis) or (2, n_basis, n_basis), optional
        To start from (``densnet_pyscf.guess.scf_guess``); PySCF's own guess if omitted.
    coarse_grid : bool
        Try first on two grids (``densnet_pyscf.two_grids``), where that applies.

    Raises
    ------
    ConvergenceError
        Neither way converged; the solver's orbitals must not be used.
    ResourceError
        Out of memory.
    """
    try:
        if not (coarse_grid and two_grids.applies(solver) and two_grids.converge(solver, density_matrix)):
            solver.kernel(dm0=density_matrix)
        if not _is_converged(solver):
            _second_order(solver)
    except MemoryError:
        raise ResourceError(
            f"{label}: the SCF ran out of memory. Raise max_memory_mb or use density fitting."
        ) from None
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        raise ConvergenceError(f"{label}: the SCF broke down ({error}). Check the geometry.") from error
    if not _is_converged(solver):
        raise ConvergenceError(
            f"{label}: the SCF did not converge in {solver.max_cycle} cycles, nor with a second-order method. "
            "Check geometry, charge and multiplicity, or raise max_cycle."
        )


def _second_order(solver: Any) -> None:
    """Continue with co-iterative augmented-Hessian steps (Sun, Chem. Phys. Lett. 683, 291, 2017)."""
    second = solver.newton()
    second.check_convergence = None
    second.kernel(mo_coeff=solver.mo_coeff, mo_occ=solver.mo_occ)
    for name in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
        setattr(solver, name, getattr(second, name))


def _is_converged(solver: Any) -> bool:
    return bool(solver.converged) and bool(np.isfinite(solver.e_tot))


def forces(solver: Any, label: str) -> Array:
    """(n_atoms, 3) minus the gradient, hartree/bohr, with the response of the integration grid.

    The grid moves with the atoms; without its response the forces are not the derivative of the energy returned with
    them. Measured at PBE, grid level 3, net force without and with: water 9e-6 and 1e-14, ethanol 3e-5 and 2e-14
    hartree/bohr; the response costs nothing that can be measured.
    """
    gradient = solver.nuc_grad_method()
    gradient.grid_response = True
    if potentials.applies(solver):
        potentials.replace_potential(gradient)
    try:
        return -np.asarray(gradient.kernel(), dtype=np.float64)
    except NotImplementedError as error:
        raise InputError(f"{label}: PySCF has no analytical gradient here ({error}). Use another functional.") from None
    except MemoryError:
        raise ResourceError(f"{label}: the gradient ran out of memory. Raise max_memory_mb.") from None


def dipole(solver: Any) -> Array:
    """(3,) sum_A Z_A R_A - integral r rho, e bohr, about the origin."""
    molecule = solver.mol
    electronic = np.einsum("xij,ji->x", position_integrals(molecule), total_density_matrix(solver))
    return np.asarray(molecule.atom_charges() @ molecule.atom_coords() - electronic)


def occupied_orbitals(solver: Any) -> tuple[Array, Array]:
    """Orbitals (n_basis, n_occupied) and occupations (n_occupied,); alpha then beta if unrestricted."""
    orbitals, occupations = np.asarray(solver.mo_coeff), np.asarray(solver.mo_occ)
    if orbitals.ndim == 2:
        orbitals, occupations = orbitals[None], occupations[None]
    kept = [c[:, n > 0] for c, n in zip(orbitals, occupations, strict=True)]
    return np.ascontiguousarray(np.hstack(kept)), np.concatenate([n[n > 0] for n in occupations])


def check_auxiliary(molecule: gto.Mole, auxiliary: str | None) -> None:
    """``InputError`` if the named fitting basis of the SCF does not exist for these elements."""
    if auxiliary is None:
        return
    for name in sorted(set(molecule.elements)):
        try:
            gto.basis.load(auxiliary, name)
        except (RuntimeError, KeyError, OSError):
            raise InputError(
                f"The auxiliary basis {auxiliary!r} of the SCF's density fitting has no functions for {name}. "
                "Take another, or leave auxiliary_basis out for def2-universal-jkfit."
            ) from None
