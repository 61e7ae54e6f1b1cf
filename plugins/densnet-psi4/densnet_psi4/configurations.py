"""Ground-state configurations of spherical, spin-restricted atoms: the electrons of each angular momentum.

Lehtola, Phys. Rev. A 101, 012516 (2020): fully numerical calculations of the elements, with Hartree-Fock and with
density functionals. Most follow the order of filling of the periodic table; the others are listed.
"""

from __future__ import annotations

from typing import Final

_FILLING: Final = (0, 0, 1, 0, 1, 0, 2, 1, 0, 2, 1, 0, 3, 2, 1)
"""Angular momenta of 1s 2s 2p 3s 3p 4s 3d 4p 5s 4d 5p 6s 4f 5d 6p."""

_HARTREE_FOCK: Final[dict[int, tuple[int, int, int, int]]] = {
    21: (8, 13, 0, 0),
    25: (6, 12, 7, 0),
    26: (6, 12, 8, 0),
    27: (6, 12, 9, 0),
    28: (6, 12, 10, 0),
    29: (7, 12, 10, 0),
    39: (10, 19, 10, 0),
    42: (8, 18, 16, 0),
    43: (8, 18, 17, 0),
    44: (8, 18, 18, 0),
    45: (8, 18, 19, 0),
    46: (8, 18, 20, 0),
    47: (9, 18, 20, 0),
    57: (12, 24, 21, 0),
    58: (12, 24, 22, 0),
    59: (12, 24, 21, 2),
    64: (11, 24, 20, 9),
    65: (10, 24, 20, 11),
    66: (10, 24, 20, 12),
    67: (10, 24, 20, 13),
    68: (10, 24, 20, 14),
    69: (11, 24, 20, 14),
    71: (12, 25, 20, 14),
    74: (10, 24, 26, 14),
    75: (10, 24, 27, 14),
    76: (10, 24, 28, 14),
    77: (10, 24, 29, 14),
    78: (10, 24, 30, 14),
    79: (11, 24, 30, 14),
}
_KOHN_SHAM: Final[dict[int, tuple[int, int, int, int]]] = {
    25: (7, 12, 6, 0),
    26: (7, 12, 7, 0),
    27: (7, 12, 8, 0),
    28: (7, 12, 9, 0),
    29: (7, 12, 10, 0),
    42: (9, 18, 15, 0),
    43: (9, 18, 16, 0),
    44: (8, 18, 18, 0),
    45: (8, 18, 19, 0),
    46: (8, 18, 20, 0),
    47: (9, 18, 20, 0),
    74: (11, 24, 25, 14),
    75: (11, 24, 26, 14),
    76: (10, 24, 28, 14),
    77: (10, 24, 29, 14),
    78: (10, 24, 30, 14),
    79: (11, 24, 30, 14),
}


def electrons_per_l(number: int, hartree_fock: bool) -> tuple[int, int, int, int]:
    """Electrons with l = 0, 1, 2, 3 of the neutral atom, up to radon."""
    exceptions = _HARTREE_FOCK if hartree_fock else _KOHN_SHAM
    if number in exceptions:
        return exceptions[number]
    counts, left = [0, 0, 0, 0], number
    for momentum in _FILLING:
        placed = min(left, 2 * (2 * momentum + 1))
        counts[momentum] += placed
        left -= placed
    return counts[0], counts[1], counts[2], counts[3]
