"""Options of the e3nn backbone."""

from pydantic import Field

from densnet_core.options import Options


class E3nnOptions(Options):
    """Options of the backbone ``e3nn``."""

    channels: int = Field(
        default=32, ge=1, le=1024, description="Copies of each irreducible representation in the features."
    )
    layers: int = Field(default=2, ge=1, le=16, description="Number of message-passing layers.")
    l_max: int = Field(default=2, ge=0, le=6, description="Highest degree l of the features.")
    l_max_edge: int = Field(default=3, ge=0, le=6, description="Highest degree l of the harmonics of an edge.")
    radial_functions: int = Field(default=8, ge=1, le=64, description="Number of radial functions of a distance.")
    radial_width: int = Field(default=64, ge=1, le=1024, description="Width of the radial network.")
    cutoff_angstrom: float = Field(
        default=5.0, gt=0, description="Distance up to which atoms see each other, angstrom."
    )
