"""The plugin manager, against distributions laid out on disk as an installer lays them out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from densnet_core.errors import ConfigError, InputError, PluginError
from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.plugins.registry import Registry, parse_registry
from densnet_core.sampling.base import Sampler

GOOD = """
    from pathlib import Path

    from pydantic import Field

    from densnet_core.options import FilePath, Options
    from densnet_core.plugins import Component, Kind, hookimpl
    from densnet_core.sampling.base import Sampler


    class GridOptions(Options):
        points: int = Field(default=3, ge=1, description="Points per coordinate.")
        folder: FilePath = Field(default=Path("."), description="Folder.")


    class GridSampler(Sampler):
        def sample(self, structure, harmonic=None):
            return [structure] * self.options.points


    class NoSampler:
        pass


    @hookimpl
    def densnet_components():
        def sampler(name, target="GridSampler", **more):
            return Component(
                Kind.SAMPLER,
                name,
                target=f"{__name__}:{target}",
                config=f"{__name__}:GridOptions",
                summary="A grid",
                install="pip install it",
                **more,
            )
        return [COMPONENTS]
"""


def good(components: str) -> str:
    return GOOD.replace("COMPONENTS", components)


def manager(**environment: str) -> Manager:
    return Manager(registry=Registry(schema=1), environment=environment)


def states(found: Manager) -> dict[str, str]:
    return {row.name: row.status for row in found.status() if not row.distribution.startswith("densnet-")}


def test_a_plugin_offers_a_component(install_distribution):
    install_distribution("acme-grid", good("sampler('grid', requires=('numpy', '!sh'))"), version="2.5")
    found = manager()
    component = found.find(Kind.SAMPLER, "grid")
    assert component in found.components()
    assert component in found.components(Kind.SAMPLER)
    assert component not in found.components(Kind.REFERENCE)
    sampler = found.load(component)(found.options(component, {"points": 2}))
    assert isinstance(sampler, Sampler)
    assert sampler.sample("water") == ["water", "water"]
    row = next(row for row in found.status() if row.name == "grid")
    assert (row.kind, row.distribution, row.version) == ("sampler", "acme-grid", "2.5")
    assert (row.status, row.install, row.summary) == ("ok", "pip install it", "A grid")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import acme_is_not_there", "ModuleNotFoundError: No module named 'acme_is_not_there'"),
        ("def densnet_components(:", "SyntaxError"),
        ("raise SystemExit('I quit')", "SystemExit: I quit"),
        (
            "answer = 42",
            "none of the hooks densnet_components, densnet_kinds, densnet_quantities, densnet_stages, densnet_commands",
        ),
        ("def densnet_components(): return []", "densnet_components is not marked; put @hookimpl"),
        (
            "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_component(): return []",
            "densnet_component, which is not a hook. Did you mean 'densnet_components'",
        ),
        ("def densnet_comands(app): pass", "densnet_comands, which is not a hook. Did you mean 'densnet_commands'"),
        (
            "from densnet_core.plugins import hookimpl\n@hookimpl\ndef register(): return []",
            "it implements register, which is not a hook",
        ),
        (
            "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_components(manager): return []",
            "manager",  # pluggy's own words about an argument that the hook does not have
        ),
        (
            "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_components(): return 1 / 0",
            "ZeroDivisionError: division by zero",
        ),
        (
            "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_components(): return ['grid']",
            "densnet_components returned 'grid'; expected densnet_core.plugins.Component",
        ),
        (good("sampler('two words')"), "name 'two words' is not a plain word"),
        (good("sampler('grid', target='Grid.Sampler')"), "is not of the form package.module:Class"),
        (good("sampler('grid', api='one')"), "api 'one' is not of the form '2.0'"),
        (
            "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_components(): pass",
            "densnet_components returned None; expected a list of records",
        ),
        (good("sampler('grid', requires='numpy')"), "requires 'numpy' is not a tuple of strings"),
        (good("Component('Two Words', 'grid', 'a:B', 'a:C', '', '')"), "kind 'Two Words' is not a word"),
    ],
)
def test_a_broken_plugin_is_reported_and_harms_no_other(install_distribution, source, says):
    install_distribution("acme-broken", source)
    install_distribution("acme-grid", good("sampler('grid')"))
    found = manager()
    status = states(found)
    assert status["grid"] == "ok"
    assert status["acme_broken"].startswith("broken: ")
    assert says in status["acme_broken"]
    assert found.find(Kind.SAMPLER, "grid").name == "grid"
    with pytest.raises(InputError, match=r"acme-broken \(broken: "):
        found.find(Kind.SAMPLER, "of-the-broken-one")


def test_an_imported_function_is_not_a_misspelt_hook(install_distribution):
    install_distribution("acme-grid", good("sampler('grid')") + "\n    from acme_helper import densnet_helper\n")
    install_distribution("acme-helper", "def densnet_helper(): pass")
    assert states(manager())["grid"] == "ok"


def test_two_distributions_with_one_component_are_an_error_that_names_both(install_distribution):
    install_distribution("acme-grid", good("sampler('grid')"), version="1.1")
    install_distribution("zeta-grid", good("sampler('grid'), sampler('other')"), version="2.2")
    found = manager()
    with pytest.raises(PluginError, match=r"acme-grid 1\.1 and zeta-grid 2\.2"):
        found.find(Kind.SAMPLER, "grid")
    assert "grid" not in [component.name for component in found.components(Kind.SAMPLER)]
    assert found.find(Kind.SAMPLER, "other").name == "other"
    conflicts = [row for row in found.status() if row.name == "grid"]
    assert [row.distribution for row in conflicts] == ["acme-grid", "zeta-grid"]
    assert all(row.status == "conflict: offered by acme-grid 1.1 and zeta-grid 2.2" for row in conflicts)
    chosen = manager(DENSNET_PLUGINS="zeta-grid").find(Kind.SAMPLER, "grid")
    assert chosen.target == "zeta_grid:GridSampler"


def test_one_name_may_stand_for_components_of_two_kinds(install_distribution):
    install_distribution("acme-grid", good("sampler('grid'), Component(Kind.BASIS, 'grid', 'a:B', 'a:C', '', '')"))
    found = manager()
    assert found.find(Kind.SAMPLER, "grid").kind == "sampler"
    assert found.find(Kind.BASIS, "grid").kind == "basis"


def test_entry_points_of_one_name_in_two_distributions_both_load(install_distribution):
    # pluggy's own loader skips the second one in silence.
    install_distribution("acme-grid", good("sampler('grid')"), entry_point="sampling")
    install_distribution("zeta-grid", good("sampler('finer')"), entry_point="sampling")
    assert states(manager()) == {"grid": "ok", "finer": "ok"}


def test_another_major_version_of_the_interface_is_refused_naming_both(install_distribution):
    install_distribution("acme-grid", good("sampler('old', api='1.0'), sampler('new', api='2.7')"), version="3.1")
    found = manager()
    assert found.find(Kind.SAMPLER, "new").api == "2.7"
    with pytest.raises(PluginError, match=r"acme-grid 3\.1 was made for version 1\.0 .* this core has 2\.0"):
        found.find(Kind.SAMPLER, "old")
    assert states(found)["old"].startswith("refused: ")


REGISTRY = """
schema = 1
[[component]]
kind = "reference"
name = "orca"
distribution = "acme-orca"
install = "pip install acme-orca"
api = ">=2.0,<3"
stability = "beta"
summary = "ORCA"
"""


def test_a_known_component_that_is_not_installed_answers_with_its_install_line():
    found = Manager(parse_registry(REGISTRY), environment={})
    with pytest.raises(PluginError, match=r"'orca' is not installed\. Install it with: pip install acme-orca$"):
        found.find(Kind.REFERENCE, "orca")
    row = next(row for row in found.status() if row.name == "orca")
    assert (row.status, row.version, row.install) == ("not installed", None, "pip install acme-orca")


def test_a_known_component_of_a_broken_or_too_old_plugin_says_so(install_distribution):
    site = install_distribution("acme-orca", "import acme_is_not_there")
    with pytest.raises(PluginError, match=r"its plugin is broken: ModuleNotFoundError"):
        Manager(parse_registry(REGISTRY), environment={}).find(Kind.REFERENCE, "orca")
    (site / "acme_orca.py").write_text(
        "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_components(): return []\n"
    )
    importlib.invalidate_caches()
    with pytest.raises(PluginError, match=r"does not offer .* pip install acme-orca --upgrade"):
        Manager(parse_registry(REGISTRY), environment={}).find(Kind.REFERENCE, "orca")


def test_an_unknown_name_answers_with_the_nearest_installed_and_known_ones(install_distribution):
    install_distribution("acme-grid", good("sampler('grid')"))
    with pytest.raises(InputError, match=r"There is no sampler 'gird'\. Did you mean 'grid'\?"):
        manager().find(Kind.SAMPLER, "gird")
    with pytest.raises(InputError, match=r"Did you mean 'orca'\?"):
        Manager(parse_registry(REGISTRY), environment={}).find(Kind.REFERENCE, "orka")


@pytest.mark.parametrize("allowed", ["acme-grid", "Acme_Grid", "other, acme.grid", "acme-entry"])
def test_the_allow_list_lets_only_its_plugins_load(install_distribution, allowed):
    install_distribution("acme-grid", good("sampler('grid')"), entry_point="acme-entry")
    install_distribution("zeta-grid", good("sampler('finer')"))
    found = manager(DENSNET_PLUGINS=allowed)
    status = states(found)
    assert status["grid"] == "ok"
    assert status["zeta_grid"] == f"blocked: not among those that DENSNET_PLUGINS={allowed.replace(' ', '')} allows"
    assert "zeta_grid" not in sys.modules
    assert found.unmatched_allowances() == (["other"] if "other" in allowed else [])


def test_an_empty_allow_list_blocks_every_plugin_but_the_core(install_distribution):
    install_distribution("acme-grid", good("sampler('grid')"))
    found = manager(DENSNET_PLUGINS="")
    assert all(plugin.problem for plugin in found.plugins if plugin.distribution != "densnet-core")
    assert found.find(Kind.EXECUTOR, "local").name == "local"


def test_the_policy_of_the_registry_restricts_what_loads(install_distribution):
    install_distribution("acme-grid", good("sampler('grid')"))
    install_distribution("zeta-grid", good("sampler('finer')"))
    registry = parse_registry('schema = 1\n[policy]\nallow = ["acme-grid"]\n')
    status = states(Manager(registry, environment={}))
    assert status["grid"] == "ok"
    assert status["zeta_grid"].startswith("blocked: not among those that [policy] allow")


def test_loading_a_component_names_what_it_lacks(install_distribution):
    install_distribution(
        "acme-grid",
        good(
            "sampler('module', requires=('acme_lib.deep',)), sampler('program', requires=('!acme-program',)),"
            "sampler('class', target='NoSampler'), sampler('gone', target='Gone')"
        ),
    )
    found = manager()

    def load(name: str) -> None:
        found.load(found.find(Kind.SAMPLER, name))

    with pytest.raises(PluginError, match=r"needs the Python package acme_lib\.deep\. Install it with: pip install it"):
        load("module")
    with pytest.raises(PluginError, match=r"needs the program acme-program"):
        load("program")
    with pytest.raises(
        PluginError,
        match=r"of acme-grid 1\.0 is broken: acme_grid:NoSampler is not a subclass of densnet_core\.sampling",
    ):
        load("class")
    with pytest.raises(PluginError, match=r"acme_grid:Gone cannot be imported: AttributeError"):
        load("gone")
    assert states(found)["module"] == "missing: the Python package acme_lib.deep"


def test_options_are_validated_by_the_components_own_model(install_distribution):
    install_distribution("acme-grid", good("sampler('grid')"))
    found = manager()
    grid = found.find(Kind.SAMPLER, "grid")
    options = found.options(grid, {"points": 7, "folder": "frames"}, "run.toml: sampling", base=Path("/data"))
    assert (options.points, options.folder) == (7, Path("/data/frames"))
    with pytest.raises(ConfigError) as caught:
        found.options(grid, {"pionts": 7, "points": "8", "metod": "grid"}, "run.toml: sampling", also_known=["method"])
    assert str(caught.value).splitlines() == [
        "run.toml: sampling.points: input should be a valid integer, found '8'.",
        "run.toml: sampling.pionts: unknown key. Did you mean 'points'?",
        "run.toml: sampling.metod: unknown key. Did you mean 'method'?",
    ]


def test_a_model_of_options_that_is_not_one_is_the_plugins_fault(install_distribution):
    install_distribution("acme-grid", good("Component(Kind.SAMPLER, 'grid', 'a:B', 'json:dumps', '', '')"))
    found = manager()
    with pytest.raises(PluginError, match=r"json:dumps is not a subclass of densnet_core\.options\.Options"):
        found.options(found.find(Kind.SAMPLER, "grid"), {})


def test_the_manager_of_the_process_is_made_once():
    assert get_manager() is get_manager()


def test_a_component_record_is_immutable_and_names_the_interface_it_was_written_for():
    component = Component(Kind.SAMPLER, "grid", "a:B", "a:C", "A grid", "pip install it")
    assert component.api == "2.0"
    with pytest.raises(AttributeError):
        component.name = "other"  # type: ignore[misc]
