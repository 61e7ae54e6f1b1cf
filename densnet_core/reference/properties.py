"""Densities other than the total one, written as orbitals and occupations that every backend can project.

The spin density is the difference of alpha and beta orbitals. The first-order density in a field is a difference of
squares: 2 n phi phi' = n/2 (phi + phi')^2 - n/2 (phi - phi')^2. So a backend needs no projection but that of a density
with occupations of either sign.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.reference.base import ReferenceResult
from densnet_core.structures import Structure

Array = NDArray[np.float64]
Quantity = Literal["density", "density_response", "spin_density"]
QUANTITIES: Final[tuple[Quantity, ...]] = ("density", "density_response", "spin_density")
"""What can be projected on a density basis."""


def density_orbitals(structure: Structure, result: ReferenceResult, quantity: Quantity) -> tuple[Array, Array]:
    """Orbitals and occupations of a density, for ``ReferenceBackend.project``.

    Parameters
    ----------
    structure : Structure
    result : ReferenceResult
    quantity : {"density", "density_response", "spin_density"}

    Returns
    -------
    orbitals : (n_basis, n_orbitals)
    occupations : (n_orbitals,), or (3, n_orbitals) for the response
        One row for each direction of the field.

    Raises
    ------
    InputError
        The result has no response, or the quantity is unknown.
    """
    if quantity == "density":
        return result.orbitals, result.occupations
    if quantity == "spin_density":
        return result.orbitals, result.occupations * spins(structure, result.occupations)
    if quantity != "density_response":
        raise InputError(f"{quantity!r} is no density; known: {', '.join(QUANTITIES)}.")
    if result.response is None:
        raise InputError(
            f"The result of {structure.formula} has no response to a field. Compute it with "
            "properties = ['density_response']."
        )
    pieces = [result.orbitals + sign * change for change in result.response for sign in (1.0, -1.0)]
    half = 0.5 * result.occupations
    occupations = np.kron(np.eye(3), np.concatenate([half, -half]))
    return np.hstack(pieces), occupations


def spins(structure: Structure, occupations: Array) -> Array:
    """(n_occupied,) of +1 for an alpha orbital, -1 for a beta one, 0 for a doubly occupied one."""
    occupations = np.asarray(occupations)
    if (occupations == 2.0).all():
        return np.zeros(occupations.size)
    return np.where(np.arange(occupations.size) < structure.n_alpha, 1.0, -1.0)


def electrons_of(structure: Structure, quantity: Quantity) -> float:
    """Integral of a density: the electrons, those unpaired, or none for a response."""
    return {
        "density": float(structure.n_electrons),
        "density_response": 0.0,
        "spin_density": float(structure.multiplicity - 1),
    }[quantity]
