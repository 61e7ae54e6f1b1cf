"""The plugin that CONTRIBUTING.md shows works as it stands there."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from densnet_core.plugins.component import Kind
from densnet_core.plugins.hookspecs import ENTRY_POINT_GROUP, HOOKS
from densnet_core.plugins.manager import Manager
from densnet_core.sampling.base import SamplingContext
from densnet_core.structures import Structure
from densnet_core.testing.suites import run_suite, suite_of
from densnet_core.units import BOHR_TO_ANGSTROM

GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(file: str) -> str:
    """The code that the guide shows for a file."""
    found = re.search(rf"^`{re.escape(file)}`.*?^```\w+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md shows no {file}"
    return found[1]


@pytest.fixture
def guide_plugin(tmp_path, monkeypatch):
    project = tomllib.loads(block("pyproject.toml"))["project"]
    (entry,) = project["entry-points"][ENTRY_POINT_GROUP].items()
    package = tmp_path / "densnet_rattle"
    package.mkdir()
    (package / "__init__.py").touch()
    for file in ("plugin.py", "config.py", "sampler.py"):
        (package / file).write_text(block(f"densnet_rattle/{file}"))
    information = tmp_path / "densnet_rattle-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (information / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{entry[0]} = {entry[1]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()


@pytest.mark.usefixtures("guide_plugin")
def test_the_guides_plugin_is_found_validated_and_does_what_it_says():
    manager = Manager(environment={})
    component = manager.find(Kind.SAMPLER, "rattle")
    assert next(row.status for row in manager.status() if row.name == "rattle") == "ok"
    options = manager.options(component, {"count": 400, "width_angstrom": 0.03})
    sampler = manager.load(component)(options)
    start = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [1.4, 1.1, 0.0], [-1.4, 1.1, 0.0]]))
    steps = np.array([frame.positions - start.positions for frame in sampler.sample(start)])
    assert steps.shape == (400, 3, 3)
    assert steps.std() * BOHR_TO_ANGSTROM == pytest.approx(0.03, rel=0.05)  # 3600 draws: standard error 1.2 %

    other = sampler.sample(start, SamplingContext(stream=1))
    assert not np.allclose(other[0].positions, start.positions + steps[0])


@pytest.mark.usefixtures("guide_plugin")
def test_the_guides_plugin_passes_the_suite_of_samplers_and_its_own_test_of_it():
    manager = Manager(environment={})
    suite = suite_of(manager, manager.find(Kind.SAMPLER, "rattle"))
    assert [finding for finding in run_suite(suite) if finding.outcome != "passed"] == []
    shown = re.search(r"```python\n(from densnet_core\.testing\.sampler.*?)```", GUIDE, re.DOTALL)
    names: dict[str, type] = {}
    exec(shown[1], names)
    assert [finding for finding in run_suite(names["TestRattle"]) if finding.outcome != "passed"] == []


def test_the_guide_names_every_hook_and_every_interface():
    for hook in HOOKS:
        assert hook in GUIDE
    interfaces = re.findall(r"`(?:densnet_core\.)?(\w+\.\w+)\.([A-Z]\w+)`", GUIDE)
    described = {kind.interface.replace(":", ".") for kind in Manager(environment={}).kinds().values()}
    assert {f"densnet_core.{module}.{name}" for module, name in interfaces} == described
    for module, name in interfaces:
        assert hasattr(importlib.import_module(f"densnet_core.{module}"), name)
