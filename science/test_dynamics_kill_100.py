"""A hundred kill -9 at random moments of one dynamics: python -m pytest -q -s science/test_dynamics_kill_100.py.

``densnet md`` with the shipped model of water, replicas heated and then at constant energy, dipoles recorded, is
started again and again and killed. After every kill all frames committed before are there, bit for bit, with their
energies and dipoles; a production that ends is asked to be longer. In the end both trajectories must be equal bit for
bit to those of a run that nobody disturbed. It takes some minutes; ``DENSNET_KILLS`` sets another number.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "integration"))
from forked import Workers, serve
from tiny_run import WATER

from densnet_core.errors import DenSNetError
from densnet_core.stores.trajectory import TrajectoryStore

KILLS = int(os.environ.get("DENSNET_KILLS", "100"))
SECONDS = 8.0
"""A run is killed after this at most, to begin with: later so that about half of them come as far as a commit."""
LONGER = 4.0
"""Picoseconds that a finished production is asked to be longer by; so long a piece is compiled from its first step."""
PIECES = ("nvt", "nve")

Contents = dict[str, np.ndarray]


def command(ps: float) -> list[str]:
    return [
        *("md", "water", "water.xyz", "--output", "md"),
        *("--heating-ps", "0.5", "--ps", str(ps), "--time-step-fs", "0.25", "--replicas", "2"),
    ]


def contents(path: Path) -> Contents:
    """Everything committed of a trajectory by name; nothing if there is none yet."""
    if not (path / "zarr.json").exists():
        return {}
    try:
        store = TrajectoryStore.open(path)
    except DenSNetError as error:
        raise AssertionError(f"{path} does not open after a kill: {error}") from error
    with store:
        found = {"steps": store.steps, "positions": store.positions(), "potential": store.potential_energy}
        found |= {"kinetic": store.kinetic_energy} | {n: store.observable(n) for n in store.observable_names()}
        end = store.restart()
    return found if end is None else {**found, "velocities at the end": end.velocities}


def stores_of(folder: Path) -> dict[str, Path]:
    return {name: folder / "md" / "md" / f"{name}.zarr" for name in PIECES}


def frames_of(ends: dict[str, Contents]) -> dict[str, int]:
    return {name: len(found.get("steps", ())) for name, found in ends.items()}


def assert_begins_with(after: Contents, before: Contents, what: str) -> None:
    for name in before.keys() - {"velocities at the end"}:
        assert after[name][: len(before[name])].tobytes() == before[name].tobytes(), f"{what}: {name} lost or changed"


def test_a_hundred_kills_lose_no_frame_and_the_trajectory_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    # As users run it: pytest of this project leaves out native code otherwise.
    workers = Workers(__file__, DENSNET_COMPILE="auto")
    moments, killed = random.Random(0), Counter[str]()
    first, disturbed, alone = (tmp_path / name for name in ("first", "disturbed", "alone"))
    for folder in (first, disturbed, alone):
        folder.mkdir()
        (folder / "water.xyz").write_text(WATER)
    ps, progress, seconds = LONGER, 0, SECONDS
    try:
        workers.start("densnet", first, *command(LONGER))  # compiles: half a minute that no killed run would live for
        deadline = time.monotonic() + 1200.0
        while not contents(stores_of(first)["nve"]):
            assert time.monotonic() < deadline, "no frame of the production"
            time.sleep(0.5)
        workers.kill()
        stores = stores_of(disturbed)
        while killed.total() < KILLS:
            before = {name: contents(path) for name, path in stores.items()}
            workers.start("densnet", disturbed, *command(ps))
            time.sleep(moments.uniform(0.0, seconds))
            status = workers.kill()
            assert status in (0, -signal.SIGKILL), f"ended with {status}"
            after = {name: contents(path) for name, path in stores.items()}
            for name in PIECES:
                assert_begins_with(after[name], before[name], name)
            if status == 0:
                ps += LONGER
                continue
            killed["nve" if after["nve"] else "nvt"] += 1
            further = any(len(after[n].get("steps", ())) > len(before[n].get("steps", ())) for n in PIECES)
            progress += further
            seconds *= 0.8 if further else 1.25
            print(f"kill {killed.total()}: {frames_of(after)}", flush=True)
        for folder in (disturbed, alone):
            workers.start("densnet", folder, *command(ps))
            assert workers.wait() == 0
    finally:
        workers.close()
    ends = [{n: contents(path) for n, path in stores_of(folder).items()} for folder in (disturbed, alone)]
    print(f"{killed.total()} kills {dict(killed)}, {progress} of them after a commit; frames: {frames_of(ends[0])}")
    for name in PIECES:
        one, other = (end[name] for end in ends)
        assert one.keys() == other.keys()
        for what, values in one.items():
            assert values.tobytes() == other[what].tobytes(), f"{name}: {what} is not that of an undisturbed run"
    assert "dipole" in ends[0]["nve"]
    assert set(killed) == set(PIECES), "a piece was never killed"
    assert progress > KILLS // 4, "too few runs came as far as a commit"


def densnet(folder: str, *arguments: str) -> int:
    """The command ``densnet`` in a folder; its exit status."""
    from densnet_core.cli.app import run

    os.chdir(folder)
    return run(arguments)


def load() -> None:
    """Import once what the command needs."""
    import torch

    import densnet_core.cli.dynamics
    import densnet_core.workflow.dynamics

    torch.set_num_threads(1)
    assert densnet_core.workflow.dynamics
    assert densnet_core.cli.dynamics


if __name__ == "__main__":
    load()
    serve({"densnet": densnet})
