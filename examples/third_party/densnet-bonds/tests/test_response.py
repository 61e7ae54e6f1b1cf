"""A short training in the field; its polarizability against PySCF's on geometries that it never saw."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import read_xyz
from densnet_pyscf.backend import PySCFBackend

EXAMPLES = Path(__file__).parents[1]


def test_the_polarizability_comes_out_of_the_model(tmp_path: Path) -> None:
    for name in ("water.xyz", "water_response.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    command = [Path(sys.executable).with_name("densnet"), "train", "water_response.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    model = DenSNet.load(tmp_path / "water_response" / "model")

    water = read_xyz(EXAMPLES / "water.xyz")[0]
    random = np.random.default_rng(5)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]  # the training data are all oriented alike
    frames = [
        water.with_positions((water.positions + random.normal(scale=0.04, size=(3, 3))) @ turn.T) for _ in range(6)
    ]
    found = model.evaluate(graph_of(frames, model.cutoff), ("polarizability",))["polarizability"].numpy()
    backend = PySCFBackend(LevelOfTheory("HF", "6-31G"))
    expected = np.array([backend.compute(one, ("polarizability",)).polarizability for one in frames])
    sizes = np.linalg.norm(expected, axis=(1, 2))
    errors = np.linalg.norm(found - expected, axis=(1, 2)) / sizes
    assert errors.max() < 0.05, errors
    # How it changes with the geometry was learned, too. Eigenvalues do not know that the frames are turned.
    spread = np.linalg.eigvalsh(expected) - np.linalg.eigvalsh(expected).mean(axis=0)
    assert np.sqrt((errors**2).mean()) < 0.5 * np.sqrt((spread**2).sum(axis=1).mean()) / sizes.mean(), errors
