"""Polarizability and first-order orbitals from calculations in small uniform electric fields.

For programs without an analytic response, and to check those that have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceResult

Array = NDArray[np.float64]

FIELD_STEP: Final = 1e-3
"""hartree/(e bohr). The error of the central difference is a third derivative times the square of this, 3e-5 of the
polarizability of water; that of the SCF is divided by it, so converge the density to 1e-8."""


def field_response(
    in_field: Callable[[Array], ReferenceResult],
    orbitals: Array,
    occupations: Array,
    n_alpha: int,
    overlap: Array,
    step: float = FIELD_STEP,
) -> tuple[Array, Array]:
    """Polarizability and first-order orbitals by central differences.

    Parameters
    ----------
    in_field : callable
        The calculation in a field (3,), hartree/(e bohr), with H = H_0 - F . dipole. Only dipole, orbitals and
        occupations of what it returns are used; it is called six times.
    orbitals : (n_basis, n_occupied)
        Without the field; alpha then beta if unrestricted.
    occupations : (n_occupied,)
        2 for every orbital of a restricted calculation, 1 for every one of an unrestricted.
    n_alpha : int
        Alpha orbitals of an unrestricted calculation.
    overlap : (n_basis, n_basis)
        Of the orbital basis.
    step : float
        Size of the field.

    Returns
    -------
    polarizability : (3, 3)
        bohr^3, symmetrised.
    response : (3, n_basis, n_occupied)
        As ``ReferenceResult.response``.

    Raises
    ------
    InputError
        The calculations in the field have other numbers of orbitals.

    Notes
    -----
    Orbitals of two calculations differ by a rotation among themselves, density matrices do not. The first-order
    density matrix D of one spin couples occupied with virtual orbitals only, so D S C is the first-order change of C
    that is orthogonal to C.
    """
    restricted = bool((occupations == 2.0).all())
    spins = [slice(None)] if restricted else [slice(0, n_alpha), slice(n_alpha, None)]
    polarizability, response = np.empty((3, 3)), np.empty((3, *orbitals.shape))
    for axis, direction in enumerate(np.eye(3)):
        plus, minus = in_field(step * direction), in_field(-step * direction)
        if plus.orbitals.shape != orbitals.shape or minus.orbitals.shape != orbitals.shape:
            raise InputError(
                f"Orbitals in a field have shape {plus.orbitals.shape} and {minus.orbitals.shape}, without it "
                f"{orbitals.shape}; the electronic state must stay the same."
            )
        polarizability[:, axis] = (plus.dipole - minus.dipole) / (2.0 * step)
        for spin in spins:
            occupied, up, down = orbitals[:, spin], plus.orbitals[:, spin], minus.orbitals[:, spin]
            metric = overlap @ occupied
            change = (up @ (up.T @ metric) - down @ (down.T @ metric)) / (2.0 * step)
            response[axis][:, spin] = change - occupied @ (metric.T @ change)
    return 0.5 * (polarizability + polarizability.T), response
