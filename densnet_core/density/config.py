"""Options of the density models that ship with the core."""

from pydantic import Field

from densnet_core.options import Options


class DensityModelOptions(Options):
    """Options of the density model ``equivariant``."""

    head_width: int = Field(default=64, ge=1, description="Width of the layers between backbone and coefficients.")
