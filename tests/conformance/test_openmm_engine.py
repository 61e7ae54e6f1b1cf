"""The OpenMM engine passes the core's suite by both routes."""

from __future__ import annotations

from typing import Any

from densnet_openmm.config import OpenMMOptions
from densnet_openmm.engine import OpenMMEngine

from densnet_core.md.base import MDEngine
from densnet_core.testing.md import MDEngineTests


class _OnTheCPU(MDEngineTests):
    force: str

    def make_engine(self, **options: Any) -> MDEngine:
        return OpenMMEngine(OpenMMOptions(force=self.force, **options))


class TestTorchForce(_OnTheCPU):
    force = "torchforce"


class TestPythonForce(_OnTheCPU):
    force = "python"
