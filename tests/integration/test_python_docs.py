"""The example of docs/python.md runs as it stands, with fewer steps."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from densnet_core.potentials.densnet import DenSNet

ROOT = Path(__file__).parents[2]


def test_the_example_trains_and_saves_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    program = program.replace("tests/data/water5.npz", str(ROOT / "tests" / "data" / "water5.npz"))
    program, changed = re.subn(r"LoopOptions\(1000,", "LoopOptions(60,", program)
    assert changed == 2
    program = program.replace("validate_every=100", "validate_every=20")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(program, "docs/python.md", "exec"), names)
    model = DenSNet.load(tmp_path / "model")
    structures, file = names["structures"], names["file"]
    predictions = model.predict(structures)  # type: ignore[arg-type]
    energies = np.array([one.energy for one in predictions])
    errors = energies - file["energy_hartree"]  # type: ignore[index]
    assert np.abs(errors).max() < 0.02
    assert sorted(os.listdir(tmp_path / "training"))[:3] == ["density.checkpoint", "density.csv", "density.png"]
    assert "fix 1 of 2" in model.document["atomic_energies"]["unknown"]
