"""Two hundred kill -9 at random moments over sampling, labelling with two workers, import and merge.

Each round is done by the real command line with PySCF in the workers: geometries of water are sampled from its normal
modes, labelled with HF/STO-3G, an archive is imported beside them, and both stores are merged. A command is started
again and again and killed; what was committed must be there unchanged after every kill, nothing that was committed is
computed again, and in the end no frame is missing and none is there twice. It takes about 15 minutes.
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

from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import read_xyz
from densnet_core.units import BOHR_TO_ANGSTROM

KILLS = int(os.environ.get("DENSNET_KILLS", "200"))
COUNT, IMPORTED, COMMON = 24, 1500, 10
STAGES = ("sample", "reference", "import", "merge")
CONFIG = """
schema = 1
output = "out"
[system]
geometry = "water.xyz"
[sampling]
count = {count}
seed = {seed}
[reference]
backend = "counting"
method = "HF"
basis = "STO-3G"
[executor]
workers = 2
[basis]
name = "def2-universal-jfit"
[training]
train = 14
validation = 4
test = 6
"""
# A backend like any third party's, from its own distribution: it writes down every calculation that it finishes.
COUNTING = """
import os
from densnet_core.plugins import Component, Kind, hookimpl
from densnet_pyscf.backend import PySCFBackend

class Counting(PySCFBackend):
    def calculate(self, structure, properties):
        result = super().calculate(structure, properties)
        with open(os.environ["COUNTING_LOG"], "a") as file:
            file.write(structure.content_hash().hex() + "\\n")
        return result

@hookimpl
def densnet_components():
    return [Component(kind=Kind.REFERENCE, name="counting", target="counting:Counting", summary="PySCF, counted",
                      config="densnet_pyscf.config:PySCFOptions", install="pip install counting", api="1.0")]
"""

Contents = dict[bytes, bytes]


def contents(path: Path) -> Contents:
    """Every committed frame of a store as bytes, by content hash; empty if there is no store yet."""
    if not (path / "zarr.json").exists():
        return {}
    found: Contents = {}
    with ReferenceStore.open(path) as store:
        for index, content in enumerate(store.hashes):
            structure, result = store.frames([index])[0]
            assert structure.content_hash() == content
            labels = [np.asarray(getattr(result, name)).tobytes() for name in store.labels(index)]
            found[content] = b"".join(labels)
        assert len(found) == len(store)
    return found


class Round:
    """One pass through all stages in a folder of its own, killed on the way."""

    def __init__(self, folder: Path, seed: int, workers: Workers, random_numbers: random.Random, log: Path) -> None:
        self.folder, self.workers, self.random, self.log = folder, workers, random_numbers, log
        folder.mkdir()
        (folder / "water.xyz").write_text(WATER)
        (folder / "water.toml").write_text(CONFIG.format(count=COUNT, seed=seed))
        reference = folder / "out" / "reference"
        self.labelled, self.harmonic = (reference / f"counting-HF-STO-3G{kind}.zarr" for kind in ("", ".harmonic"))
        self.imported, self.merged = folder / "imported.zarr", folder / "merged.zarr"
        self.kills: Counter[str] = Counter()
        self.repeats = 0

    def command(self, stage: str) -> list[str]:
        return {
            "sample": ["sample", "water.toml"],
            "reference": ["reference", "water.toml"],
            "import": [
                *("data", "import", "frames.npz", "imported.zarr"),
                *("--level", "HF/STO-3G", "--backend", "counting"),
            ],
            "merge": ["data", "merge", "merged.zarr", str(self.labelled), "imported.zarr"],
        }[stage]

    def stores(self) -> dict[Path, Contents]:
        return {path: contents(path) for path in (self.harmonic, self.labelled, self.imported, self.merged)}

    def carry_out(self, stage: str, seconds: float, limit: int) -> float:
        """Kill a stage at random moments until it once ends by itself; how long that took it."""
        if stage == "import":
            self.write_archive()
        while True:
            before, computed = self.stores(), self.computed()
            begun = time.monotonic()
            self.workers.start("densnet", self.folder, *self.command(stage))
            if self.kills.total() >= limit:
                assert self.workers.wait() == 0, stage
                self.check(before, computed)
                return time.monotonic() - begun
            time.sleep(self.random.uniform(0.0, seconds))
            status = self.workers.kill()
            assert status in (0, -signal.SIGKILL), f"{stage} ended with {status}"
            self.check(before, computed)
            if status == 0:
                return time.monotonic() - begun
            self.kills[stage] += 1

    def computed(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def check(self, before: dict[Path, Contents], computed: list[str]) -> None:
        """Nothing committed was lost, changed or computed again."""
        after = self.stores()
        for path, frames in before.items():
            assert frames.items() <= after[path].items(), f"{path} lost or changed a committed frame"
            if after[path]:
                assert verify(path) == [], path
        known = {content.hex() for frames in before.values() for content in frames}
        again = known & set(self.computed()[len(computed) :])
        assert not again, f"computed although committed: {again}"

    def write_archive(self) -> None:
        """Made-up frames, and some of the labelled ones, for the import."""
        values = np.random.default_rng(1)
        with ReferenceStore.open(self.labelled) as store:
            known = store.frames(range(COMMON), labels=("energy", "forces"))
        (water,) = read_xyz(self.folder / "water.xyz")
        positions = [s.positions for s, _ in known]
        positions += [water.positions + 0.1 * values.normal(size=(3, 3)) for _ in range(IMPORTED - COMMON)]
        forces = [r.forces for _, r in known] + list(values.normal(size=(IMPORTED - COMMON, 3, 3)))
        np.savez(
            self.folder / "frames.npz",
            numbers=np.tile(water.numbers, (IMPORTED, 1)),
            positions_angstrom=np.array(positions) * BOHR_TO_ANGSTROM,
            energy_hartree=np.array([r.energy for _, r in known] + list(values.normal(size=IMPORTED - COMMON))),
            forces_hartree_per_angstrom=np.array(forces) / BOHR_TO_ANGSTROM,
        )

    def check_end(self) -> None:
        """No frame is missing, none is there twice."""
        sampled = {structure.content_hash() for structure in read_xyz(self.folder / "out" / "samples.xyz")}
        labelled, imported, merged = map(contents, (self.labelled, self.imported, self.merged))
        assert set(labelled) == sampled
        assert len(sampled) == COUNT
        assert len(imported) == IMPORTED
        assert set(merged) == set(labelled) | set(imported)
        assert len(merged) == COUNT + IMPORTED - COMMON
        assert all(merged[content] == labelled[content] for content in labelled)
        for path in (self.harmonic, self.labelled, self.imported, self.merged):
            assert verify(path) == []
            assert not list(path.rglob("*.partial"))


def test_two_hundred_kills_lose_nothing_and_nothing_is_computed_twice(tmp_path: Path) -> None:
    site, log = tmp_path / "site", tmp_path / "log"
    (site / "counting-1.0.dist-info").mkdir(parents=True)
    (site / "counting.py").write_text(COUNTING)
    (site / "counting-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (site / "counting-1.0.dist-info" / "entry_points.txt").write_text("[densnet.plugins]\ncounting = counting\n")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    workers = Workers(__file__, PYTHONPATH=path, COUNTING_LOG=str(log))
    moments = random.Random(0)
    seconds = {"sample": 3.0, "reference": 4.0, "import": 0.5, "merge": 0.5}
    kills: Counter[str] = Counter()
    number = 0
    try:
        while kills.total() < KILLS:
            log.unlink(missing_ok=True)
            this = Round(tmp_path / f"round-{number}", number, workers, moments, log)
            for stage in STAGES:
                # Each stage of a round is killed up to five times, then left to finish.
                limit = this.kills.total() + min(5, KILLS - kills.total() - this.kills.total())
                took = this.carry_out(stage, seconds[stage], limit)
                seconds[stage] = max(0.2, 0.5 * (seconds[stage] + 0.8 * took))
            this.check_end()
            # A worker gets its next task before its last result is committed: a kill may lose two of each worker.
            repeated = sum(count - 1 for count in Counter(this.computed()).values())
            assert repeated <= 2 * 2 * (this.kills["sample"] + this.kills["reference"])
            kills += this.kills
            number += 1
            print(f"round {number}: {dict(this.kills)}, {repeated} unfinished calculations done again", flush=True)
    finally:
        workers.close()
    print(f"{kills.total()} kills in {number} rounds: {dict(kills)}")
    assert set(kills) == set(STAGES), "a stage was never killed"


def densnet(folder: str, *arguments: str) -> int:
    """The command ``densnet`` in a folder; its exit status."""
    from densnet_core.cli.app import run

    os.chdir(folder)
    return run(arguments)


def load() -> None:
    """Import once what the commands need."""
    import torch

    import densnet_core.cli.stages
    import densnet_core.stores.merge
    import densnet_core.workflow.run
    import densnet_core.workflow.stores

    torch.set_num_threads(1)
    assert densnet_core.cli.stages


if __name__ == "__main__":
    load()
    serve({"densnet": densnet})
