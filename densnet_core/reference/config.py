"""Options of the executors that ship with the core."""

from pydantic import Field

from densnet_core.options import Options


class WorkerLimitOptions(Options):
    """What one worker process may use; shared by the executors whose workers are our processes."""

    time_limit_s: float | None = Field(
        default=None,
        gt=0,
        description="Wall time after which one calculation is given up, seconds; absent: none.",
        examples=[3600.0],
    )
    memory_limit_mb: int | None = Field(
        default=None,
        ge=1,
        description="Private memory that one worker may use, MiB; absent: no limit.",
        examples=[4096],
    )


class LocalExecutorOptions(WorkerLimitOptions):
    """Options of the executor ``local``: processes on this machine."""

    workers: int | None = Field(
        default=None, ge=1, description="Number of processes; absent: one per core.", examples=[2]
    )
