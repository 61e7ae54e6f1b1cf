"""Parsl's configuration from our options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.launchers import SimpleLauncher, SingleNodeLauncher, SrunLauncher
from parsl.providers import LocalProvider, PBSProProvider, SlurmProvider

from densnet_core.reference.local import available_cores
from densnet_parsl.config import ParslOptions

LABEL = "densnet"
# This very interpreter, wherever it lies: Parsl's own commands are found through PATH only.
_WORKERS = f"{sys.executable} -m parsl.executors.high_throughput." + DEFAULT_LAUNCH_CMD.replace(".py ", " ", 1)
_HEARTBEAT = {"local": (2, 15), "slurm": (30, 120), "pbs": (30, 120)}
"""Seconds between heartbeats, and without one until workers end or are given up."""


def workers_per_node(options: ParslOptions) -> int:
    """Workers of each node; on this machine one per core unless the options say otherwise."""
    return options.workers or available_cores()


def n_workers(options: ParslOptions) -> int:
    """Workers when all jobs run."""
    return workers_per_node(options) * options.nodes * options.jobs


def parsl_config(options: ParslOptions, folder: Path) -> Config:
    """One HighThroughputExecutor; what it writes goes into ``folder``."""
    period, threshold = _HEARTBEAT[options.provider]
    local = options.provider == "local"
    executor = HighThroughputExecutor(
        label=LABEL,
        provider=provider(options),
        launch_cmd=_WORKERS,
        interchange_launch_cmd=[sys.executable, "-m", "densnet_parsl.interchange", str(os.getpid())],
        address="127.0.0.1" if local else options.address,
        cores_per_worker=1e-6,  # the number of workers is given, and is not bounded by the cores that Parsl counts
        max_workers_per_node=workers_per_node(options),
        heartbeat_period=period,
        heartbeat_threshold=threshold,
        encrypted=True,  # anybody who can connect to an unencrypted port can run code
        worker_logdir_root=str(folder),
    )
    return Config(
        executors=[executor],
        run_dir=str(folder),
        # On this machine the workers are there from the beginning to the end; jobs come and go with the work.
        strategy="none" if local else "simple",
        initialize_logging=False,
        usage_tracking=0,
    )


def provider(options: ParslOptions) -> Any:
    """Parsl's provider: how workers are started."""
    if options.provider == "local":
        return LocalProvider(
            worker_init=options.worker_init, launcher=SingleNodeLauncher(), init_blocks=1, max_blocks=1
        )
    common: dict[str, Any] = {
        "account": options.account,
        "nodes_per_block": options.nodes,
        "init_blocks": 1,
        "min_blocks": 0,
        "max_blocks": options.jobs,
        "walltime": options.walltime,
        "scheduler_options": options.scheduler_options,
        "worker_init": options.worker_init,
    }
    if options.provider == "slurm":
        launcher = SrunLauncher() if options.nodes > 1 else SimpleLauncher()
        return SlurmProvider(
            partition=options.partition,
            cores_per_node=workers_per_node(options),
            exclusive=False,
            launcher=launcher,
            **common,
        )
    return PBSProProvider(queue=options.partition, cpus_per_node=workers_per_node(options), **common)
