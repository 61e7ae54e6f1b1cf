"""Options of the core's own engine."""

from pydantic import Field

from densnet_core.options import Options


class TorchEngineOptions(Options):
    """Options of the molecular-dynamics engine ``torch``."""

    threads: int = Field(default=1, ge=1, description="Threads of torch.")
