"""What a self-consistent field says of the state it ended in, kept with every frame that a backend computes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.plugins.quantity import Quantity

Array = NDArray[np.float64]
SPIN_SQUARE: Final = "scf_s_squared"
GAP: Final = "scf_gap"
STABLE: Final = "scf_stable"
SCF_QUANTITIES: Final = {
    name: Quantity(name, unit, "molecule", 0, False, False, summary)
    for name, unit, summary in (
        (SPIN_SQUARE, "1", "<S^2> of the determinant"),
        (GAP, "hartree", "lowest unoccupied minus highest occupied orbital energy of a spin, the smaller of both"),
        (STABLE, "1", "1 where the SCF ended in a minimum of the energy, 0 where a lower solution is next to it"),
    )
}
"""By name; a frame has those that its backend gave."""


def spin_square(alpha: Array, beta: Array, overlap: Array) -> float:
    """<S^2> of a determinant of occupied orbitals (n_basis, n_alpha) and (n_basis, n_beta), n_alpha >= n_beta.

    (n_alpha - n_beta)/2 ((n_alpha - n_beta)/2 + 1) + n_beta - sum_ij |<i|j>|^2 (Szabo and Ostlund, Modern Quantum
    Chemistry, equation 2.271).
    """
    half = (alpha.shape[1] - beta.shape[1]) / 2.0
    return float(half * (half + 1.0) + beta.shape[1] - np.sum((alpha.T @ overlap @ beta) ** 2))


def orbital_gap(energies: Array, occupied: NDArray[np.bool_]) -> float:
    """Lowest unoccupied minus highest occupied energy of (n_spins, n_orbitals), hartree; the smallest of the spins.

    Infinite where a spin has no electron or no empty orbital.
    """
    gaps = [
        float(one[~full].min() - one[full].max())
        for one, full in zip(energies, occupied, strict=True)
        if full.any() and not full.all()
    ]
    return min(gaps, default=float("inf"))
