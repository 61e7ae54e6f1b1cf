"""The state an SCF ended in: its spin, its gap, and whether a lower solution is next to it."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf import lib

from densnet_core.reference.scf_state import GAP, SPIN_SQUARE, STABLE, orbital_gap, spin_square
from densnet_pyscf import mean_field

ROUNDS: Final = 6
"""Times that an instability is followed; each ends in another solution."""
SMALLEST_GAIN: Final = 1e-6
"""Hartree; less is the noise of the grid on a degenerate state."""


def describe(solver: Any, stable: bool | None) -> dict[str, NDArray[np.float64]]:
    """Labels of a solved mean field by the names of ``densnet_core.reference.scf_state``."""
    orbitals, occupations, energies = (np.asarray(one) for one in (solver.mo_coeff, solver.mo_occ, solver.mo_energy))
    if orbitals.ndim == 2:
        orbitals, occupations, energies = orbitals[None], occupations[None], energies[None]
    spins = [c[:, n > 0] for c, n in zip(orbitals, occupations, strict=True)]
    found = {SPIN_SQUARE: np.array(spin_square(spins[0], spins[-1], solver.get_ovlp()))}
    gap = orbital_gap(energies, occupations > 0)
    if np.isfinite(gap):
        found[GAP] = np.array(gap)
    if stable is not None:
        found[STABLE] = np.array(float(stable))
    return found


def has_rotations(solver: Any) -> bool:
    """Whether there is an occupied and an empty orbital of one spin, which could mix."""
    occupations = np.atleast_2d(np.asarray(solver.mo_occ))
    return any(bool((one > 0).any() and (one == 0).any()) for one in occupations)


def is_stable(solver: Any) -> bool:
    """Whether no rotation of orbitals lowers the energy, of a closed shell also towards an unrestricted solution."""
    return _analyse(solver, external=_is_restricted(solver))[1]


def follow(solver: Any, label: str) -> bool:
    """Go down from instabilities until there is none, in place; False if one is left.

    Solutions of a closed shell stay restricted, so that an instability towards unrestricted ones is left.
    """
    for _ in range(ROUNDS):
        orbitals, stable = _analyse(solver, external=False)
        if stable:
            break
        before = solver.e_tot, solver.mo_coeff, solver.mo_occ, solver.mo_energy
        mean_field.solve(solver, label, solver.make_rdm1(orbitals, solver.mo_occ), coarse_grid=False)
        if before[0] - solver.e_tot < SMALLEST_GAIN:
            if solver.e_tot > before[0]:
                solver.e_tot, solver.mo_coeff, solver.mo_occ, solver.mo_energy = before
            return True
    return is_stable(solver)


def _is_restricted(solver: Any) -> bool:
    return bool(np.asarray(solver.mo_occ).ndim == 1)


def _analyse(solver: Any, external: bool) -> tuple[Any, bool]:
    """Orbitals on the way down, and whether there is none."""
    solver = solver.copy()
    solver.verbose, solver.stdout = 0, io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), lib.temporary_env(solver, verbose=0):
        inside, _, stable, outside = solver.stability(internal=True, external=external, return_status=True)
    return inside, bool(stable) and (not external or bool(outside))
