"""The OpenMM engine passes the core's suite by both routes."""

from __future__ import annotations

from types import SimpleNamespace

from densnet_openmm.engine import OpenMMEngine

from densnet_core.md.base import MDEngine
from densnet_core.testing.md import MDEngineTests


class _OnTheCPU(MDEngineTests):
    force: str

    def make_engine(self) -> MDEngine:
        return OpenMMEngine(SimpleNamespace(force=self.force, platform="CPU", threads=1))


class TestTorchForce(_OnTheCPU):
    force = "torchforce"


class TestPythonForce(_OnTheCPU):
    force = "python"
