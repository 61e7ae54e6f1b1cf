"""Verbs that plugins add to the command line."""

from __future__ import annotations

import pytest

from densnet_core.cli.app import run
from densnet_core.plugins.manager import get_manager

VERB = """
    import typer

    from densnet_core.plugins import hookimpl


    @hookimpl
    def densnet_commands(app: typer.Typer) -> None:
        @app.command(NAME)
        def the_verb(times: int = 1) -> None:
            print("hello " * times)
"""


@pytest.fixture(autouse=True)
def _fresh_manager():
    get_manager.cache_clear()
    yield
    get_manager.cache_clear()


def test_a_plugin_adds_a_verb_beside_the_cores(install_distribution, capsys):
    install_distribution("acme-verb", VERB.replace("NAME", "'hello'"))
    assert run(["hello", "--times", "2"]) == 0
    assert capsys.readouterr().out == "hello hello \n"
    assert run(["--help"]) == 0
    shown = capsys.readouterr()
    assert "hello" in shown.out
    assert "doctor" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("name", ["'plugins'", "'hello'", ""])
def test_a_verb_that_exists_is_refused_and_the_rest_works(install_distribution, capsys, name):
    install_distribution("acme-verb", VERB.replace("NAME", "'hello'"))
    install_distribution("bcme-verb", VERB.replace("NAME", "'the-verb'"))
    install_distribution("zeta-verb", VERB.replace("NAME", name))
    assert run(["hello"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "hello \n"
    owner = {"'plugins'": "'plugins' (of the core)", "'hello'": "'hello' (of acme-verb)"}
    assert (
        f"The verbs of zeta-verb are left out, it redefines {owner.get(name, repr('the-verb') + ' (of bcme-verb)')}"
        in (shown.err)
    )


def test_a_failing_hook_leaves_its_verbs_out(install_distribution, capsys):
    failing = VERB.replace("NAME", "'hello'") + "        raise ValueError('not today')\n"
    install_distribution("acme-verb", failing)
    assert run(["--help"]) == 0
    shown = capsys.readouterr()
    assert "hello" not in shown.out
    assert "The verbs of acme-verb are left out: ValueError: not today." in shown.err


def test_the_cores_verbs_start_without_loading_plugins(install_distribution, capsys):
    install_distribution("acme-verb", "raise RuntimeError('loaded')")
    assert run(["config", "--help"]) == 0
    assert capsys.readouterr().err == ""
