"""Symbols, standard atomic weights and covalent radii of the elements 1 to 86, and the isotopes of hydrogen."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

from densnet_core.errors import InputError, nearest
from densnet_core.units import BOHR_TO_ANGSTROM

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn"
)
SYMBOLS: Final[tuple[str, ...]] = tuple(_SYMBOLS.split())

# IUPAC abridged standard atomic weights 2021 (doi 10.1515/pac-2019-0603); mass number of the longest-lived isotope
# for elements without one.
WEIGHTS: Final[tuple[float, ...]] = (
    *(0.0, 1.008, 4.0026, 6.94, 9.0122, 10.81, 12.011, 14.007, 15.999, 18.998, 20.180, 22.990, 24.305, 26.982),
    *(28.085, 30.974, 32.06, 35.45, 39.95, 39.098, 40.078, 44.956, 47.867, 50.942, 51.996, 54.938, 55.845, 58.933),
    *(58.693, 63.546, 65.38, 69.723, 72.630, 74.922, 78.971, 79.904, 83.798, 85.468, 87.62, 88.906, 91.224, 92.906),
    *(95.95, 97.0, 101.07, 102.91, 106.42, 107.87, 112.41, 114.82, 118.71, 121.76, 127.60, 126.90, 131.29, 132.91),
    *(137.33, 138.91, 140.12, 140.91, 144.24, 145.0, 150.36, 151.96, 157.25, 158.93, 162.50, 164.93, 167.26, 168.93),
    *(173.05, 174.97, 178.49, 180.95, 183.84, 186.21, 190.23, 192.22, 195.08, 196.97, 200.59, 204.38, 207.2, 208.98),
    *(209.0, 210.0, 222.0),
)

# Covalent radii in angstrom: Cordero et al., Dalton Trans. 2008, 2832 (doi 10.1039/b801115j); sp3 carbon, and for Mn,
# Fe and Co the high-spin values.
RADII: Final[tuple[float, ...]] = (
    *(0.0, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07, 1.05, 1.02, 1.06),
    *(2.03, 1.76, 1.70, 1.60, 1.53, 1.39, 1.61, 1.52, 1.50, 1.24, 1.32, 1.22, 1.22, 1.20, 1.19, 1.20, 1.20, 1.16),
    *(2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.40),
    *(2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87),
    *(1.75, 1.70, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.40, 1.50, 1.50),
)

# Spin multiplicities of the ground states of neutral atoms, H to Xe: NIST Atomic Spectra Database, ground levels.
MULTIPLICITIES: Final[tuple[int, ...]] = (
    *(0, 2, 1, 2, 1, 2, 3, 4, 3, 2, 1, 2, 1, 2, 3, 4, 3, 2, 1, 2, 1),
    *(2, 3, 4, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4, 3, 2, 1, 2, 1),
    *(2, 3, 6, 7, 6, 5, 4, 1, 2, 1, 2, 3, 4, 3, 2, 1),
)


# Isotopes of hydrogen that geometry files name, dalton: Atomic Mass Evaluation 2012, Wang et al., Chin. Phys. C 36
# (2012) 1603, as in NIST's table of atomic weights and isotopic compositions.
DEUTERIUM: Final = 2.01410177812
TRITIUM: Final = 3.01604928
_ISOTOPES: Final = {"D": DEUTERIUM, "T": TRITIUM, "2H": DEUTERIUM, "3H": TRITIUM}
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def symbol(number: int) -> str:
    """Symbol of an atomic number; ``InputError`` outside 1 to 86."""
    if not 1 <= number < len(SYMBOLS):
        raise InputError(f"Atomic number {number} is not between 1 and {len(SYMBOLS) - 1}.")
    return SYMBOLS[number]


def atomic_number(name: str) -> int:
    """Atomic number of a symbol such as ``"C"`` (capitalisation is ignored); ``InputError`` if there is none."""
    wanted = name.strip().capitalize()
    if wanted in SYMBOLS[1:]:
        return SYMBOLS.index(wanted)
    raise InputError(f"There is no element {name!r}. {nearest(wanted, SYMBOLS[1:])}")


def nuclide(name: str) -> tuple[int, float | None]:
    """Atomic number and isotopic mass of an atom as files name it.

    That is a symbol, ``D``, ``T``, ``2H``, ``3H``, or an atomic number. The mass (dalton) is None for an element, which
    has its standard weight; ``InputError`` if there is no such atom.
    """
    text = name.strip()
    if _NUMBER.fullmatch(text):
        symbol(int(text))
        return int(text), None
    isotope = _ISOTOPES.get(text.upper())
    return (1, isotope) if isotope is not None else (atomic_number(name), None)


def nuclide_symbol(number: int, mass: float) -> str:
    """The symbol of an element, or ``D`` or ``T`` for hydrogen of exactly that isotope's mass."""
    heavy = {DEUTERIUM: "D", TRITIUM: "T"}
    return heavy.get(mass, "H") if number == 1 else symbol(number)


def hill_formula(numbers: Iterable[int]) -> str:
    """Formula of atoms given by atomic number in Hill's order, for example ``C2H6O``."""
    counts = Counter(symbol(int(z)) for z in numbers)
    first = ["C", "H"] if "C" in counts else []
    order = [*first, *sorted(set(counts) - set(first))]
    return "".join(name + (str(counts[name]) if counts[name] > 1 else "") for name in order if name in counts)


def refuse_unknown(what: str, numbers: Iterable[int], known: Collection[int]) -> None:
    """``InputError`` naming the elements among ``numbers`` that ``what`` (a model, a potential) was not made for."""
    if unknown := sorted(set(numbers) - set(known)):
        names, have = (" ".join(symbol(z) for z in elements) for elements in (unknown, known))
        raise InputError(f"{what} does not know {names}; it was made for {have}.")


def atomic_weight(number: int) -> float:
    """Standard atomic weight in dalton."""
    symbol(number)
    return WEIGHTS[number]


def covalent_radius(number: int) -> float:
    """Covalent radius in bohr."""
    symbol(number)
    return RADII[number] / BOHR_TO_ANGSTROM


def ground_multiplicity(number: int) -> int:
    """Spin multiplicity 2S+1 of the ground state of the neutral atom; ``InputError`` beyond xenon."""
    name = symbol(number)
    if number >= len(MULTIPLICITIES):
        raise InputError(f"The ground state of {name} is not in the table (H to Xe); give the energy of the atom.")
    return MULTIPLICITIES[number]
