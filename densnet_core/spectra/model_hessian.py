"""A force field without parameters to fit: the starting Hessian of a geometry optimisation.

Stretch, bend and torsion force constants follow from interatomic distances and covalent radii, for every element
(Swart and Bickelhaupt, Int. J. Quantum Chem. 106, 2536 (2006)). With the screening
rho_ij = exp(1 - r_ij / (R_i + R_j)) they are k = 0.35 rho_ij, 0.15 rho_ij rho_jk and 0.005 rho_ij rho_jk rho_kl
hartree (per bohr^2 or rad^2).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from densnet_core.elements import covalent_radius
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.structures import Structure

Array = NDArray[np.float64]

STRETCH, BEND, TORSION = 0.35, 0.15, 0.005
_MIN_SCREENING = 0.3  # pairs farther apart take part in no angle: about 2.2 times the sum of the radii
_LINEAR_SINE = 0.1
_FLOOR = 0.005  # hartree/bohr^2, for directions that no term reaches


def model_hessian(structure: Structure) -> Array:
    """Approximate Hessian (3 n_atoms, 3 n_atoms) in hartree/bohr^2, positive definite.

    Translations and rotations get 1 hartree/bohr^2: gradients have no component along them.
    """
    positions = structure.positions
    screening = screening_of(structure)
    hessian = _FLOOR * np.eye(positions.size)
    for atoms, gradient, constant in _terms(positions, screening):
        rows = (3 * np.array(atoms)[:, None] + np.arange(3)).ravel()
        hessian[np.ix_(rows, rows)] += constant * np.outer(gradient, gradient)
    rigid = rigid_body_vectors(np.ones(structure.n_atoms), positions)
    vibrational = np.eye(positions.size) - rigid.T @ rigid
    return np.asarray(vibrational @ hessian @ vibrational + rigid.T @ rigid)


def screening_of(structure: Structure) -> Array:
    """(n_atoms, n_atoms) rho_ij; zero on the diagonal."""
    radii = np.array([covalent_radius(int(z)) for z in structure.numbers])
    distances = np.linalg.norm(structure.positions[:, None] - structure.positions[None], axis=-1)
    screening = np.exp(1.0 - distances / (radii[:, None] + radii[None]))
    np.fill_diagonal(screening, 0.0)
    return np.asarray(screening)


def _terms(positions: Array, screening: Array) -> Iterator[tuple[tuple[int, ...], Array, float]]:
    """Atoms, gradient of the internal coordinate (3 per atom) and force constant of every term."""
    n = len(positions)
    for i, j in combinations(range(n), 2):
        direction = positions[i] - positions[j]
        direction = direction / np.linalg.norm(direction)
        yield (i, j), np.concatenate([direction, -direction]), STRETCH * screening[i, j]
    neighbours = [[int(i) for i in np.flatnonzero(screening[j] > _MIN_SCREENING)] for j in range(n)]
    for j in range(n):
        for i, k in combinations(neighbours[j], 2):
            constant = BEND * screening[i, j] * screening[j, k]
            for gradient in bend_gradients(positions[i], positions[j], positions[k]):
                yield (i, j, k), gradient, constant
    for j, k in combinations(range(n), 2):
        if screening[j, k] <= _MIN_SCREENING:
            continue
        for i in neighbours[j]:
            for m in neighbours[k]:
                if len({i, j, k, m}) == 4:
                    torsion = torsion_gradient(*positions[[i, j, k, m]])
                    if torsion is not None:
                        weight = screening[i, j] * screening[j, k] * screening[k, m]
                        yield (i, j, k, m), torsion, TORSION * weight


def bend_gradients(i: Array, j: Array, k: Array) -> list[Array]:
    """Gradient of the angle i-j-k; of the two perpendicular bends if it is straight."""
    u, v = i - j, k - j
    length_u, length_v = float(np.linalg.norm(u)), float(np.linalg.norm(v))
    u, v = u / length_u, v / length_v
    normal = np.cross(u, v)
    sine = float(np.linalg.norm(normal))
    if sine > _LINEAR_SINE:
        normals = [normal / sine]
    else:
        across = np.eye(3)[int(np.argmin(np.abs(u)))]
        first = np.cross(u, across)
        first = first / np.linalg.norm(first)
        normals = [first, np.cross(u, first)]
    gradients = []
    for axis in normals:
        at_i = np.cross(u, axis) / length_u
        at_k = np.cross(axis, v) / length_v
        gradients.append(np.concatenate([at_i, -at_i - at_k, at_k]))
    return gradients


def torsion_gradient(i: Array, j: Array, k: Array, m: Array) -> Array | None:
    """Gradient of the dihedral angle i-j-k-m, None if three of the atoms are on a line."""
    first, axis, last = i - j, k - j, m - k
    normal_a, normal_b = np.cross(first, axis), np.cross(last, axis)
    length = float(np.linalg.norm(axis))
    squared_a, squared_b = float(normal_a @ normal_a), float(normal_b @ normal_b)
    sine_a = np.sqrt(squared_a) / (length * np.linalg.norm(first))
    sine_b = np.sqrt(squared_b) / (length * np.linalg.norm(last))
    if min(sine_a, sine_b) < _LINEAR_SINE:
        return None
    at_i = length / squared_a * normal_a
    at_m = -length / squared_b * normal_b
    share_a = float(first @ axis) / length**2
    share_b = float(last @ axis) / length**2
    # Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996); the two middle atoms take up momentum and angular momentum.
    shared = share_a * at_i + share_b * at_m
    return np.concatenate([at_i, shared - at_i, -shared - at_m, at_m])
