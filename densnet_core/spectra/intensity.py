"""What turns fluctuations of dipole and polarizability in atomic units into intensities."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.units import BOHR_TO_ANGSTROM, DALTON_TO_ELECTRON_MASS, FINE_STRUCTURE

AVOGADRO: Final = 6.02214076e23
"""Per mole (exact, SI 2019)."""

_PI: Final = 3.141592653589793
_BOHR_TO_KILOMETRE: Final = BOHR_TO_ANGSTROM * 1e-13
_BOHR_TO_CENTIMETRE: Final = BOHR_TO_ANGSTROM * 1e-8
_CENTIMETRE_TO_KILOMETRE: Final = 1e-5

SQUARED_DIPOLE_DERIVATIVE_TO_KM_PER_MOL: Final = AVOGADRO * _PI * FINE_STRUCTURE**2 / 3.0 * _BOHR_TO_KILOMETRE
"""Integrated intensity of a normal mode, km/mol, per |d mu / d Q|^2 in e^2 / electron mass.

A = N_A |d mu / d Q|^2 / (12 eps0 c^2), with 4 pi eps0 = 1 and c = 1 / alpha (for example Neugebauer et al.,
J. Comput. Chem. 23, 895 (2002)).
"""

FLUX_SPECTRUM_TO_KM_PER_MOL: Final = (
    AVOGADRO * 2.0 * _PI * FINE_STRUCTURE / 3.0 * _BOHR_TO_CENTIMETRE**2 * _CENTIMETRE_TO_KILOMETRE
)
"""N_A sigma in km/mol per cm^-1, per (1 / kT) integral <mu_dot(0) . mu_dot(t)> exp(-i omega t) dt in atomic units.

sigma = 1 / (6 eps0 c kT) times that integral (Thomas et al., Phys. Chem. Chem. Phys. 15, 6608 (2013),
per molecule); the factor contains the harmonic quantum correction.
"""

SQUARED_POLARIZABILITY_DERIVATIVE_TO_ANGSTROM4_PER_DALTON: Final = BOHR_TO_ANGSTROM**4 * DALTON_TO_ELECTRON_MASS
"""Of (d alpha / d Q)^2 in bohr^4 / electron mass."""


def mean_and_rest(tensors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (...) of the diagonals of tensors (..., 3, 3), and their symmetric traceless parts (..., 3, 3)."""
    mean = np.trace(tensors, axis1=-2, axis2=-1) / 3.0
    return mean, 0.5 * (tensors + np.swapaxes(tensors, -2, -1)) - mean[..., None, None] * np.eye(3)
