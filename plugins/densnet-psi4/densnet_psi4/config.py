"""Options of the Psi4 backend."""

from typing import Annotated

from pydantic import Field

from densnet_core.options import FilePath, Options


class Psi4Options(Options):
    """Options of the reference backend ``psi4``; method and basis are not among them, they are the level of theory."""

    command: FilePath | None = Field(
        default=None,
        description="The program psi4; absent: the one on the PATH, or the one that Debian installs.",
        examples=["~/miniconda3/envs/psi4/bin/psi4"],
    )
    python: FilePath | None = Field(
        default=None,
        description="A Python interpreter that imports psi4, instead of command.",
        examples=["~/miniconda3/envs/psi4/bin/python"],
    )
    density_fitting: bool = Field(
        default=True, description="Approximate the two-electron integrals by density fitting."
    )
    auxiliary_basis: str = Field(
        default="def2-universal-jkfit", description="Auxiliary basis of the density fitting, of any orbital basis."
    )
    radial_points: int | None = Field(
        default=None,
        ge=20,
        description="Radial points of the integration grid around each atom; absent: 99, or 200 for rSCAN and r2SCAN.",
        examples=[150],
    )
    angular_points: int = Field(
        default=590, ge=26, description="Angular points of the integration grid, a number of Lebedev's: 302, 590, 770."
    )
    conv_tol: float = Field(default=1e-9, gt=0, description="Change of the energy at which the SCF ends, hartree.")
    density_tol: float = Field(
        default=1e-8, gt=0, description="Root mean square of the orbital gradient at which the SCF ends."
    )
    max_cycle: int = Field(default=100, ge=1, description="SCF cycles after which a calculation counts as failed.")
    electric_field: Annotated[tuple[float, float, float], Field(strict=False)] | None = Field(
        default=None,
        description="Uniform electric field F, hartree/(e bohr), with H = H_0 - F . dipole; absent: none.",
        examples=[[0.0, 0.0, 0.001]],
    )
    threads: int = Field(default=1, ge=1, description="Threads per calculation; one process per core is faster.")
    max_memory_mb: int = Field(default=4000, ge=256, description="Memory that Psi4 plans with, MB.")
    memory_limit_mb: int | None = Field(
        default=None,
        ge=256,
        description="Memory that the process of Psi4 may use at most, MiB; absent: no limit.",
        examples=[6000],
    )
    time_limit_s: float | None = Field(
        default=None,
        gt=0,
        description="Wall time after which one call of Psi4 is given up, seconds; absent: none.",
        examples=[3600.0],
    )
    scratch: FilePath | None = Field(
        default=None,
        description="Folder for the temporary files of Psi4; absent: the system's.",
        examples=["/scratch"],
    )
