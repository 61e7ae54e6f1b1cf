"""Thermal starting velocities, removal of overall motion, and the kinetic temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.units import BOLTZMANN, DALTON_TO_ELECTRON_MASS

Array = NDArray[np.float64]


def thermal_velocities(
    masses: Array,
    positions: Array,
    temperature: float,
    seed: int,
    *,
    linear: bool = False,
    keep_overall_motion: bool = False,
) -> Array:
    """Maxwell-Boltzmann velocities for every replica of a molecule.

    Parameters
    ----------
    masses : (n_atoms,) or (n_replicas, n_atoms)
        Dalton.
    positions : (n_replicas, n_atoms, 3)
        Bohr.
    temperature : float
        Kelvin, not negative.
    seed : int
        Seed of the random numbers; equal seeds give equal velocities.
    linear : bool
        The molecule is linear at its minimum, see ``remove_overall_motion``.
    keep_overall_motion : bool
        By default translation and rotation of each replica are taken out. That is an orthogonal projection in
        mass-weighted coordinates, so the vibrations are left exactly thermal and nothing is rescaled.

    Returns
    -------
    (n_replicas, n_atoms, 3)
        Bohr per atomic unit of time.
    """
    masses, positions = _checked(masses, positions)
    if not (np.isfinite(temperature) and temperature >= 0):
        raise InputError(f"The temperature must be zero or positive, not {temperature} K.")
    spread = np.sqrt(BOLTZMANN * temperature / (masses * DALTON_TO_ELECTRON_MASS))
    velocities = np.random.default_rng(seed).standard_normal(positions.shape) * spread[..., None]
    return velocities if keep_overall_motion else remove_overall_motion(velocities, masses, positions, linear)


def remove_overall_motion(velocities: Array, masses: Array, positions: Array, linear: bool = False) -> Array:
    """Velocities without linear and angular momentum of each replica.

    Parameters
    ----------
    velocities, positions : (n_replicas, n_atoms, 3)
    masses : (n_atoms,) or (n_replicas, n_atoms)
        Dalton.
    linear : bool
        The molecule is linear at its minimum (``densnet_core.md.rigid.is_linear``): it has five rigid motions wherever
        its vibrations bend it. Taking out a sixth would take energy out of the bends.

    Returns
    -------
    (n_replicas, n_atoms, 3)
        The velocities with the least change (mass-weighted) that have neither momentum; of a bent replica of a linear
        molecule the small angular momentum about its long axis stays.
    """
    masses, positions = _checked(masses, positions)
    velocities = np.asarray(velocities, dtype=np.float64)
    if velocities.shape != positions.shape:
        raise InputError(f"Velocities have shape {velocities.shape}, positions {positions.shape}; they must agree.")
    result = np.empty_like(velocities)
    for replica, (own, velocity, position) in enumerate(zip(masses, velocities, positions, strict=True)):
        # Replicas of other molecules are linear by chance only, so nothing but exact linearity counts for them.
        rigid = rigid_body_vectors(own, position, linear_tolerance=1e-6, linear=linear)
        roots = np.sqrt(own)[:, None]
        weighted = (roots * velocity).ravel()
        # Twice, because the first projection leaves a rounding error relative to what it removed.
        for _ in range(2):
            weighted = weighted - rigid.T @ (rigid @ weighted)
        result[replica] = weighted.reshape(-1, 3) / roots
    return result


def kinetic_energy(velocities: Array, masses: Array) -> Array:
    """Kinetic energy in hartree, (...,), of velocities (..., n_atoms, 3) in atomic units and masses (..., n_atoms) in
    dalton."""
    weights = 0.5 * DALTON_TO_ELECTRON_MASS * np.asarray(masses, dtype=np.float64)
    return np.asarray(np.einsum("...ai,...ai,...a->...", velocities, velocities, weights))


def kinetic_temperature(kinetic_energies: Array | float, degrees_of_freedom: int) -> float:
    """Temperature in kelvin of the mean of kinetic energies.

    Parameters
    ----------
    kinetic_energies : (...)
        Hartree, each the sum over ``degrees_of_freedom``; the mean is taken over all elements.
    degrees_of_freedom : int
        For n_replicas molecules without overall motion n_replicas (3 n_atoms - 6), see
        ``densnet_core.md.rigid.vibrational_degrees_of_freedom``.
    """
    if degrees_of_freedom < 1:
        raise InputError(f"A temperature needs at least one degree of freedom, not {degrees_of_freedom}.")
    return float(2.0 * np.mean(kinetic_energies) / (BOLTZMANN * degrees_of_freedom))


def _checked(masses: Array, positions: Array) -> tuple[Array, Array]:
    """Masses (n_replicas, n_atoms) and positions, as float64."""
    masses = np.asarray(masses, dtype=np.float64)
    positions = np.asarray(positions, dtype=np.float64)
    if (
        positions.ndim != 3
        or positions.shape[2] != 3
        or masses.shape not in (positions.shape[1:2], positions.shape[:2])
    ):
        raise InputError(
            f"Expected masses (n_atoms,) or (n_replicas, n_atoms) and positions (n_replicas, n_atoms, 3), not "
            f"{masses.shape} and {positions.shape}."
        )
    if not (masses > 0).all():
        raise InputError(f"Masses must be positive: {masses}.")
    return np.broadcast_to(masses, positions.shape[:2]), positions
