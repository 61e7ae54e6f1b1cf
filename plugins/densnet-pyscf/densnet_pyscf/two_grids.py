"""Self-consistency at the cost of a coarse integration grid, with the result of the fine one.

The iterations run on a coarse grid of a few thousand points. Where they have converged, the fine grid is evaluated
once, and from then on the coarse energy is corrected by what it was wrong by there, to first order in the density
matrix:

    E(D) = E_coarse(D) + [E_fine(D_0) - E_coarse(D_0)] + tr [F_fine(D_0) - F_coarse(D_0)] (D - D_0).

Energy and gradient are those of the fine grid at D_0; the next solution is wrong only by how the two grids differ in
the *change* of the potential, so each correction leaves about 1/300 of the error. Convergence is judged on the fine
grid alone: nothing of the coarse one is left in the result.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf import df, dft, lib

from densnet_pyscf.integration import Integrator

Array = NDArray[np.float64]

COARSE_LEVEL: Final = 0
BETWEEN: Final = 2
"""Levels below the fine grid: the grid of the first correction, which is not worth the fine one."""
FIRST_TOLERANCES: Final = (1e-5, 1e-3)
"""Energy (hartree) and orbital gradient of the uncorrected coarse solution, whose gradient on the fine grid is 2e-2."""
MARGIN: Final = 0.3
"""Orbital gradient of the corrected coarse solutions, in units of what is asked for on the fine grid."""
GRADIENT_PER_ENERGY: Final = 1e3
"""1/hartree. ``conv_tol`` asks PySCF's cycles for the energy gained in the last step, from which they come out with an
orbital gradient of about this times it. No step is left here to be judged, so the gradient itself is asked for."""
SMALLEST_GRADIENT: Final = 1e-8
ROUNDING: Final = 1e-11
"""Hartree; smaller changes of an energy mean nothing."""
MAX_CORRECTIONS: Final = 6
LINEAR: Final = 1e-3
"""Bohr, off a common line."""
MEMORY_SHARE: Final = 0.25
"""Of the memory allowed, for function values on the coarse grid, and for density-fitting integrals."""


def applies(solver: Any) -> bool:
    """True for functionals with density fitting on a grid that is not the coarse one, except open shells on a line.

    Without density fitting most of a cycle goes into exact two-electron integrals, and coarse cycles cost as much. The
    open shell of an atom or a linear molecule, such as hydroxyl, may be degenerate: then nothing but the grid says
    which way its orbitals point (at a cost of 1e-7 hartree), and that must be the fine one from the start.
    """
    fitted = getattr(solver, "with_df", None) is not None
    finer = fitted and isinstance(solver, dft.rks.KohnShamDFT) and solver.grids.level > COARSE_LEVEL
    return finer and (solver.mol.spin == 0 or not _is_linear(solver.mol.atom_coords()))


def converge(solver: Any, density_matrix: Array | None) -> bool:
    """Converge ``solver`` in place; False, with the solver as it was, where the coarse grid does not lead there.

    Parameters
    ----------
    solver : RKS or UKS object with density fitting
        Unsolved; ``conv_tol`` and ``conv_tol_grad`` are those of the fine grid.
    density_matrix : (n_basis, n_basis) or (2, n_basis, n_basis), or None
        To start from; PySCF's own guess if None.
    """
    molecule, core, overlap = solver.mol, solver.get_hcore(), solver.get_ovlp()
    _keep_integrals(solver)
    energy_tolerance = max(solver.conv_tol, ROUNDING)
    tolerance = min(solver.conv_tol_grad, max(GRADIENT_PER_ENERGY * solver.conv_tol, SMALLEST_GRADIENT))
    coarse = _Coarse(solver, (energy_tolerance, MARGIN * tolerance))
    between = solver.grids.level - BETWEEN
    first = [_on_level(solver, between)] if between > COARSE_LEVEL else []  # the coarse grid itself corrects nothing
    for rung in (*first, *[solver] * MAX_CORRECTIONS):
        if not coarse.solve(density_matrix):
            return False
        solution = coarse.solver
        density_matrix = solution.make_rdm1()
        potential = rung.get_veff(molecule, density_matrix)
        energy = rung.energy_tot(density_matrix, core, potential)
        fock = rung.get_fock(core, overlap, potential, density_matrix)
        gradient = np.linalg.norm(rung.get_grad(solution.mo_coeff, solution.mo_occ, fock))
        change = abs(energy - solution.e_tot)
        if rung is solver and change < energy_tolerance and gradient < tolerance:
            solver.mo_energy, solver.mo_coeff = solver.canonicalize(solution.mo_coeff, solution.mo_occ, fock)
            solver.mo_occ, solver.e_tot = solution.mo_occ, energy
            solver.converged, solver.cycles = True, coarse.cycles
            return True
        coarse.correct(density_matrix, potential)
    return False


def _is_linear(positions: Array) -> bool:
    """True for one atom, two, or all of them on a line."""
    return int(np.linalg.matrix_rank(positions - positions[0], tol=LINEAR)) < 2


class _Coarse:
    """The coarse-grid copy of a mean-field object, with its correction.

    Parameters
    ----------
    solver : RKS or UKS object
    tolerances : (float, float)
        Energy (hartree) and orbital gradient at which a corrected solution counts as converged.
    """

    def __init__(self, solver: Any, tolerances: tuple[float, float]) -> None:
        self.solver = _on_level(solver, COARSE_LEVEL)
        self.solver._numint = Integrator(MEMORY_SHARE * solver.max_memory)
        self.solver.check_convergence, self.solver.conv_check = None, False
        self._tolerances = tolerances
        self.solver.conv_tol, self.solver.conv_tol_grad = FIRST_TOLERANCES
        self._bare = self.solver.get_veff
        self._reference: tuple[Array, Array, float] | None = None
        self.cycles = 0
        self.solver.get_veff = self._potential  # PySCF takes another energy as the replacement of a method

    def solve(self, density_matrix: Array | None) -> bool:
        """Converge on the coarse grid, as corrected so far."""
        self.solver.kernel(dm0=density_matrix)
        self.cycles += self.solver.cycles
        return bool(self.solver.converged) and bool(np.isfinite(self.solver.e_tot))

    def correct(self, density_matrix: Array, potential: Any) -> None:
        """Be right to first order at ``density_matrix``, whose potential, with its energies, is ``potential``."""
        own = self._bare(self.solver.mol, density_matrix)
        self._reference = np.asarray(density_matrix), np.asarray(potential) - np.asarray(own), potential.exc - own.exc
        self.solver.conv_tol, self.solver.conv_tol_grad = self._tolerances

    def _potential(
        self, mol: Any = None, dm: Any = None, dm_last: Any = None, vhf_last: Any = None, hermi: int = 1
    ) -> Any:
        bare = self._bare(mol, dm, dm_last, vhf_last, hermi)
        if self._reference is None:
            return bare
        reference, potential, energy = self._reference
        energy = bare.exc + energy + float(np.sum(potential * (np.asarray(dm) - reference)))
        return lib.tag_array(np.asarray(bare) + potential, ecoul=bare.ecoul, exc=energy, vj=bare.vj, vk=bare.vk)


def _on_level(solver: Any, level: int) -> Any:
    """A copy of ``solver`` on another grid, sharing its integrals."""
    copy = solver.copy()
    copy.grids, copy.nlcgrids = (dft.gen_grid.Grids(solver.mol) for _ in range(2))
    copy.grids.level, copy.nlcgrids.level = level, min(level, solver.nlcgrids.level)
    return copy


def _keep_integrals(solver: Any) -> None:
    """Make the three-centre integrals once where they fit in memory; PySCF would make them anew in every cycle."""
    fitting, n_basis = solver.with_df, solver.mol.nao_nr()
    auxiliary = df.addons.make_auxmol(solver.mol, fitting.auxbasis).nao_nr()
    if 4e-6 * n_basis * (n_basis + 1) * auxiliary < MEMORY_SHARE * solver.max_memory:
        fitting.build()
