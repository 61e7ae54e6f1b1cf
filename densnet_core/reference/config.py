"""Options of the executors that ship with the core."""

from pydantic import Field

from densnet_core.options import Options


class LocalExecutorOptions(Options):
    """Options of the executor ``local``: processes on this machine."""

    workers: int | None = Field(
        default=None, ge=1, description="Number of processes; absent: one per core.", examples=[2]
    )
    time_limit_s: float | None = Field(
        default=None,
        gt=0,
        description="Wall time after which one calculation is given up, seconds; absent: none.",
        examples=[3600.0],
    )
    memory_limit_mb: int | None = Field(
        default=None,
        ge=1,
        description="Address space that one process may use, MiB; absent: no limit.",
        examples=[4096],
    )
