"""Fifty SIGKILLs at random moments of a training, three times: python -m pytest -q science/test_training_kill_50.py.

The unit tests do the same with five; a run of this takes some minutes, most of them the imports of 156 processes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))
from test_training_resume import kill_and_compare


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fifty_kills(tmp_path: Path, seed: int) -> None:
    kill_and_compare(tmp_path, kills=50, seed=seed)
