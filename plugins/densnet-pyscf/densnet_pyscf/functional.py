"""Which density functionals the plugin accepts, checked before anything is computed.

PySCF reads a functional's name as an arithmetic expression: ``wB97X-2`` becomes "wB97X minus functional number 2" and
``LDA`` exchange without correlation. A label computed that way would be wrong without a word, so such names are
refused here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pyscf.dft import libxc

from densnet_core.errors import InputError, nearest

HARTREE_FOCK = "HF"


def is_hartree_fock(method: str) -> bool:
    """True if ``method`` asks for Hartree-Fock rather than for a density functional."""
    return method.strip().upper() == HARTREE_FOCK


def check_method(method: str) -> None:
    """Raise ``InputError`` unless ``method`` is Hartree-Fock or a functional that PySCF computes completely."""
    if is_hartree_fock(method):
        return
    if re.search(r"[-_]D[234]?(\(?BJ\)?|ZERO)?$", method.strip(), re.IGNORECASE):
        raise InputError(
            f"{method!r} contains a dispersion correction other than D3BJ and D4. Write METHOD-D3BJ or METHOD-D4, or "
            "dispersion = 'd3bj' or 'd4' in a configuration."
        )
    if re.search(r"[+*;()\s]|(^|[,-])\d+(,|$)", method.strip()):
        raise InputError(
            f"{method!r} is not the name of one functional (PySCF would read it as an expression). "
            "Give a name such as PBE or B3LYP, or an exchange and a correlation functional joined by a comma. "
            f"{nearest(method.upper(), _names())}"
        )
    _check_parts(method.strip())


def _check_parts(method: str) -> None:
    try:
        (exact_exchange, *_), parts = libxc.parse_xc(method)
    except (KeyError, ValueError, NotImplementedError, AssertionError):
        raise InputError(
            f"PySCF has no functional {method!r}. {nearest(method.upper(), _names())} "
            "Only Hartree-Fock and density functionals are computed; not MP2, coupled cluster or double hybrids."
        ) from None
    kinds = _kinds()
    found = {kinds.get(int(number), "XC") for number, _ in parts}
    if (not parts and not exact_exchange) or any(factor < 0 for _, factor in parts) or "K" in found:
        raise InputError(f"{method!r} is not an exchange-correlation functional. {nearest(method.upper(), _names())}")
    if "," not in method and not found & {"C", "XC"}:
        raise InputError(
            f"{method!r} is an exchange functional without correlation. Name both, for example "
            f"'{method},VWN', or '{method},' if exchange alone is really meant."
        )


@lru_cache(maxsize=1)
def _kinds() -> dict[int, str]:
    """``X``, ``C``, ``XC`` or ``K`` (kinetic) of every functional number of libxc."""
    kinds = {}
    for name, number in libxc.XC_CODES.items():
        kind = re.search(r"_(XC|X|C|K)(_|$)", name)
        if kind and not isinstance(number, str):
            kinds[int(number)] = kind.group(1)
    return kinds


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    """Names that users type: PySCF's aliases, and those of libxc without the family in front."""
    short = {re.sub(r"^(HYB_)?(LDA|GGA|MGGA)_XC_", "", name) for name in libxc.XC_CODES}
    plain = {name for name in short if not re.match(r"(HYB_)?(LDA|GGA|MGGA)_(X|C|K)", name)}
    return tuple(sorted(plain | set(libxc.XC_ALIAS) | {HARTREE_FOCK}))
