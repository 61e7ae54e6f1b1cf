"""Orders of the real harmonics: the core's, the magnetic one, e3nn's and Psi4's. Converted here and nowhere else.

- core (and PySCF): l = 1 as x, y, z; otherwise m = -l..l;
- magnetic: m = -l..l for every l, so l = 1 is y, z, x. Equivariant networks use it;
- e3nn: its Y_l(x, y, z) are the magnetic set at (z, x, y). Networks therefore hand e3nn the vector (y, z, x), which
  makes e3nn's components the magnetic ones of (x, y, z), and all of e3nn's coupling coefficients hold unchanged;
- QCSchema (CCA): the magnetic order;
- Psi4: m = 0, +1, -1, +2, -2, ..., so l = 1 is z, x, y.

Each function returns an index array ``p`` for ``target = source[..., p]`` within one shell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def from_magnetic_order(l: int) -> Index:  # noqa: E741
    """core = magnetic[p]."""
    return np.array([2, 0, 1]) if l == 1 else np.arange(2 * l + 1)


def to_magnetic_order(l: int) -> Index:  # noqa: E741
    """magnetic = core[p]."""
    return np.argsort(from_magnetic_order(l))


def from_psi4_order(l: int) -> Index:  # noqa: E741
    """core = psi4[p]."""
    magnetic = [0 if m == 0 else 2 * abs(m) - (m > 0) for m in range(-l, l + 1)]
    return np.array(magnetic)[from_magnetic_order(l)]


def to_psi4_order(l: int) -> Index:  # noqa: E741
    """psi4 = core[p]."""
    return np.argsort(from_psi4_order(l))


def from_cca_order(l: int) -> Index:  # noqa: E741
    """core = cca[p]. QCSchema's order of spherical functions (Common Component Architecture) is the magnetic one."""
    return from_magnetic_order(l)


def to_cca_order(l: int) -> Index:  # noqa: E741
    """cca = core[p]."""
    return to_magnetic_order(l)


E3NN_AXES = (1, 2, 0)
"""e3nn's argument is ``vector[..., E3NN_AXES]``: see the module's docstring."""
