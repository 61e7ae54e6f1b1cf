"""``densnet train`` with stages, atoms of the backend and a model to start from; the same under torchrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import CONFIG, densnet, environment, prepare

from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import read_xyz

STAGES = CONFIG.replace(
    "energy = { steps = 60, learning_rate = 1e-2, checkpoint_every = 10 }",
    'device = "cpu"\nprecision = "float64"\n'
    'energy = { steps = 40, learning_rate = 1e-2, validate_every = 10, atoms = "reference", '
    "then = { steps = 20, learning_rate = 1e-3, weights = { energy = 10.0 } } }\n"
    "joint = { steps = 10, learning_rate = 1e-4, validate_every = 5 }",
)
HARTREE_FOCK_OXYGEN = -74.7802
"""Hartree, UHF/6-31G, triplet; the hydrogen atom is -0.498233."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("trained"), STAGES).parent
    done = densnet("train", "water.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_stage_leaves_its_curve_and_the_model_knows_its_atoms(trained: Path) -> None:
    files = {path.name for path in (trained / "out" / "training").iterdir()}
    assert {
        f"{name}.{end}" for name in ("density", "energy", "energy-2", "joint") for end in ("csv", "checkpoint")
    } <= files
    document = DenSNet.load(trained / "out" / "model").document
    atoms = document["atomic_energies"]
    assert atoms["hartree"]["H"] == pytest.approx(-0.498233, abs=1e-5)
    assert atoms["hartree"]["O"] == pytest.approx(HARTREE_FOCK_OXYGEN, abs=5e-4)
    assert atoms["given"] == ["H", "O"]
    assert atoms["unknown"] is None


def test_two_processes_of_torchrun_make_the_same_model(trained: Path, tmp_path: Path) -> None:
    folder = prepare(tmp_path, STAGES).parent
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
               "-m", "densnet_core", "train", "water.toml", "--json"]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["path"].endswith("model")
    water = read_xyz(folder / "water.xyz")
    one, two = (DenSNet.load(f / "out" / "model").predict(water)[0] for f in (trained, folder))
    assert one.energy == pytest.approx(two.energy, abs=1e-5)


def test_a_run_starts_from_the_model_of_another(trained: Path, tmp_path: Path) -> None:
    path = trained / "out" / "model"
    again = STAGES.replace("[training]", f'[training]\nfrom = "{path}"').replace(
        "learning_rate = 1e-2", "learning_rate = 1e-9"
    )
    folder = prepare(tmp_path, again.replace("learning_rate = 1e-3", "learning_rate = 1e-9").replace("1e-4", "1e-9"))
    folder = folder.parent
    done = densnet("train", "water.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    water = read_xyz(folder / "water.xyz")
    old, new = (DenSNet.load(one).predict(water)[0] for one in (path, folder / "out" / "model"))
    assert new.energy == pytest.approx(old.energy, abs=1e-5)

    (tmp_path / "other").mkdir()
    other = prepare(tmp_path / "other", again.replace("product_channels = 8", "product_channels = 6")).parent
    refused = densnet("train", "water.toml", cwd=other)
    assert refused.returncode == 2
    assert "has another density network" in refused.stderr
