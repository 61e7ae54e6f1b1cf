"""Options of the models and of the stage, as a configuration spells them; light to import."""

from densnet_core.options import Options
from pydantic import Field


class BondsOptions(Options):
    """Options of the models ``bonds`` and ``bonds-response``."""

    channels: int = Field(default=16, ge=1, le=256, description="Features of each angular momentum.")
    radial_functions: int = Field(default=8, ge=1, le=32, description="Radial functions of a bond length.")
    hidden_width: int = Field(default=32, ge=1, le=512, description="Width of the layers on invariants.")
    cutoff_angstrom: float = Field(default=4.0, gt=0, description="Length of the longest bond, angstrom.")


class QuadrupoleTableOptions(Options):
    """The table ``[quadrupole_table]`` of a configuration."""

    decimals: int = Field(default=6, ge=1, le=12, description="Digits after the point, of e bohr^2.")
