"""Options of the PySCF backend."""

from typing import Annotated, Literal

from pydantic import Field

from densnet_core.options import Options


class PySCFOptions(Options):
    """Options of the reference backend ``pyscf``; method and basis are not among them, they are the level of theory."""

    density_fitting: bool = Field(
        default=True, description="Approximate the two-electron integrals by density fitting."
    )
    auxiliary_basis: str = Field(
        default="def2-universal-jkfit", description="Auxiliary basis of the density fitting, of any orbital basis."
    )
    electric_field: Annotated[tuple[float, float, float], Field(strict=False)] | None = Field(
        default=None,
        description="Uniform electric field F, hartree/(e bohr), with H = H_0 - F . dipole; absent: none.",
        examples=[[0.0, 0.0, 0.001]],
    )
    grid_level: int = Field(default=4, ge=0, le=9, description="Fineness of the integration grid, PySCF's 0 to 9.")
    coarse_grid: bool = Field(
        default=True,
        description="Iterate on a coarse integration grid, corrected by the fine one: the same result for less time.",
    )
    conv_tol: float = Field(default=1e-9, gt=0, description="Change of the energy at which the SCF ends, hartree.")
    gradient_tol: float = Field(default=1e-6, gt=0, description="Norm of the orbital gradient at which the SCF ends.")
    stability: Literal["check", "follow", "off"] | None = Field(
        default=None,
        description="Whether the SCF ended in a minimum: 'check' keeps the answer with the frame, 'follow' goes on to "
        "lower solutions of the same kind. Absent: 'check' for open shells, 'off' for closed ones.",
        examples=["follow"],
    )
    max_cycle: int = Field(default=100, ge=1, description="SCF cycles after which a calculation counts as failed.")
    threads: int = Field(default=1, ge=1, description="Threads per calculation; one process per core is faster.")
    max_memory_mb: int = Field(default=4000, ge=1, description="Memory that PySCF plans with, MB.")
