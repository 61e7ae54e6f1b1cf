"""Geometry optimisation: quasi-Newton from a model Hessian."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import ConvergenceError, InputError
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.spectra.model_hessian import model_hessian
from densnet_core.structures import Structure

Array = NDArray[np.float64]

Calculate: TypeAlias = Callable[[list[Structure]], Sequence[tuple[Any, ...]]]
"""A batch of structures to (energy in hartree, forces (n_atoms, 3) in hartree/bohr, dipole (3,) in e bohr) of each.

A fourth is the polarizability (3, 3) in bohr^3, for those who want Raman activities; it may be None. One call may
compute its structures in any order or in parallel; an executor, a store of finished results or a trained model can
stand behind it. It raises for a calculation that failed.
"""

_MAX_STEP = 0.3  # bohr, largest displacement of one atom
_ENERGY_NOISE = 1e-7  # hartree, an increase that an SCF on a quadrature grid may show at the minimum

log = logging.getLogger(__name__)


def optimise(
    calculate: Calculate, structure: Structure, *, max_force: float = 5e-5, max_calculations: int = 100
) -> Structure:
    """The nearest minimum, by BFGS with steps of at most 0.3 bohr that never go uphill.

    Parameters
    ----------
    calculate : Calculate
        Called with one structure at a time.
    structure : Structure
        Start.
    max_force : float
        Largest Cartesian force component that counts as converged, hartree/bohr.
    max_calculations : int

    Returns
    -------
    Structure
        The centre of mass and the orientation stay those of the start, to first order.

    Raises
    ------
    ConvergenceError
        If the forces are still larger after ``max_calculations``.
    InputError
        If the forces of the start are not finite or have a wrong shape.
    """
    current = structure
    energy, gradient = energy_and_gradient(calculate, current)
    if current.n_atoms == 1:
        return current
    hessian = model_hessian(current)
    max_step = _MAX_STEP
    for count in range(1, max_calculations):
        largest = float(np.abs(gradient).max())
        log.info("optimisation %d: energy %.8f Ha, largest force %.1e Ha/bohr", count, energy, largest)
        if largest <= max_force:
            return current
        step = _newton_step(hessian, gradient, max_step)
        trial = current.with_positions(current.positions + step.reshape(-1, 3))
        trial_energy, trial_gradient = energy_and_gradient(calculate, trial)
        hessian = _updated(hessian, step, trial_gradient - gradient)
        if trial_energy > energy + _ENERGY_NOISE:
            max_step = 0.3 * float(np.linalg.norm(step.reshape(-1, 3), axis=1).max())
            continue
        current, energy, gradient = trial, trial_energy, trial_gradient
        max_step = min(2.0 * max_step, _MAX_STEP)
    raise ConvergenceError(
        f"The geometry of {structure.formula} has forces of {float(np.abs(gradient).max()):.1e} hartree/bohr after "
        f"{max_calculations} calculations; {max_force:.1e} was asked for. Start from a better geometry, allow more "
        "calculations, or accept larger forces."
    )


def _newton_step(hessian: Array, gradient: Array, max_step: float) -> Array:
    step = -np.linalg.solve(hessian, gradient)
    longest = float(np.linalg.norm(step.reshape(-1, 3), axis=1).max())
    return np.asarray(step * min(1.0, max_step / longest))


def _updated(hessian: Array, step: Array, change: Array) -> Array:
    """BFGS update, damped after Powell so that the Hessian stays positive definite where the surface is concave."""
    expected = hessian @ step
    curvature = float(step @ expected)
    overlap = float(step @ change)
    if overlap < 0.2 * curvature:
        share = 0.8 * curvature / (curvature - overlap)
        change = share * change + (1.0 - share) * expected
        overlap = float(step @ change)
    return np.asarray(hessian - np.outer(expected, expected) / curvature + np.outer(change, change) / overlap)


def energy_and_gradient(calculate: Calculate, structure: Structure) -> tuple[float, Array]:
    """Energy in hartree and gradient (3 n_atoms,) without the net force and torque that a quadrature grid leaves.

    Raises
    ------
    InputError
        They are not finite or have a wrong shape.
    """
    energy, forces, *_ = calculate([structure])[0]
    forces = np.asarray(forces, dtype=np.float64)
    if forces.shape != structure.positions.shape or not np.isfinite(forces).all() or not np.isfinite(energy):
        raise InputError(
            f"Expected a finite energy and forces of shape {structure.positions.shape}, got energy {energy} and "
            f"forces of shape {forces.shape}."
        )
    rigid = rigid_body_vectors(np.ones(structure.n_atoms), structure.positions)
    gradient = -forces.ravel()
    return float(energy), gradient - rigid.T @ (rigid @ gradient)
