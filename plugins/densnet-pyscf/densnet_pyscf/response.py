"""Static response of an SCF to a uniform electric field: first-order orbitals and the dipole polarizability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf.scf import cphf, ucphf

from densnet_core.errors import ConvergenceError, ResourceError
from densnet_pyscf.field import position_integrals

Array = NDArray[np.float64]
Spins = list[Array]
"""One array for a restricted calculation, two (alpha, beta) for an unrestricted one."""

TOLERANCE: Final = 1e-9
MAX_CYCLE: Final = 60
MAX_RESIDUAL: Final = 1e-7
"""Largest error of the linear equations that counts as solved; the right-hand sides are of order one."""
MAX_REFINEMENTS: Final = 4


def has_analytic_response(solver: Any) -> bool:
    """False for non-local correlation, which PySCF leaves out of the response without an error."""
    return not getattr(solver, "do_nlc", lambda: False)()


def first_order_orbitals(solver: Any, label: str) -> tuple[Array, Array]:
    """Polarizability and first-order orbitals from the coupled-perturbed equations.

    Parameters
    ----------
    solver : mean-field object
        Converged; restricted or unrestricted.
    label : str
        What is computed, for messages.

    Returns
    -------
    polarizability : (3, 3)
        bohr^3.
    response : (3, n_basis, n_occupied)
        As ``ReferenceResult.response``; alpha then beta if unrestricted.

    Raises
    ------
    ConvergenceError
        The equations could not be solved.
    ResourceError
        Out of memory.

    Notes
    -----
    Gerratt and Mills, J. Chem. Phys. 49, 1719 (1968). With H = H_0 - F . dipole the perturbation of the electrons is
    + r. The basis does not move, so the first-order orbitals are virtual ones:
    (e_a - e_i) U_ai + <a|v[D(U)]|i> = - <a|r|i>, and alpha_xy = - tr r_x D^(y).
    """
    coefficients, occupations = _by_spin(solver, "mo_coeff"), _by_spin(solver, "mo_occ")
    occupied = [c[:, n > 0] for c, n in zip(coefficients, occupations, strict=True)]
    virtual = [c[:, n == 0] for c, n in zip(coefficients, occupations, strict=True)]
    weights = [n[n > 0] for n in occupations]
    positions = position_integrals(solver.mol)
    perturbation = [
        np.einsum("pa,xpq,qi->xai", v.conj(), positions, o, optimize=True)
        for v, o in zip(virtual, occupied, strict=True)
    ]
    try:
        induced = _induced_potential(solver, virtual, occupied, weights)
        amplitudes = _solve(solver, induced, perturbation, label)
    except MemoryError:
        raise ResourceError(f"{label}: the response to a field ran out of memory. Raise max_memory_mb.") from None
    polarizability = -2.0 * sum(
        np.einsum("xai,yai,i->xy", h, u, n) for h, u, n in zip(perturbation, amplitudes, weights, strict=True)
    )
    response = np.concatenate(
        [np.einsum("pa,xai->xpi", v, u) for v, u in zip(virtual, amplitudes, strict=True)], axis=2
    )
    return np.asarray(0.5 * (polarizability + polarizability.T)), np.ascontiguousarray(response)


def _by_spin(solver: Any, name: str) -> Spins:
    """Alpha and beta part of an attribute of an unrestricted solver; a restricted one's alone."""
    value = getattr(solver, name)
    return [np.asarray(value)] if np.ndim(solver.mo_occ) == 1 else [np.asarray(part) for part in value]


def _induced_potential(solver: Any, virtual: Spins, occupied: Spins, weights: Spins) -> Callable[[Spins], Spins]:
    """The map from amplitudes U (3, n_virtual, n_occupied) of each spin to <a|v[D(U)]|i>."""
    respond = solver.gen_response(hermi=1)

    def induced(amplitudes: Spins) -> Spins:
        matrices = []
        for u, v, o, n in zip(amplitudes, virtual, occupied, weights, strict=True):
            half = np.einsum("xai,pa,qi->xpq", u * n, v, o, optimize=True)
            matrices.append(half + half.transpose(0, 2, 1))
        potentials = [respond(matrices[0])] if len(matrices) == 1 else respond(np.stack(matrices))
        return [
            np.einsum("pa,xpq,qi->xai", v, potential, o, optimize=True)
            for potential, v, o in zip(potentials, virtual, occupied, strict=True)
        ]

    return induced


def _solve(solver: Any, induced: Callable[[Spins], Spins], perturbation: Spins, label: str) -> Spins:
    """Amplitudes to ``MAX_RESIDUAL``: PySCF's Krylov solver stops before, so what is left is solved again and added."""
    energies, occupations = _by_spin(solver, "mo_energy"), _by_spin(solver, "mo_occ")
    gaps = [e[n == 0][:, None] - e[n > 0] for e, n in zip(energies, occupations, strict=True)]
    amplitudes, remaining, size = [np.zeros_like(h) for h in perturbation], perturbation, 1.0
    for _ in range(MAX_REFINEMENTS):
        try:
            # Scaled, because the solver's thresholds are absolute.
            correction = _krylov(solver, induced, [r / size for r in remaining])
        except RuntimeError:  # what PySCF raises when its cycles are spent
            break
        amplitudes = [u + size * c for u, c in zip(amplitudes, correction, strict=True)]
        remaining = [
            gap * u + v + h for gap, u, v, h in zip(gaps, amplitudes, induced(amplitudes), perturbation, strict=True)
        ]
        size = max(float(np.abs(r).max(initial=0.0)) for r in remaining)
        if size <= MAX_RESIDUAL:
            return amplitudes
    raise ConvergenceError(
        f"{label}: the coupled-perturbed equations of the polarizability did not converge (error {size:.1e}). The SCF "
        "solution may be unstable: check geometry and multiplicity."
    )


def _krylov(solver: Any, induced: Callable[[Spins], Spins], right: Spins) -> Spins:
    shapes = [h.shape[1:] for h in right]
    sizes = [n_virtual * n_occupied for n_virtual, n_occupied in shapes]

    def flat(amplitudes: Array) -> Array:
        vectors = np.split(np.asarray(amplitudes).reshape(-1, sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
        spins = [vector.reshape(-1, *shape) for vector, shape in zip(vectors, shapes, strict=True)]
        return np.concatenate([v.reshape(len(v), -1) for v in induced(spins)], axis=1)

    equations = (flat, solver.mo_energy, solver.mo_occ)
    settings = {"max_cycle": MAX_CYCLE, "tol": TOLERANCE, "verbose": 0}
    if len(right) == 1:
        return [np.asarray(cphf.solve(*equations, right[0], **settings)[0])]
    return [np.asarray(u) for u in ucphf.solve(*equations, right, **settings)[0]]
