"""Training steps of both stages per second: ethanol in densnet-m, batch 5.

    python benchmarks/bench_training.py [--before FOLDER] [--frames N] [--batch N] [--threads N]

``shared`` are the standard networks, which learn together in the second stage, from densities, dipoles, energies and
forces; ``compiled`` is the same by native code (``densnet_core.training.native``). ``gaunt`` and ``e3nn`` are backbones
of a density network and an energy network on top of it, which is what the second stage then trains.
``--before`` is a checkout of an earlier commit, with its only backbone, e3nn. All sides take turns in one run, so a
load that comes and goes falls on all alike. Frames per second from the median step, of wall time and of processor time;
"start-up" is the first step, with what is compiled, or with densities linearised.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measuring import ROOT, head, table

PLUGINS = ("densnet-pyscf", "densnet-e3nn", "densnet-gaunt", "densnet-openmm")
ROUNDS, STEPS = 12, 5


class Side:
    """A process that takes steps with the core of one checkout."""

    def __init__(self, name: str, tree: Path, backbone: str, frames: int, batch: int, threads: int) -> None:
        self.name = name
        paths = [str(tree), *(str(tree / "plugins" / plugin) for plugin in PLUGINS)]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "training_steps.py"), str(frames), str(batch), backbone],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The process of {self.name} ended.")
        return line

    def ask(self, what: str, count: int) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        return self._answer()

    def steps(self, stage: str, count: int) -> list[list[float]]:
        answer: list[list[float]] = json.loads(self.ask(stage, count))
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    head("densnet-gaunt", "densnet-e3nn", "e3nn", "torch")
    trees = {name: (ROOT, name) for name in ("shared", "compiled", "gaunt", "e3nn")}
    if chosen.before:
        trees["before"] = (chosen.before.resolve(), "e3nn")
    sides = [Side(name, *tree, chosen.frames, chosen.batch, chosen.threads) for name, tree in trees.items()]
    rows: list[list[object]] = []
    for stage in ("density", "energy"):
        start_up, seconds = {}, {side.name: [] for side in sides}
        for side in sides:
            started = time.perf_counter()
            side.steps(stage, 1)
            start_up[side.name] = time.perf_counter() - started
            side.steps(stage, 2)
        for _ in range(ROUNDS):
            for side in sides:
                seconds[side.name] += side.steps(stage, STEPS)
        for side in sides:
            wall, processor = np.median(np.array(seconds[side.name]), axis=0)
            memory = int(side.ask("memory", 0))
            rows.append(
                [
                    f"{stage}, {side.name}",
                    1e3 * wall,
                    chosen.batch / wall,
                    1e3 * processor,
                    chosen.batch / processor,
                    start_up[side.name],
                    memory,
                ]
            )
    for side in sides:
        side.close()
    table(["stage", "wall ms", "frames/s", "processor ms", "frames/s", "start-up s", "MB so far"], rows)


if __name__ == "__main__":
    main()
