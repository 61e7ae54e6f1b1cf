"""Moments of reference densities that fits hold exactly: the labels of a frame, or else those of its orbitals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from densnet_core.basis.base import GaussianBasis
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.method import Moment
from densnet_core.errors import DataError
from densnet_core.reference.properties import density_orbitals
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Array
from densnet_core.units import AU_TO_DEBYE

QUADRATURE: Final = (80, 41)
"""Radial points and degree, where a label is missing: 2e-6 e bohr in the dipole of ethanol, PBE/aug-cc-pVDZ."""
SUSPECT: Final = 0.1
"""e bohr: a fit that holds the charge alone is hardly ever as far from the dipole; the label is then looked at."""
DIFFERENT: Final = 0.02
"""e bohr: how far the dipole of a frame may be from that of its orbitals."""
SUSPECT_RESPONSE: Final = 0.2
DIFFERENT_RESPONSE: Final = 0.02
"""The same of polarizabilities, as parts of their largest component."""


def reference_moments(store: ReferenceStore, index: int, held: tuple[Moment, ...]) -> tuple[Array | None, Array | None]:
    """Dipole (3,), e bohr, and second moments (3, 3), e bohr^2, of nuclei and electrons of a frame, as far as held.

    Raises
    ------
    DataError
        The frame has neither the label nor orbitals.
    """
    labels, dipole, second_moments = store.labels(index), None, None
    if "dipole" in held:
        if "dipole" in labels:
            dipole = store.result(index, labels=("dipole",)).dipole
        else:
            dipole = _density(store, index).dipole(*QUADRATURE)
    if "quadrupole" in held:
        if "quadrupole" in labels:
            second_moments = store.result(index, labels=("quadrupole",)).quadrupole
        else:
            second_moments = _density(store, index).second_moments(*QUADRATURE)
    return dipole, second_moments


def response_dipoles(store: ReferenceStore, index: int) -> Array:
    """Integrals of r times the first-order densities of a frame, (3, 3): a row for each direction of the field.

    Minus the polarizability, or from the orbitals where there is none.
    """
    if "polarizability" in store.labels(index):
        recorded = store.result(index, labels=("polarizability",)).polarizability
        if recorded is not None:
            return -np.asarray(recorded).T
    return _orbital_response_dipoles(store, index)


def check_response(store: ReferenceStore, index: int, dipoles: Array, missed: Array) -> None:
    """Refuse a polarizability that is not that of the frame's first-order orbitals: of other units or sign.

    Parameters
    ----------
    dipoles : (3, 3)
        ``response_dipoles`` of the frame.
    missed : (3,)
        ``DensityFit.missed`` of the dipoles of the three fits. The orbitals are evaluated only if it gives reason to.

    Raises
    ------
    DataError
        Saying which frame, and the means of both polarizabilities.
    """
    if "polarizability" not in store.labels(index):
        return
    recorded = -dipoles
    size = float(np.abs(recorded).max())
    if not float(np.abs(missed).max()) > SUSPECT_RESPONSE * size:
        return
    found = -_orbital_response_dipoles(store, index)
    if np.abs(found - recorded).max() > DIFFERENT_RESPONSE * size:
        there, here = (float(np.trace(one)) / 3.0 for one in (recorded, found))
        raise DataError(
            f"Frame {index} of {store.path} has a polarizability of {there:.3f} bohr^3 (mean), its first-order "
            f"orbitals have {here:.3f}. A fit holds that of the frame, so it must be the one of the orbitals: "
            "derivatives in a field F of H_0 - F . mu, in atomic units. Import the frames anew with the right ones, or "
            "without polarizabilities."
        )


def _orbital_response_dipoles(store: ReferenceStore, index: int) -> Array:
    structure = store.structure(index)
    result = store.result(index, labels=("orbitals", "occupations", "response"))
    orbitals, occupations = density_orbitals(structure, result, "density_response")
    nuclei = structure.numbers @ structure.positions
    basis = _orbital_basis_of(store)
    return np.stack(
        [nuclei - OrbitalDensity(structure, basis, orbitals, row).dipole(*QUADRATURE) for row in occupations]
    )


def check_dipole(store: ReferenceStore, index: int, missed: Mapping[str, float]) -> None:
    """Refuse a dipole that is not that of the frame's orbitals: of other units, sign or origin.

    Parameters
    ----------
    missed : mapping
        ``DensityFit.missed``. The orbitals are evaluated only where it gives reason to.

    Raises
    ------
    DataError
        Saying which frame, and both dipoles.
    """
    if missed.get("dipole", 0.0) < SUSPECT or "dipole" not in store.labels(index):
        return
    recorded = store.result(index, labels=("dipole",)).dipole
    if "orbitals" not in store.labels(index):
        raise DataError(
            f"Frame {index} of {store.path} has a dipole that is {missed['dipole']:.2g} e bohr from that of its "
            "coefficients. Probably the functions of the coefficients are ordered or normalised otherwise, or the "
            "dipole has another unit, sign or origin. Import the frames without one of the two."
        )
    found = _density(store, index).dipole(*QUADRATURE)
    if np.linalg.norm(found - recorded) > DIFFERENT:
        there, here = (np.array2string(vector * AU_TO_DEBYE, precision=3) for vector in (recorded, found))
        raise DataError(
            f"Frame {index} of {store.path} has the dipole {there} debye, its orbitals have {here}. A fit holds the "
            "dipole of the frame, so it must be that of the orbitals: in e bohr (or the unit that the file names), "
            "sum Z R - integral r rho, and of an ion about the origin of the coordinates. Import the frames anew with "
            "the right dipoles, or with none."
        )


def _density(store: ReferenceStore, index: int) -> OrbitalDensity:
    if "orbitals" not in store.labels(index):
        raise DataError(
            f"Frame {index} of {store.path} has neither the moment that a fit is to hold exactly nor orbitals to "
            'compute it from. Let the fit hold the charge alone: exact = "charge" in [basis], or --exact charge.'
        )
    result = store.result(index, labels=("orbitals", "occupations"))
    return OrbitalDensity(store.structure(index), _orbital_basis_of(store), result.orbitals, result.occupations)


def _orbital_basis_of(store: ReferenceStore) -> GaussianBasis:
    if (basis := store.orbital_basis) is None:
        raise DataError(f"{store.path} has no orbitals, so the moments of its densities are not known.")
    return basis
