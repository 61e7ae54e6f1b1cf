"""A tiny training in a process of its own, to be killed or started several times: FOLDER STEPS [PAUSE]."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from densnet_core.training import parallel
from densnet_core.training.loop import TrainingLoop
from densnet_core.training.schedule import LoopOptions


class Noisy(nn.Module):
    """Random numbers in every step, and a buffer that remembers all of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1)).double()
        self.total: Tensor
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.total += torch.rand((), dtype=torch.float64)
        return self.layers(x).squeeze(-1)


def make_loop(folder: Path, steps: int, pause: float = 0.0, **options) -> TrainingLoop:
    module = Noisy()
    random = torch.Generator().manual_seed(5)
    x = torch.randn(64, 4, generator=random, dtype=torch.float64)
    y = (x**2).sum(1)

    def step(number: int) -> tuple[Tensor, dict[str, float]]:
        time.sleep(pause)
        chosen = torch.randperm(64, generator=torch.Generator().manual_seed(number))[:16]
        loss = ((module(x[chosen]) - y[chosen]) ** 2).mean()
        return loss, {"loss": loss.item()}

    def validate() -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(((module(x) - y) ** 2).mean())}

    settings = LoopOptions(
        steps, 0.02, **{"checkpoint_every": 3, "validate_every": 5, "schedule": "plateau", **options}
    )
    return TrainingLoop("toy", module, step, validate, settings, folder, "key")


def main() -> None:
    torch.set_num_threads(1)
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    loop = make_loop(folder, steps, float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
    loop.resume()
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    with parallel.process_group():
        main()
