"""Options of the executor ``parsl``; light to import."""

from typing import Literal, Self

from pydantic import Field, model_validator

from densnet_core.options import FilePath
from densnet_core.reference.config import WorkerLimitOptions


class ParslOptions(WorkerLimitOptions):
    """Options of the executor ``parsl``: workers on this machine, or in jobs of Slurm or PBS."""

    provider: Literal["local", "slurm", "pbs"] = Field(
        default="local", description="Where workers run: on this machine, or in jobs of a batch system."
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Workers per node, each with one thread; absent: one per core, which needs provider = local.",
        examples=[2],
    )
    nodes: int = Field(default=1, ge=1, description="Nodes per job.")
    jobs: int = Field(default=1, ge=1, description="Most jobs at a time.")
    walltime: str = Field(
        default="01:00:00",
        pattern=r"^\d+:[0-5]\d:[0-5]\d$",
        description="Wall time of a job, HH:MM:SS. A frame under way when it ends is computed again.",
    )
    partition: str | None = Field(default=None, description="Partition (Slurm) or queue (PBS).", examples=["short"])
    account: str | None = Field(default=None, description="Account that is charged.", examples=["chemistry"])
    scheduler_options: str = Field(default="", description="Further lines of the job script, #SBATCH or #PBS.")
    worker_init: str = Field(
        default="", description="Shell commands before the workers start, for example to load modules."
    )
    address: str | None = Field(
        default=None,
        description="Address of this machine as the nodes see it; absent: all it has are tried.",
        examples=["10.0.0.1"],
    )
    folder: FilePath | None = Field(
        default=None,
        description="Folder for job scripts, keys and logs, which the nodes must see too; absent: a temporary one, "
        "which needs provider = local.",
        examples=["parsl"],
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.provider == "local":
            given = {"nodes", "jobs", "walltime", "partition", "account", "scheduler_options"} & self.model_fields_set
            unused = sorted(key for key in given if getattr(self, key) != type(self).model_fields[key].default)
            if unused:
                raise ValueError(f'provider = "local" has no use for {", ".join(unused)}')
        elif missing := [key for key in ("workers", "folder") if getattr(self, key) is None]:
            raise ValueError(f'provider = "{self.provider}" needs {" and ".join(missing)}')
        return self
