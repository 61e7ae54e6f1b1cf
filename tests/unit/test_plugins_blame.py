"""An exception in a plugin's code names the plugin, in this process and from workers; one in ours does not."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from densnet_core.cli.app import run
from densnet_core.errors import DenSNetError, PluginError
from densnet_core.plugins.blame import blame
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.plugins.registry import Registry
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory, label
from densnet_core.testing.springs import ETHANOL

PLUGIN = """
    import json

    import typer

    from densnet_core.errors import InputError
    from densnet_core.plugins import Component, Kind, hookimpl
    from densnet_core.sampling.base import Sampler


    class Divides(Sampler):
        def sample(self, structure, context=None):
            return [structure] * int(1 / 0)


    class Decodes(Sampler):
        def sample(self, structure, context=None):
            return json.loads("{")


    class Misuses(Sampler):
        def sample(self, structure, context=None):
            return [structure.with_positions(None)]


    def backend(level, options):
        raise ZeroDivisionError("no backend today")


    def divide(value):
        return value / 0


    @hookimpl
    def densnet_components():
        return [
            Component(Kind.SAMPLER, name.lower(), f"{__name__}:{name}", "densnet_core.options:Options", "", "get it")
            for name in ("Divides", "Decodes", "Misuses")
        ]


    @hookimpl
    def densnet_commands(app: typer.Typer) -> None:
        @app.command("break")
        def breaks(how: str) -> None:
            if how == "user":
                raise InputError("you did")
            divide(1)
"""


@pytest.fixture(autouse=True)
def _fresh_manager():
    get_manager.cache_clear()
    yield
    get_manager.cache_clear()


@pytest.fixture
def plugin(install_distribution):
    site = install_distribution("acme-fails", PLUGIN, version="0.7")
    metadata = site / "acme_fails-0.7.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Project-URL: Issues, https://example.org/acme-fails/issues\n")
    return site


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("divides", ZeroDivisionError),
        ("decodes", json.JSONDecodeError),
        ("misuses", Exception),
    ],
)
def test_the_innermost_plugin_is_blamed_with_its_component(plugin, name, error):
    manager = Manager(Registry(schema=1), environment={})
    sampler = manager.load(manager.find(Kind.SAMPLER, name))()
    with pytest.raises(error) as caught:
        sampler.sample(ETHANOL)
    guilty = blame(caught.value, manager.plugins)
    assert guilty.plugin.distribution == "acme-fails"
    assert guilty.component.name == name
    assert str(guilty).startswith(f"the plugin acme-fails 0.7 (sampler '{name}', ")
    assert "acme_fails.py line " in str(guilty)
    assert guilty.advice == "Report it to the authors of acme-fails: https://example.org/acme-fails/issues."


def test_the_core_is_nobody_elses_fault(plugin):
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert blame(caught.value, get_manager().plugins) is None


def test_the_command_line_names_the_plugin_and_keeps_the_traceback(plugin, capsys):
    assert run(["break", "it"]) == 70
    said = capsys.readouterr().err
    assert said.startswith("Defect in the plugin acme-fails 0.7 (")
    assert "ZeroDivisionError: division by zero. Report it to the authors of acme-fails: https://example.org/" in said
    assert "DenSNet 0" not in said
    assert "Traceback" not in said
    assert run(["--debug", "break", "it"]) == 70
    assert "Traceback" in capsys.readouterr().err
    assert run(["break", "user"]) == 2
    assert capsys.readouterr().err == "Error: you did\n"


def test_a_worker_names_the_plugin(plugin):
    import acme_fails

    executor = LocalExecutor(LocalExecutorOptions(workers=1))
    with closing(executor.map(acme_fails.divide, [1])) as outcomes:
        (outcome,) = outcomes
    assert "ZeroDivisionError: division by zero (a defect in the plugin acme-fails 0.7 (" in str(outcome.error)
    assert isinstance(outcome.error, DenSNetError)


def test_a_backend_that_cannot_be_made_names_the_plugin(plugin):
    factory = BackendFactory("acme_fails:backend", LevelOfTheory("HF", "STO-3G"))
    with pytest.raises(PluginError, match=r"Defect in the plugin acme-fails 0\.7 \(.*no backend today"):
        label(factory, [ETHANOL], LocalExecutor(LocalExecutorOptions(workers=1)), print, print)
