"""A small complete run through the real command line, for the integration tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WATER = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.763 -0.477\nH 0.000 -0.763 -0.477\n"
CONFIG = """
schema = 1
output = "out"
[system]
geometry = "water.xyz"
[sampling]
count = 24
seed = 1
[reference]
backend = "pyscf"
method = "HF"
basis = "6-31G"
[basis.even_tempered.O]
s = { smallest = 0.2, ratio = 3.0, count = 4 }
p = { smallest = 0.2, ratio = 3.0, count = 3 }
d = { smallest = 0.5, ratio = 3.0, count = 1 }
[basis.even_tempered.H]
s = { smallest = 0.2, ratio = 3.0, count = 3 }
p = { smallest = 0.5, ratio = 3.0, count = 1 }
[density.backbone_options]
channels = 8
product_channels = 8
[training]
train = 14
validation = 4
test = 6
batch_size = 7
density = { steps = 60, learning_rate = 1e-2, checkpoint_every = 10 }
energy = { steps = 60, learning_rate = 1e-2, checkpoint_every = 10 }
[md]
engine = "openmm"
temperature = 200.0
nvt_ps = 0.5
nve_ps = 0.6
replicas = 2
record_every = 1
[md.options]
force = "torchforce"
[spectrum]
resolution = 200.0
"""
HEATING_STEPS, PRODUCTION_STEPS = 1000, 1200


def environment(**more: str) -> dict[str, str]:
    """Environment of a command: one thread each, so that results do not depend on the machine's load."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def densnet(*arguments: object, cwd: Path, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command ``densnet`` as a user does, in a process of its own."""
    command = [sys.executable, "-c", "from densnet_core.cli.app import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**(more or {})), capture_output=True, text=True, timeout=300, check=False
    )


@dataclass(frozen=True)
class FinishedRun:
    """The folder of a run and what its command printed."""

    folder: Path
    stdout: str
    stderr: str

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def model(self) -> Path:
        return self.output / "model"

    @property
    def store(self) -> Path:
        return self.output / "reference" / "pyscf-HF-6-31G.zarr"


def prepare(folder: Path, config: str = CONFIG) -> Path:
    """Write geometry and configuration; returns the configuration's path."""
    (folder / "water.xyz").write_text(WATER)
    path = folder / "water.toml"
    path.write_text(config)
    return path
