"""Two processes give the loss curve of one with the same batches."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import InputError
from densnet_core.stores.models import load_checkpoint
from densnet_core.training import Plan, parallel

sys.path.insert(0, str(Path(__file__).parent))
from training_parallel import short, train

PROGRAM = Path(__file__).parent / "training_parallel.py"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run_processes(number: int, folder: Path, *arguments: Path) -> None:
    """What torchrun does: the program several times, with the variables that it sets."""
    common = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    running = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), *map(str, arguments)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(number)
    ]
    for process in running:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors[-3000:]


def columns(path: Path, *names: str) -> np.ndarray:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[name]) for name in names] for row in rows])


def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    """From a finished model, which the second process does not see."""
    plan = Plan([short(15)], [short(15)], batch_size=4, device="cpu", precision="float64")
    train(tmp_path / "start", plan).save(tmp_path / "model")
    for number in (1, 2):
        run_processes(number, tmp_path / str(number), tmp_path / "model")
    for stage in ("density", "energy"):
        before = columns(tmp_path / "start" / f"{stage}.csv", "validation_loss")
        assert columns(tmp_path / "2" / f"{stage}.csv", "validation_loss")[0] < 0.8 * before[0]
    for stage in ("density", "energy", "joint"):
        curves = [columns(tmp_path / kind / f"{stage}.csv", "loss", "validation_loss") for kind in ("1", "2")]
        assert len(curves[0]) in (3, 6)
        assert curves[0][-1, 0] != curves[0][0, 0]
        np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)
        last = [load_checkpoint(tmp_path / kind / f"{stage}.checkpoint")[0] for kind in ("1", "2")]
        for name, value in last[0].items():
            if name.startswith("state.average"):
                torch.testing.assert_close(value, last[1][name], rtol=1e-7, atol=1e-9)


def test_one_process_takes_all_frames_and_what_others_make_is_its_own() -> None:
    assert parallel.own_part([3, 1, 2]) == [3, 1, 2]
    assert parallel.from_first(lambda: 7) == 7
    assert parallel.from_all(5) == [5]


def test_a_batch_smaller_than_the_number_of_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "world_size", lambda: 4)
    monkeypatch.setattr(parallel, "rank", lambda: 1)
    assert parallel.own_part(list(range(10))) == [3, 4, 5]
    with pytest.raises(InputError, match="3 frames cannot be divided among 4 processes"):
        parallel.own_part([1, 2, 3])
