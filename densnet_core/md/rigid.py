"""Overall translation and rotation of a molecule as vectors in mass-weighted coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError

Array = NDArray[np.float64]

LINEAR_TOLERANCE = 1e-3


def rigid_body_vectors(
    masses: Array, positions: Array, linear_tolerance: float = LINEAR_TOLERANCE, *, linear: bool = False
) -> Array:
    """Orthonormal basis of the infinitesimal translations and rotations, mass-weighted.

    The mass-weighted displacement of atom A is sqrt(m_A) delta_A, so that the projection of mass-weighted velocities
    on these vectors is the motion of the centre of mass and the rotation, and the remainder has neither
    (Wilson, Decius, Cross, Molecular Vibrations, section 2-1).

    Parameters
    ----------
    masses : (n_atoms,)
        Any unit.
    positions : (n_atoms, 3)
        Any unit.
    linear_tolerance : float
        A rotation is left out if its radius of gyration is below this fraction of the largest one: the rotation of a
        linear molecule about its axis, and every rotation of an atom.
    linear : bool
        The molecule is linear where it rests, see ``is_linear``: however it is bent here, the rotation of the smallest
        moment of inertia is left out, because that motion is one of its vibrations.

    Returns
    -------
    (n_rigid, 3 n_atoms)
        n_rigid is 6, 5 for a linear molecule, 3 for one atom.

    Raises
    ------
    InputError
        If the shapes disagree or a mass is not positive.
    """
    masses = np.asarray(masses, dtype=np.float64)
    positions = np.asarray(positions, dtype=np.float64)
    if masses.ndim != 1 or positions.shape != (masses.size, 3):
        raise InputError(
            f"Masses of shape {masses.shape} and positions of shape {positions.shape} do not belong together; "
            "expected (n_atoms,) and (n_atoms, 3)."
        )
    if not (masses > 0).all():
        raise InputError(f"Masses must be positive: {masses}.")
    roots = np.sqrt(masses)
    centred = positions - masses @ positions / masses.sum()
    translations = np.einsum("a,ij->iaj", roots / np.sqrt(masses.sum()), np.eye(3)).reshape(3, -1)
    rotations = (roots[:, None] * np.cross(np.eye(3)[:, None, :], centred)).reshape(3, -1)
    # The singular values are the square roots of the principal moments of inertia, the right singular vectors the
    # rotations about the principal axes.
    _, sizes, axes = np.linalg.svd(rotations, full_matrices=False)
    # Without the second condition an atom, whose rotations are rounding noise, would have three of them.
    extent = np.sqrt(masses.sum()) * max(float(np.abs(positions).max()), 1.0)
    real = (sizes > linear_tolerance * sizes[0]) & (sizes > 1e-10 * extent)
    if linear:
        real[2] = False
    return np.vstack([translations, axes[real]])


def is_linear(masses: Array, positions: Array) -> bool:
    """Whether a molecule has two rotations; ask at its minimum, heat bends every molecule."""
    return len(rigid_body_vectors(masses, positions)) == 5


def vibrational_degrees_of_freedom(masses: Array, positions: Array) -> int:
    """3 n_atoms minus translations and rotations: 3N-6, 3N-5 for a linear molecule, 0 for an atom."""
    return 3 * len(masses) - len(rigid_body_vectors(masses, positions))
