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
    """Options of the sampler ``file``: geometries from a file or a trajectory store."""

    path: FilePath = Field(
        description="XYZ file (angstrom), trajectory store (.zarr) or geometries of published data (.npy), relative to "
        "the configuration file.",
        examples=["frames.xyz"],
    )
    stride: int = Field(default=1, ge=1, description="Take every stride-th frame, beginning with the first.")


class DynamicsOptions(Options):
    """Options that every sampler by Langevin dynamics has."""

    temperature: float = Field(
        default=500.0, gt=0, description="Temperature, K; well above that of the dynamics to be learned."
    )
    count: int = Field(default=100, ge=1, description="Number of geometries, of each starting geometry.")
    walkers: int = Field(default=4, ge=1, description="Independent trajectories that share the geometries.")
    time_step_fs: float = Field(default=0.5, gt=0, le=5, description="Time step, fs.")
    interval_fs: float = Field(default=50.0, gt=0, description="Time between two geometries of a trajectory, fs.")
    equilibration_fs: float = Field(default=500.0, ge=0, description="Time before the first geometry, fs.")
    friction_per_ps: float = Field(default=20.0, gt=0, description="Friction of the heat bath, 1/ps.")
    seed: int = Field(default=0, ge=0, description="Seed of velocities and heat bath.")


class LangevinOptions(DynamicsOptions):
    """Options of the sampler ``langevin``: dynamics with the reference backend, one calculation per step."""

    time_step_fs: float = Field(default=1.0, gt=0, le=5, description="Time step, fs; each costs one calculation.")
    interval_fs: float = Field(default=20.0, gt=0, description="Time between two geometries of a trajectory, fs.")
    equilibration_fs: float = Field(default=100.0, ge=0, description="Time before the first geometry, fs.")


class TorsionOptions(Options):
    """Options that every torsion scan has."""

    steps: int = Field(default=12, ge=2, description="Angles per bond, equally spaced over the full turn.")
    count: int | None = Field(
        default=None,
        ge=1,
        description="Most geometries: a random part of the combinations; absent: all of them.",
        examples=[100],
    )
    seed: int = Field(default=0, ge=0, description="Seed of the choice among the combinations.")


class TorsionScanOptions(TorsionOptions):
    """Options of the sampler ``torsion-scan``: rigid rotations about given bonds."""

    bonds: list[list[int]] = Field(
        min_length=1,
        description="The bonds: pairs of atoms, counted from 1 in the order of the geometry.",
        examples=[[[1, 2]]],
    )
