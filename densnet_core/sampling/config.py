"""Options of the samplers that ship with the core."""

from pydantic import Field

from densnet_core.options import FilePath, Options


class NormalModeOptions(Options):
    """Options of the sampler ``normal-modes``: random displacements along the harmonic modes of the minimum."""

    temperature: float = Field(
        default=600.0, gt=0, description="Temperature of the displacements, K; well above that of the dynamics."
    )
    count: int = Field(default=100, ge=1, description="Number of geometries.")
    seed: int = Field(default=0, ge=0, description="Seed of the random numbers.")


class FileOptions(Options):
    """Options of the sampler ``file``: geometries from an XYZ file."""

    path: FilePath = Field(
        description="XYZ file (angstrom), relative to the configuration file.", examples=["frames.xyz"]
    )
    stride: int = Field(default=1, ge=1, description="Take every stride-th frame, beginning with the first.")
