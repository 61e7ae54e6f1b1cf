"""London dispersion corrections D3(BJ) and D4, by the packages of their authors, the same for every backend.

D3(BJ): Grimme, Ehrlich and Goerigk, J. Comput. Chem. 32, 1456 (2011), two-body terms as in that paper.
D4: Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019), with the three-body term, as published.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError, PluginError
from densnet_core.structures import Structure

Array = NDArray[np.float64]
DispersionKind = Literal["d3bj", "d4"]

PACKAGES: Final[dict[str, str]] = {"d3bj": "dftd3", "d4": "dftd4"}
INSTALL: Final = "pip install 'densnet-core[dispersion]'"

# Names that mean one functional to libxc and Psi4 and another to the tables of damping parameters: what those call
# wb97x, wb97m and b97m are the functionals of wB97X-V, wB97M-V and B97M-V with the non-local part left out (Najibi and
# Goerigk, J. Chem. Theory Comput. 14, 5725, 2018). D4 knows the wB97X of 2008 under a name of its own.
_RENAMED: Final = {("d4", "wb97x"): "wb97x_2008"}
_AMBIGUOUS: Final = frozenset({"wb97", "wb97x", "wb97m", "b97m"})


class Dispersion:
    """Energy and forces of a dispersion correction, with the damping parameters of a functional.

    Parameters
    ----------
    method : str
        The functional (or ``HF``).
    kind : {"d3bj", "d4"}

    Raises
    ------
    InputError
        There are no parameters for the functional, or it contains dispersion already.
    PluginError
        The package is not installed; the message has the line that installs it.
    """

    def __init__(self, method: str, kind: str) -> None:
        if kind not in PACKAGES:
            raise InputError(
                f"There is no dispersion correction {kind!r}; known: {', '.join(get_args(DispersionKind))}."
            )
        self.method, self.kind = method, kind
        self._interface = _interface(kind)
        self._damping = self._parameters()

    def energy_and_forces(self, structure: Structure) -> tuple[float, Array]:
        """Energy, hartree, and forces (n_atoms, 3), hartree/bohr.

        Raises
        ------
        InputError
            The package refuses the structure.
        """
        charge = {"charge": float(structure.charge)} if self.kind == "d4" else {}
        try:
            model = self._interface.DispersionModel(structure.numbers, structure.positions, **charge)
            result = model.get_dispersion(self._damping, grad=True)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{self.kind.upper()} cannot be computed for {structure.formula}: {error}.") from error
        energy, gradient = float(result["energy"]), np.asarray(result["gradient"], dtype=np.float64)
        if not np.isfinite(energy) or not np.isfinite(gradient).all():
            raise InputError(f"{self.kind.upper()} of {structure.formula} is not finite; check elements and geometry.")
        return energy, -gradient

    @property
    def provenance(self) -> dict[str, str]:
        """What the correction was computed with."""
        package = PACKAGES[self.kind]
        return {"dispersion": f"{self.kind.upper()} for {self.method}, {package} {version(package)}"}

    def _parameters(self) -> Any:
        name = self.method.strip().lower()
        described = f"{self.method}-{self.kind.upper()}"
        key = (self.kind, name.replace("-", "").replace("_", ""))
        if "vv10" in key[1] or key[1].removesuffix("v") in _AMBIGUOUS - {key[1]}:
            raise InputError(
                f"{described}: {self.method} contains dispersion already, by its non-local correlation. Leave the "
                "correction out."
            )
        if key[1] in _AMBIGUOUS and key not in _RENAMED:
            raise InputError(
                f"{described}: the published parameters under this name belong to {self.method}-V without its "
                f"non-local part, not to {self.method}. Take another functional, for example PBE0 or B3LYP."
            )
        try:
            if self.kind == "d4":
                return self._interface.DampingParam(method=_RENAMED.get(key, name), atm=True)
            return self._interface.RationalDampingParam(method=name, atm=False)
        except RuntimeError as error:
            raise InputError(
                f"{PACKAGES[self.kind]} has no {self.kind.upper()} parameters for the functional {self.method!r}. "
                "Leave the correction out, or take a functional that has them, such as PBE, PBE0, B3LYP, TPSS or "
                "r2SCAN."
            ) from error


def _interface(kind: str) -> Any:
    package = PACKAGES[kind]
    try:
        return importlib.import_module(f"{package}.interface")
    except ImportError as error:
        raise PluginError(f"The {kind.upper()} correction needs the package {package} ({error}): {INSTALL}") from error
