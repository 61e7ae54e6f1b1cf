"""The ASE engine passes the core's suite."""

from __future__ import annotations

from typing import Any

from densnet_ase.config import ASEOptions
from densnet_ase.engine import ASEEngine

from densnet_core.md.base import MDEngine
from densnet_core.testing.md import MDEngineTests


class TestASE(MDEngineTests):
    def make_engine(self, **options: Any) -> MDEngine:
        return ASEEngine(ASEOptions(**options))
