"""Density functionals, each by its parts in libxc, so that a name means what it means in other programs.

Psi4's own names are not used: some mean other functionals than the same names of PySCF and libxc do (``svwn``).
science/test_psi4_agreement.py compares every entry with PySCF. Left out for what it showed: SCAN, whose forces no
usable grid makes right in Psi4 1.3 (r2SCAN is there), and HSE06, which differs by 1e-5 hartree in hydroxide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from densnet_core.errors import InputError, nearest

HARTREE_FOCK: Final = "HF"

_PAIRS: Final[Mapping[str, tuple[str, str]]] = {
    "SVWN": ("LDA_X", "LDA_C_VWN"),
    "PBE": ("GGA_X_PBE", "GGA_C_PBE"),
    "revPBE": ("GGA_X_PBE_R", "GGA_C_PBE"),
    "RPBE": ("GGA_X_RPBE", "GGA_C_PBE"),
    "PBEsol": ("GGA_X_PBE_SOL", "GGA_C_PBE_SOL"),
    "BLYP": ("GGA_X_B88", "GGA_C_LYP"),
    "BP86": ("GGA_X_B88", "GGA_C_P86"),
    "OLYP": ("GGA_X_OPTX", "GGA_C_LYP"),
    "PW91": ("GGA_X_PW91", "GGA_C_PW91"),
    "TPSS": ("MGGA_X_TPSS", "MGGA_C_TPSS"),
    "revTPSS": ("MGGA_X_REVTPSS", "MGGA_C_REVTPSS"),
    "rSCAN": ("MGGA_X_RSCAN", "MGGA_C_RSCAN"),
    "r2SCAN": ("MGGA_X_R2SCAN", "MGGA_C_R2SCAN"),
    "M06-L": ("MGGA_X_M06_L", "MGGA_C_M06_L"),
    "M06": ("HYB_MGGA_X_M06", "MGGA_C_M06"),
    "M06-2X": ("HYB_MGGA_X_M06_2X", "MGGA_C_M06_2X"),
}
"""Exchange and correlation; hybrids take their share of exact exchange from the exchange part."""

_WHOLE: Final[Mapping[str, str]] = {
    "B3LYP": "HYB_GGA_XC_B3LYP",
    "B3LYP5": "HYB_GGA_XC_B3LYP5",
    "B3PW91": "HYB_GGA_XC_B3PW91",
    "BHandHLYP": "HYB_GGA_XC_BHANDHLYP",
    "CAM-B3LYP": "HYB_GGA_XC_CAM_B3LYP",
    "PBE0": "HYB_GGA_XC_PBEH",
    "TPSSh": "HYB_MGGA_XC_TPSSH",
    "wB97": "HYB_GGA_XC_WB97",
    "wB97X": "HYB_GGA_XC_WB97X",
    "X3LYP": "HYB_GGA_XC_X3LYP",
}
"""Exchange and correlation in one functional."""


_FINE: Final = frozenset({"rscan", "r2scan"})


def default_radial_points(method: str) -> int:
    """Radial points of the grid that a functional needs for forces that are the derivative of its energy.

    Psi4's gradient lacks the response of the grid. Measured net force on water, hartree/bohr, in def2-SVP and with 590
    angular points: r2SCAN 2e-4 with 99 and 4e-7 with 200 radial points; PBE 2e-6 with 99.
    """
    return 200 if _plain(method) in _FINE else 99


def functional_names() -> list[str]:
    """The names accepted, capitals and hyphens aside."""
    return sorted([*_PAIRS, *_WHOLE], key=str.lower)


def functional_record(method: str) -> dict[str, Any] | None:
    """Psi4's dictionary of a functional; None for Hartree-Fock.

    Raises
    ------
    InputError
        Another method; the message has the nearest names.
    """
    wanted = _plain(method)
    if wanted == HARTREE_FOCK.lower():
        return None
    for name, whole in _WHOLE.items():
        if _plain(name) == wanted:
            return {"name": f"densnet-{name}", "xc_functionals": {whole: {}}}
    for name, (exchange, correlation) in _PAIRS.items():
        if _plain(name) == wanted:
            share = {"use_libxc": True} if exchange.startswith("HYB") else {}
            return {
                "name": f"densnet-{name}",
                "x_functionals": {exchange: share},
                "c_functionals": {correlation: {}},
            }
    raise InputError(
        f"The psi4 backend has no functional {method!r}. {nearest(method, [HARTREE_FOCK, *functional_names()])} "
        "Only Hartree-Fock and these density functionals are computed; not MP2, coupled cluster or double hybrids. "
        "Dispersion is written METHOD-D3BJ or METHOD-D4."
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_]", "", name.strip().lower())
