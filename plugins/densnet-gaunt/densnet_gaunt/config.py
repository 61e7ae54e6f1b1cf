"""Options of the backbone ``gaunt``."""

from pydantic import Field

from densnet_core.options import Options


class GauntOptions(Options):
    """Options of the backbone ``gaunt``."""

    channels: int = Field(
        default=32, ge=1, le=1024, description="Copies of each irreducible representation in the features."
    )
    product_channels: int = Field(default=32, ge=1, le=1024, description="Channels of the products.")
    layers: int = Field(default=2, ge=1, le=16, description="Number of rounds of messages and products.")
    l_max: int = Field(default=2, ge=0, le=6, description="Highest degree l of the features between the layers.")
    l_max_edge: int = Field(default=3, ge=0, le=6, description="Highest degree l of the sums over neighbours.")
    radial_functions: int = Field(default=8, ge=1, le=64, description="Number of radial functions of a distance.")
    radial_width: int = Field(default=64, ge=1, le=1024, description="Width of the radial network.")
    cutoff_angstrom: float = Field(
        default=5.0, gt=0, description="Distance up to which atoms see each other, angstrom."
    )
