"""What issues ask for on a CUDA device: the numbers of the CPU, speed of calls, training.

    python science/gpu/day.py [--device cuda] [--replicas 1 64 1000] [--steps 200] [--output FILE.json]

Every part stands alone: one that fails says why and the next goes on. See README.md beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densnet_core import load_model
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.trace import flatten
from densnet_core.structures import Structure, read_geometry

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from training_steps import objectives

GEOMETRY = Path(__file__).parents[1] / "systems" / "ethanol" / "anti.xyz"
OUTPUTS = ("energy", "forces", "dipole")
BATCH, FRAMES = 5, 40


def shaken(count: int, seed: int = 0) -> list[Structure]:
    structure, random = read_geometry(GEOMETRY), np.random.default_rng(seed)
    shape = structure.positions.shape
    return [structure.with_positions(structure.positions + random.normal(scale=0.1, size=shape)) for _ in range(count)]


def on(device: torch.device) -> Any:
    model = load_model("ethanol")
    model.density.to(device)
    model.energy.to(device)
    return model


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], object], device: torch.device, seconds: float = 5.0) -> float:
    """The least time of a call, after two to warm up."""
    for _ in range(2):
        call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        wait(device)
        started = time.perf_counter()
        call()
        wait(device)
        best = min(best, time.perf_counter() - started)
    return best


def agreement(device: torch.device) -> dict[str, float]:
    """The largest difference of each output from the CPU's, beside its largest change between geometries."""
    graph = graph_of(shaken(8))
    expected, found = (on(d).evaluate(graph.to(d), OUTPUTS) for d in (torch.device("cpu"), device))
    table = {}
    for name in OUTPUTS:
        table[name] = float((found[name].cpu() - expected[name]).abs().max())
        table[f"{name}, spread"] = float(expected[name].std())
    return table


def calls(device: torch.device, replicas: list[int]) -> dict[str, dict[str, float]]:
    """Milliseconds of a call, and molecules per second, eager and compiled."""
    model, table = on(device), {}
    for count in replicas:
        graph = graph_of(shaken(count)).to(device)

        def function(positions: torch.Tensor, graph: Any = graph) -> tuple[torch.Tensor, ...]:
            found = model.evaluate(graph.with_positions(positions), OUTPUTS)
            return tuple(found[name] for name in OUTPUTS)

        sides: dict[str, Callable[..., object]] = {"eager": function}
        try:
            sides["compiled"] = torch.compile(flatten(function, graph.positions), fullgraph=True, dynamic=False)
            with torch.no_grad():
                sides["compiled"](graph.positions)
        except Exception:
            traceback.print_exc()
            sides.pop("compiled", None)
        for name, side in sides.items():
            with torch.no_grad():
                took = timed(lambda side=side, graph=graph: side(graph.positions), device)  # type: ignore[misc]
            table[f"{count} molecules, {name}"] = {"ms": 1e3 * took, "molecules per second": count / took}
            print(count, name, table[f"{count} molecules, {name}"], flush=True)
    return table


def losses(device: torch.device, steps: int) -> tuple[list[float], float]:
    """The loss of each step, and seconds of a step after the first ten."""
    made = objectives(FRAMES, BATCH, "shared", str(device))["energy"]()
    made.prepare()
    optimizer = torch.optim.Adam(made.module.parameters(), lr=1e-3)
    found, started = [], time.perf_counter()
    for number in range(steps):
        if number == 10:
            wait(device)
            started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss, _ = made.step(number)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(loss.item())
    wait(device)
    return found, (time.perf_counter() - started) / (steps - 10)


def training(device: torch.device, steps: int) -> dict[str, float]:
    """How far the losses are from the CPU's over the first ten steps, relative, and frames per second."""
    (own, seconds), (expected, _) = losses(device, steps), losses(torch.device("cpu"), 11)
    differences = [abs(a - b) / b for a, b in zip(own[:10], expected[:10], strict=True)]
    return {"largest difference of the losses": max(differences), "frames per second": BATCH / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 64, 1000])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", type=Path)
    chosen = parser.parse_args()
    if chosen.steps <= 10:
        parser.error("--steps must be more than the ten that are not timed.")
    device = torch.device(chosen.device)
    parts: dict[str, Callable[[], object]] = {
        "agreement": lambda: agreement(device),
        "training": lambda: training(device, chosen.steps),
        "calls": lambda: calls(device, chosen.replicas),
    }
    results: dict[str, object] = {"torch": torch.__version__, "device": chosen.device}
    for name, part in parts.items():
        try:
            results[name] = part()
        except Exception:
            results[name] = traceback.format_exc()
        print(name, json.dumps(results[name], indent=1), flush=True)
        if chosen.output:
            chosen.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
