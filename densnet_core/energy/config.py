"""Options of the energy models that ship with the core."""

from pydantic import Field

from densnet_core.options import Options


class EnergyModelOptions(Options):
    """Options of the energy model ``equivariant``."""

    head_width: int = Field(default=64, ge=1, description="Width of the layers between backbone and atomic energies.")
