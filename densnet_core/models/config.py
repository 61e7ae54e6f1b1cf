"""Options of the models that ship with the core."""

from pydantic import Field

from densnet_core.options import Options


class DensityModelOptions(Options):
    """Options of the density model ``equivariant``: it has none, its size is that of the backbone."""


class EnergyModelOptions(Options):
    """Options of the energy model ``equivariant``."""

    l_in: int = Field(default=2, ge=0, le=6, description="Highest l of the density's amplitudes that the model reads.")
    channels_in: int = Field(default=32, ge=1, description="Channels to which the amplitudes of each l are mapped.")
    head_width: int = Field(default=64, ge=1, description="Width of the layers between backbone and atomic energies.")
