"""Options of the ASE engine."""

from pydantic import Field

from densnet_core.options import Options


class ASEOptions(Options):
    """Options of the molecular-dynamics engine ``ase``."""

    threads: int = Field(default=1, ge=1, description="Threads of torch.")
