"""Conversion factors between Hartree atomic units and the units of files and other programs.

Everything inside DenSNet is in atomic units; multiply by these factors only at an edge (a file, a plot, OpenMM,
the command line). Values are CODATA 2018 (https://physics.nist.gov/cuu/Constants).
"""

from typing import Final

BOHR_TO_ANGSTROM: Final = 0.529177210903
BOHR_TO_NANOMETER: Final = BOHR_TO_ANGSTROM / 10.0
HARTREE_TO_EV: Final = 27.211386245988
HARTREE_TO_KJ_PER_MOL: Final = 2625.4996394799
HARTREE_TO_KCAL_PER_MOL: Final = HARTREE_TO_KJ_PER_MOL / 4.184
HARTREE_TO_WAVENUMBER: Final = 219474.63136320
"""Hartree to cm^-1."""
EV_PER_ANGSTROM: Final = HARTREE_TO_EV / BOHR_TO_ANGSTROM
"""Hartree per bohr to electronvolt per angstrom."""
KJ_PER_MOL_NANOMETER: Final = HARTREE_TO_KJ_PER_MOL / BOHR_TO_NANOMETER
"""Hartree per bohr to kJ/mol per nanometer."""
HARTREE_PER_CUBIC_BOHR_TO_BAR: Final = 2.94210156965e8
AU_TO_DEBYE: Final = 2.541746473
"""Electric dipole moment, e bohr to debye."""
ATOMIC_TIME_TO_FEMTOSECOND: Final = 0.024188843265857
DALTON_TO_ELECTRON_MASS: Final = 1822.888486209
BOLTZMANN: Final = 3.1668115634556e-6
"""Boltzmann constant, hartree per kelvin."""
SPEED_OF_LIGHT_CM_PER_SECOND: Final = 2.99792458e10
FINE_STRUCTURE: Final = 7.2973525693e-3
