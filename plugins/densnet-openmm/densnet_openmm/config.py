"""Options of the OpenMM engine."""

from typing import Literal

from pydantic import Field

from densnet_core.options import Options


class OpenMMOptions(Options):
    """Options of the molecular-dynamics engine ``openmm``."""

    force: Literal["torchforce", "python"] = Field(
        default="python",
        description="How OpenMM calls the model: through Python, compiled where there is a C++ compiler, or as a "
        "TorchScript file through openmm-torch (needs torch 2.9), which records no observables.",
    )
    platform: str = Field(default="CPU", description="OpenMM platform: CPU, CUDA, OpenCL or Reference.")
    threads: int = Field(default=1, ge=1, description="Threads of the CPU platform and of torch.")
    precision: Literal["single", "mixed", "double"] = Field(
        default="mixed",
        description="Arithmetic of the integrator on CUDA and OpenCL; CPU and Reference have their own.",
    )
