"""The options of ``densnet vibrations``."""

from __future__ import annotations

from pydantic import Field

from densnet_core.options import Options


class VibrationOptions(Options):
    """Geometry optimisation, second derivatives and thermochemistry of one molecule."""

    optimise: bool = Field(default=True, description="Optimise first; otherwise the geometry is taken as it is.")
    max_force: float = Field(
        default=5e-5, gt=0, description="Largest force component that counts as none, hartree/bohr."
    )
    max_calculations: int = Field(default=100, ge=1, description="Most calculations of the optimisation.")
    displacement: float = Field(
        default=0.005, gt=0, lt=0.5, description="Step of the differences that give second derivatives, bohr."
    )
    temperature: float = Field(default=298.15, gt=0, description="Temperature, K.")
    pressure: float = Field(default=1.0, gt=0, description="Pressure, bar.")
    symmetry_number: int | None = Field(
        default=None, ge=1, description="Rotations that map the molecule onto itself; absent: found from the geometry."
    )
    raman: bool = Field(
        default=False,
        description="Polarizabilities at every displacement, for Raman activities; a model that predicts them gives "
        "them in any case.",
    )
    width: float = Field(default=20.0, gt=0, description="Width of a line in the picture (full, half maximum), cm^-1.")
