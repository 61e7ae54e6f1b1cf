"""Fixtures that several integration tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tiny_run import FinishedRun, densnet, prepare


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Water at HF/6-31G from geometry to spectrum; read it, do not change it."""
    folder = tmp_path_factory.mktemp("run")
    prepare(folder)
    done = densnet("run", "water.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return FinishedRun(folder, done.stdout, done.stderr)
