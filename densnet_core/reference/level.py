"""What is computed: the level of theory, and the properties beyond energy and forces; light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from densnet_core.errors import InputError

Property = Literal["quadrupole", "polarizability", "density_response", "spin_density"]
PROPERTIES: Final[tuple[Property, ...]] = ("quadrupole", "polarizability", "density_response", "spin_density")
"""What may be asked of a backend beyond energy, forces, dipole and orbitals; also the words of its capabilities."""


@dataclass(frozen=True)
class LevelOfTheory:
    """What was computed: method (a density functional or ``HF``) and orbital basis, plus dispersion if any."""

    method: str
    basis: str
    dispersion: str | None = None

    @classmethod
    def parse(cls, text: str) -> LevelOfTheory:
        """From ``"PBE/aug-cc-pVDZ"`` or ``"PBE-D4/def2-SVP"`` (the part after the last hyphen, if D3BJ or D4)."""
        method, slash, basis = text.partition("/")
        if not slash or not method.strip() or not basis.strip():
            raise InputError(f"Level of theory {text!r} is not of the form METHOD/BASIS, for example PBE/aug-cc-pVDZ.")
        head, hyphen, tail = method.strip().rpartition("-")
        if hyphen and tail.upper() in ("D3BJ", "D4"):
            return cls(head, basis.strip(), tail.lower())
        return cls(method.strip(), basis.strip())

    def __str__(self) -> str:
        return f"{self.method}{'-' + self.dispersion.upper() if self.dispersion else ''}/{self.basis}"
